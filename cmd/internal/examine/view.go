package examine

import (
	"io"
	"log/slog"
	"sync"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/doctor"
)

// view shows the progress of an examination, on a goroutine of its own: an output that blocks must not delay the examination, whose
// times are part of its result.
type view struct {
	json   bool
	out    io.Writer
	screen *cli.Screen
	log    *slog.Logger

	mu      sync.Mutex
	waiting []doctor.Progress
	ended   bool
	more    *sync.Cond
	done    chan struct{}
	err     error // of the output, once done
}

func newView(json bool, out io.Writer, screen *cli.Screen, log *slog.Logger) *view {
	v := &view{json: json, out: out, screen: screen, log: log, done: make(chan struct{})}
	v.more = sync.NewCond(&v.mu)
	go v.run()
	return v
}

// add is the examination's OnProgress.
func (v *view) add(p doctor.Progress) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.waiting = append(v.waiting, p)
	v.more.Signal()
}

// close waits until all is shown, and returns the error of the output.
func (v *view) close() error {
	v.mu.Lock()
	v.ended = true
	v.more.Signal()
	v.mu.Unlock()
	<-v.done
	return v.err
}

func (v *view) run() {
	defer close(v.done)
	defer v.screen.Show("")
	doing := ""
	for {
		p, ok := v.next()
		if !ok {
			return
		}
		if !v.json && p.Text != "" && v.err == nil {
			v.screen.Show("") // the output may be the same terminal
			_, v.err = io.WriteString(v.out, p.Text)
		}
		v.screen.Show(p.Doing)
		if v.json && !v.screen.Terminal() && p.Doing != doing && p.Doing != "" {
			v.log.Info("Examining", "step", p.Doing)
		}
		doing = p.Doing
	}
}

// next waits for the next progress. It returns false at the end.
func (v *view) next() (doctor.Progress, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(v.waiting) == 0 {
		if v.ended {
			return doctor.Progress{}, false
		}
		v.more.Wait()
	}
	p := v.waiting[0]
	v.waiting = v.waiting[1:]
	return p, true
}
