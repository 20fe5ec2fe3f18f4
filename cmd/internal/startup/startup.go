// Package startup reports what the start of a program waits for: on a terminal in a line that changes, else in log lines that become
// rarer.
package startup

import (
	"context"
	"log/slog"
	"time"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/domain"
)

// Step is one step of a start.
type Step struct {
	Doing string // "entering the DHT"; empty if the start is complete
	Done  string // message that reports its end: "Entered the DHT"; empty if another log line does
	Why   string // the known reason of the wait, with advice
}

// Network returns the step in which a node is: it has no DHT node yet, or has not announced its record. state is that of its status.
func Network(state string, announced bool) Step {
	switch {
	case state == "starting":
		return Step{Doing: "entering the DHT", Done: "Entered the DHT"}
	case state == "offline":
		return Step{Doing: "entering the DHT", Done: "Entered the DHT", Why: domain.CauseNoDHTNode.Explain("").String()}
	case !announced:
		return Step{Doing: "announcing this node's key in the DHT"}
	}
	return Step{}
}

const (
	// interval of the looks at the state: often enough for a line that people watch.
	interval = 200 * time.Millisecond
	// patience is the wait before the first log line. Each further one of the same step takes twice as long.
	patience = 10 * time.Second
)

// Begin is Watch in a goroutine, until stop is called, which waits for its end.
func Begin(ctx context.Context, screen *cli.Screen, log *slog.Logger, ask func(context.Context) (Step, error)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		Watch(ctx, screen, log, ask)
	}()
	return func() { cancel(); <-done }
}

// Watch reports the steps that ask returns, until it returns the empty one or fails, or ctx ends.
func Watch(ctx context.Context, screen *cli.Screen, log *slog.Logger, ask func(context.Context) (Step, error)) {
	defer screen.Show("")
	each := time.NewTicker(interval)
	defer each.Stop()
	var last Step
	began, next := time.Now(), patience
	for {
		step, err := ask(ctx)
		if err != nil || ctx.Err() != nil {
			return
		}
		if step.Doing != last.Doing {
			if last.Done != "" {
				log.Info(last.Done, "took", time.Since(began).Round(10*time.Millisecond))
			}
			began, next = time.Now(), patience
		}
		last = step
		if step.Doing == "" {
			return
		}
		screen.Show(line(step))
		if waited := time.Since(began); waited >= next && !screen.Terminal() {
			next *= 2
			attrs := []any{"step", step.Doing, "waited", waited.Round(time.Second)}
			if step.Why != "" {
				attrs = append(attrs, "hint", step.Why)
			}
			log.Warn("Still starting", attrs...)
		}
		select {
		case <-ctx.Done():
			return
		case <-each.C:
		}
	}
}

func line(s Step) string {
	if s.Why == "" {
		return s.Doing
	}
	return s.Doing + ": " + s.Why
}
