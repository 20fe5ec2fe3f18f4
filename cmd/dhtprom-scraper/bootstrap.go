package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
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
	cli.OnHangUp(ctx, func() { log.Info("Nothing to reload") })
	log.Info("Running DHT nodes", "bootstrap", addrs[0].String(), "nodes", len(addrs))
	<-ctx.Done()
	log.Info("Stopping")
	return dht.Close()
}
