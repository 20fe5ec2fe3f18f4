package doctor

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/machine"
)

// Options are what the programs' doctor commands can be asked for.
type Options struct {
	JSON    bool
	Timeout time.Duration
}

// Flagger is a program or a command, which has flags.
type Flagger interface {
	Flag(name, help string) *kingpin.FlagClause
}

// AddFlags adds the flags of doctor commands.
func (o *Options) AddFlags(c Flagger) {
	c.Flag("json", "Report as JSON.").BoolVar(&o.JSON)
	c.Flag("timeout", "How long a connection may take. Guessing the ports of a random NAT takes up to 40s.").
		Default("1m").SetValue(cli.Value("timeout", &o.Timeout, cli.Duration(100*time.Millisecond)))
}

// ProblemsError says that something is broken; what it is, the report has said.
type ProblemsError struct{ Problems int }

func (e *ProblemsError) Error() string {
	if e.Problems == 1 {
		return "1 problem was found"
	}
	return fmt.Sprintf("%d problems were found", e.Problems)
}

// Run examines this machine's network and writes the report. cfg.STUN are the values of --stun.server. It fails with
// a ProblemsError if something is broken.
func (o Options) Run(ctx context.Context, cfg Config, stdout io.Writer) error {
	h, cleanup := machine.Host()
	defer cleanup()
	report, err := o.examine(ctx, h, cfg)
	if err != nil {
		return err
	}
	write := report.WriteText
	if o.JSON {
		write = report.WriteJSON
	}
	if err := write(stdout); err != nil {
		return err
	}
	if !report.OK {
		return &ProblemsError{report.Problems()}
	}
	return nil
}

func (o Options) examine(ctx context.Context, h *udp.Host, cfg Config) (*Report, error) {
	var err error
	if cfg.STUN, err = stun.Servers(cfg.STUN, cfg.Bootstrap != nil); err != nil {
		return nil, &cli.UsageError{Err: fmt.Errorf("--stun.server: %w", err)}
	}
	cfg.Timeout, cfg.Clock = o.Timeout, machine.Clock{}
	done := make(chan *Report, 1)
	_, err = machine.On(h, func() (struct{}, error) {
		return struct{}{}, Examine(h, cfg, func(r *Report) { done <- r })
	})
	if err != nil {
		return nil, err
	}
	select {
	case r := <-done:
		return r, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("the examination was interrupted: %w", ctx.Err())
	}
}
