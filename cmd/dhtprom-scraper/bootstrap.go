package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/systemd"
	"github.com/dhtprom/dhtprom/node"
)

// bootstrap runs the nodes of a private DHT until ctx ends.
func bootstrap(ctx context.Context, cfg bootstrapConfig, stdout io.Writer, log *slog.Logger) error {
	dht, err := node.NewDHT(node.DHTConfig{Addr: cfg.host, Port: uint16(cfg.port), Nodes: cfg.nodes, STUN: cfg.stun})
	if err != nil {
		if _, ok := errors.AsType[*node.PortError](err); ok {
			err = fmt.Errorf("--port: %w", err)
		}
		return err
	}
	addrs := dht.Addrs()
	flags := "--dht.bootstrap=" + addrs[0].String()
	if cfg.stun {
		for _, a := range addrs[:min(len(addrs), 2)] { // two outside a NAT are enough to find its kind
			flags += " --stun.server=" + a.String()
		}
	}
	_, _ = fmt.Fprintf(stdout, "A private DHT of %d nodes. Start scrapers and clients with\n\n  %s\n\n", len(addrs), flags)
	log.Info("Running DHT nodes", "bootstrap", addrs[0].String(), "nodes", len(addrs))
	service := serveUnchanging(ctx, dht.Do, log)
	<-ctx.Done()
	log.Info("Stopping")
	service.Stopping()
	return dht.Close()
}

// serveUnchanging reports a service without a configuration as ready to systemd, and serves the watchdog with turns of its loop until
// ctx ends.
func serveUnchanging(ctx context.Context, do func(ctx context.Context, f func() error) error, log *slog.Logger) *systemd.Service {
	service := systemd.New(log)
	cli.OnHangUp(ctx, func() {
		service.Reload(func() error {
			log.Info("Nothing to reload")
			return nil
		})
	})
	service.Ready()
	go service.Watch(ctx, func(ctx context.Context) error { return do(ctx, func() error { return nil }) })
	return service
}
