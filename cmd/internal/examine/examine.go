// Package examine implements the doctor command of the programs.
package examine

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/doctor"
)

// Options are the options of the programs' doctor commands.
type Options struct {
	JSON    bool
	Timeout time.Duration
}

// Flagger is a program or a command, to which flags can be added.
type Flagger interface {
	Flag(name, help string) *kingpin.FlagClause
}

// AddFlags adds the flags of doctor commands.
func (o *Options) AddFlags(c Flagger) {
	c.Flag("json", "Report as JSON.").BoolVar(&o.JSON)
	c.Flag("timeout", "Timeout of one connection attempt. Guessing the ports of a random NAT takes up to 40s.").
		Default("1m").SetValue(cli.Value("timeout", &o.Timeout, cli.Duration(100*time.Millisecond)))
}

// ProblemsError reports that the examination found problems; the report describes them.
type ProblemsError struct{ Problems int }

func (e *ProblemsError) Error() string {
	if e.Problems == 1 {
		return "1 problem found"
	}
	return fmt.Sprintf("%d problems found", e.Problems)
}

// Run examines this machine's network and writes the report, as text part by part, as soon as each is complete. What is under way is
// on the screen if it is a terminal; else, for JSON, in the log. Run fails with a ProblemsError if it finds problems.
func (o Options) Run(ctx context.Context, cfg doctor.Config, stdout io.Writer, screen *cli.Screen, log *slog.Logger) error {
	if err := stun.CheckServers(cfg.Node.STUN); err != nil {
		return &cli.UsageError{Err: fmt.Errorf("--stun.server: %w", err)}
	}
	cfg.Timeout, cfg.Clock = o.Timeout, dhtprom.Clock{}
	view := newView(o.JSON, stdout, screen, log)
	cfg.OnProgress = view.add
	report, err := doctor.Run(ctx, cfg)
	if failed := view.close(); err == nil {
		err = failed
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("the examination was interrupted: %w", err)
	case err != nil:
		return err
	}
	if o.JSON {
		if err := report.WriteJSON(stdout); err != nil {
			return err
		}
	}
	if !report.OK {
		return &ProblemsError{report.Problems()}
	}
	return nil
}
