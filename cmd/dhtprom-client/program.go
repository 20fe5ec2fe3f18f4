package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/startup"
	"github.com/dhtprom/dhtprom/cmd/internal/systemd"
)

// program is dhtprom-client with all its parts.
type program struct {
	node   *dhtprom.Node
	client *client.Client
	files  *targetFiles
	web    *webServer
	log    *slog.Logger

	reloader *reloader
	screen   *cli.Screen // shows what the start waits for; may be nil
}

// Run serves until ctx ends or something fails, and then stops cleanly.
func (p *program) Run(ctx context.Context) error {
	failed := make(chan error, 2)
	service := systemd.New(p.log)
	cli.OnHangUp(ctx, func() { service.Reload(func() error { return p.reloader.run(ctx) }) })
	service.Status("Entering the DHT")
	go service.Watch(ctx, p.turn)
	if p.web != nil {
		p.log.Info("Serving own metrics and health", "address", p.web.listener.Addr().String())
		go func() {
			if err := p.web.serve(); err != nil {
				failed <- err
			}
		}()
	}
	go func() {
		// Before the first registration: a scraper drops what is not in it.
		if err := p.files.first(ctx); err != nil && ctx.Err() == nil {
			p.log.Error("Targets of files are not served", "err", err)
		}
		service.Ready() // without the DHT, too: its absence must not end the service
		go p.files.run(ctx)
		go startup.Watch(ctx, p.screen, p.log, p.starting)
		if err := p.client.Start(context.WithoutCancel(ctx)); err != nil {
			failed <- err
			return
		}
		p.log.Info("Serving metrics", "public_key", p.client.PublicKey().String())
		service.Status("Serving metrics")
	}()
	var err error
	select {
	case <-ctx.Done():
		p.log.Info("Stopping")
	case err = <-failed:
	}
	service.Stopping()
	p.web.close()
	return errors.Join(err, p.Close())
}

// turn waits for a turn of the node's loop.
func (p *program) turn(ctx context.Context) error { return p.node.Do(ctx, func() error { return nil }) }

// starting returns what the start waits for, until the first registration.
func (p *program) starting(ctx context.Context) (startup.Step, error) {
	s, err := p.client.Status(ctx)
	if err != nil {
		return startup.Step{}, err
	}
	if s.Registered {
		return startup.Step{}, nil // also with a scraper at a known address, without the DHT
	}
	switch step := startup.Network(s.Node.State, s.Listening); {
	case step.Doing != "":
		return step, nil
	case s.LastError != nil:
		return startup.Step{Doing: registering, Why: describe(s.LastError)}, nil
	}
	return startup.Step{Doing: registering}, nil
}

const registering = "registering with the scraper"

// Close stops the client and the node within five seconds.
func (p *program) Close() error {
	err := p.node.Close()
	if err == nil {
		p.log.Info("Stopped")
	}
	return err
}

// The providers of the wiring.

func newNodeConfig(cfg config, log *slog.Logger) dhtprom.NodeConfig {
	c := cfg.node
	c.Logger, c.Version = log, cli.Version()
	return c
}

// newClientConfig adds the targets. A target without an exporter serves the process's own registry.
func newClientConfig(cfg config, own *prometheus.Registry, log *slog.Logger) client.Config {
	c := cfg.client
	c.Logger = log
	if t, single := cfg.single(); single {
		c.Alias, c.Service, c.Hostname, c.HTTP, c.Gatherer = string(t.alias), t.service, t.hostname, t.exporter(), own
		return c
	}
	c.Targets = cfg.clientTargets(own)
	return c
}

func newRegistry() (*prometheus.Registry, error) {
	r := prometheus.NewRegistry()
	return r, errors.Join(
		r.Register(collectors.NewGoCollector()),
		r.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
		r.Register(versioncollector.NewCollector("dhtprom")),
	)
}
