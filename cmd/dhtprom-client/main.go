// Command dhtprom-client serves metrics to dhtprom scrapers: those of exporters on this machine, or by default its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
)

const name = "dhtprom-client"

func main() { cli.Main(start) }

// start runs the program until ctx ends and returns its exit code.
func start(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return cli.Exit(name, command(ctx, args, os.Stdin, stdout, stderr), stderr)
}

func command(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if isDoctor(args) {
		return diagnose(ctx, args, stdin, stdout, stderr)
	}
	f := newFlags(stdout)
	if err := f.parse(args); err != nil {
		return err
	}
	screen := cli.NewScreen(stderr)
	log := f.app.Logger(screen)
	cfg, err := load(f, stdin, log)
	if err != nil {
		return err
	}
	if f.checkOnly {
		return check(cfg, stdout, log)
	}
	if err := checkCredentials(cfg); err != nil {
		// Passwords are read at each scrape, so the files may be created later. The other targets are served meanwhile.
		log.Warn("Scrapes fail without a password", "err", err)
	}
	p, cleanup, err := newProgram(cfg, log)
	if err != nil {
		return explain(cfg, err)
	}
	defer cleanup()
	for _, s := range cfg.client.Scrapers {
		_, _ = fmt.Fprintf(stdout, "Client %s registers %s with scraper %s\n", p.client.PublicKey(), cfg.aliases(), s.Key)
	}
	p.screen = screen
	return p.Run(ctx)
}

// check does what a start does, up to the network, so that a start accepts all that passes. Files that are read at each scrape
// must exist, too.
func check(cfg config, stdout io.Writer, log *slog.Logger) error {
	registry, err := newRegistry()
	if err != nil {
		return err
	}
	if err := errors.Join(explain(cfg, newClientConfig(cfg, registry, log).Check()), checkCredentials(cfg), checkFiles(cfg)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "Targets: %d, scrapers: %d. Configuration is valid.\n", len(cfg.targets), len(cfg.client.Scrapers))
	return err
}

// explain adds the place where the failed target was set.
func explain(cfg config, err error) error {
	if e, ok := errors.AsType[*client.TargetError](err); ok {
		return fmt.Errorf("%s: %w", cfg.targets[e.Index].where, e.Err)
	}
	return err
}

// checkCredentials checks that the passwords and tokens for exporters can be read.
func checkCredentials(cfg config) error {
	var errs []error
	for _, t := range cfg.targets {
		if t.http == nil {
			continue
		}
		if err := t.http.CheckCredentials(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.where, err))
		}
	}
	return errors.Join(errs...)
}
