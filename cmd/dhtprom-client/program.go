package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/cmd/internal/keyfile"
	"github.com/dhtprom/dhtprom/cmd/internal/machine"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// closeTimeout bounds the stop: the scrapers are told and the DHT is unannounced, or not.
const closeTimeout = 4200 * time.Millisecond

// program is all of dhtprom-client.
type program struct {
	host  *udp.Host
	group *app.Group
	web   *webServer
	log   *slog.Logger
}

// Run serves until ctx ends or something fails, and then stops cleanly.
func (p *program) Run(ctx context.Context) error {
	failed := make(chan error, 2)
	if p.web != nil {
		p.log.Info("Serving own metrics and health", "address", p.web.listener.Addr().String())
		go func() {
			if err := p.web.serve(); err != nil {
				failed <- err
			}
		}()
	}
	p.host.Post(func() {
		p.group.Start(func(err error) {
			if err != nil {
				failed <- err
				return
			}
			for _, c := range p.group.Clients() {
				p.log.Info("Serving metrics", "alias", string(c.Alias()), "public_key", c.PublicKey().String())
			}
		})
	})
	var err error
	select {
	case <-ctx.Done():
		p.log.Info("Stopping")
	case err = <-failed:
	}
	p.web.close()
	return errors.Join(err, p.Close())
}

// Close stops the clients within five seconds.
func (p *program) Close() error {
	err := machine.End(p.host, "the client", closeTimeout, p.group.Close)
	if err == nil {
		p.log.Info("Stopped")
	}
	return err
}

// The providers of the wiring.

// newSource is where a target's metrics come from.
func newSource(h *udp.Host, t target, o *own) (ports.MetricsSource, error) {
	if t.http == nil {
		return source.Gatherer(h, o.registry), nil
	}
	s, err := source.HTTP(h, *t.http)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.where, err)
	}
	return s, nil
}

func newTransport(h *udp.Host, cfg config, connect machine.Connect, log *slog.Logger) (ports.Transport, error) {
	return machine.On(h, func() (ports.Transport, error) {
		return connect(h, machine.Node{
			Bootstrap: cfg.bootstrap, Listen: netip.AddrPortFrom(netip.IPv4Unspecified(), 0), STUN: cfg.stun, Relays: cfg.relays, Paths: cfg.paths,
			NodesFile: cfg.nodesFile, Log: log,
		})
	})
}

func newGroup(h *udp.Host, t ports.Transport, cfg config, o *own, log *slog.Logger) (*app.Group, error) {
	group, err := groupConfig(h, cfg, o, log)
	if err != nil {
		return nil, err
	}
	group.Transport = t
	g, err := machine.On(h, func() (*app.Group, error) { return app.NewGroup(group) })
	o.group, o.transport = g, t
	return g, err
}

// groupConfig is the clients of a configuration, without a transport.
func groupConfig(h *udp.Host, cfg config, o *own, log *slog.Logger) (app.GroupConfig, error) {
	seed := cfg.seed
	if seed.IsZero() {
		seed = keyfile.NewSeed()
	}
	group := app.GroupConfig{Host: h}
	events := app.NewEventLog(h, log) // one for all targets: their scrapers are the same
	for _, target := range cfg.targets {
		s, err := newSource(h, target, o)
		if err != nil {
			return app.GroupConfig{}, err
		}
		o.upstream[target.alias] = "The metrics of this process"
		if target.http != nil {
			o.upstream[target.alias] = "Exporter " + target.http.String()
		}
		var attrs []any
		if len(cfg.targets) > 1 {
			attrs = []any{"client", string(target.alias)}
		}
		tell, count := events.Listener(attrs...), o.watch(target.alias)
		group.Clients = append(group.Clients, app.ClientConfig{
			Source: s, Scrapers: cfg.scrapers, Keys: target.keys(seed),
			Alias: target.alias, Service: target.service, Hostname: target.hostname, RegisterInterval: cfg.interval,
			OnEvent: func(e domain.Event) {
				tell(e)
				count(e)
			},
		})
	}
	return group, nil
}
