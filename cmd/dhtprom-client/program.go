package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/cmd/internal/machine"
	"github.com/dhtprom/dhtprom/ports"
)

// closeTimeout bounds the stop: the scraper is told and the DHT is unannounced, or not.
const closeTimeout = 4200 * time.Millisecond

// program is all of dhtprom-client.
type program struct {
	host   *udp.Host
	client *app.Client
	log    *slog.Logger
}

// Run serves until ctx ends or something fails, and then stops cleanly.
func (p *program) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	p.host.Post(func() {
		p.client.Start(func(err error) {
			if err != nil {
				failed <- err
				return
			}
			p.log.Info("Serving metrics", "public_key", p.client.PublicKey().String())
		})
	})
	var err error
	select {
	case <-ctx.Done():
		p.log.Info("Stopping")
	case err = <-failed:
	}
	return errors.Join(err, p.Close())
}

// Close stops the client within five seconds.
func (p *program) Close() error {
	closed := make(chan struct{})
	p.host.Post(func() { p.client.Close(func() { close(closed) }) })
	select {
	case <-closed:
		p.log.Info("Stopped")
		return nil
	case <-time.After(closeTimeout):
		return fmt.Errorf("the client did not stop within %s", closeTimeout)
	}
}

// The providers of the wiring.

func newSource(h *udp.Host, cfg config, own *ownMetrics) (ports.MetricsSource, error) {
	if cfg.target != nil {
		return source.HTTP(h, cfg.target), nil
	}
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("dhtprom"), own,
	} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return source.Gatherer(h, registry), nil
}

func newTransport(h *udp.Host, cfg config, connect machine.Connect) (ports.Transport, error) {
	return machine.On(h, func() (ports.Transport, error) {
		return connect(h, machine.Node{Bootstrap: cfg.bootstrap, Listen: netip.AddrPortFrom(netip.IPv4Unspecified(), 0)})
	})
}

func newClient(h *udp.Host, t ports.Transport, s ports.MetricsSource, cfg config, id identity, own *ownMetrics, log *slog.Logger) (*app.Client, error) {
	c, err := machine.On(h, func() (*app.Client, error) {
		return app.NewClient(app.ClientConfig{
			Host: h, Transport: t, Source: s, Scraper: cfg.scraper, Secret: id.secret, Keys: id.keys,
			Alias: cfg.alias, Service: cfg.service, Hostname: cfg.hostname, RegisterInterval: cfg.interval,
			OnEvent: app.LogEvents(h, log),
		})
	})
	own.client = c
	return c, err
}
