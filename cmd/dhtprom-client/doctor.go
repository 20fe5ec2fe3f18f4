package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/examine"
	"github.com/dhtprom/dhtprom/doctor"
)

// isDoctor reports whether the arguments start with the word doctor.
func isDoctor(args []string) bool { return len(args) > 0 && args[0] == "doctor" }

// diagnose checks whether the scrapers of the flags can be reached, and reports the causes. It registers nothing, so it may run
// beside the client.
func diagnose(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	f := newFlags(stdout)
	f.app.Name = name + " doctor"
	f.app.Help = "Check this machine's network and whether the scrapers can be reached, and report causes. Takes the client's flags."
	f.app.Example("", name+" doctor --invite-file=laptop.invite")
	var opts examine.Options
	opts.AddFlags(f.app)
	if err := f.parseDoctor(args[1:]); err != nil {
		return err
	}
	screen := cli.NewScreen(stderr)
	log := f.app.Logger(screen)
	cfg, err := load(f, stdin, log)
	if err != nil {
		return err
	}
	exam := doctor.Config{Node: newNodeConfig(cfg, log)}
	for i, s := range cfg.client.Scrapers {
		t := doctor.Target{Name: "the scraper", Key: s.Key, Addrs: s.Addrs, Secret: s.Secret}
		if len(cfg.client.Scrapers) > 1 {
			t.Name = fmt.Sprintf("scraper %d", i+1)
		}
		exam.Targets = append(exam.Targets, t)
	}
	return opts.Run(ctx, exam, stdout, screen, log)
}

// parseDoctor is parse without the check that there is a target.
func (f *flags) parseDoctor(args []string) error {
	_, err := f.app.Parse(args)
	if errors.Is(err, cli.ErrHelpShown) {
		return err
	}
	if err == nil && f.configFile == "" {
		err = f.checkScrapers()
		if f.alias == "" && len(f.targets) == 0 {
			f.alias = "doctor"
		}
	}
	if err != nil {
		return &cli.UsageError{Err: withoutInvites(err, args)}
	}
	f.inviteVisible = seesInvite(args)
	return nil
}
