// Command dhtprom-client lets a dhtprom scraper scrape what runs beside it: an existing exporter, or by default its own
// process.
package main

import (
	"context"
	"fmt"
	"io"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/machine"
)

const name = "dhtprom-client"

func main() { cli.Main(start) }

// start runs the program until ctx ends and returns its exit code.
func start(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return cli.Exit(name, command(ctx, args, stdout, stderr, machine.DHT), stderr)
}

func command(ctx context.Context, args []string, stdout, stderr io.Writer, connect machine.Connect) error {
	f := newFlags(stdout)
	if err := f.parse(args); err != nil {
		return err
	}
	log := f.app.Logger(stderr)
	id, err := loadIdentity(f.cfg, log)
	if err != nil {
		return err
	}
	p, cleanup, err := newProgram(f.cfg, id, log, connect)
	if err != nil {
		return err
	}
	defer cleanup()
	_, _ = fmt.Fprintf(stdout, "Client %s registers %q with scraper %s\n", p.client.PublicKey(), f.cfg.alias, f.cfg.scraper)
	return p.Run(ctx)
}
