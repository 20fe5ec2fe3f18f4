package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"

	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/machine"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// bootstrap runs the nodes of a private DHT until ctx ends.
func bootstrap(ctx context.Context, cfg bootstrapConfig, stdout io.Writer, log *slog.Logger) error {
	h, cleanup := machine.Host()
	defer cleanup()
	nodes, err := startNodes(h, cfg)
	if err != nil {
		return err
	}
	first := netip.AddrPortFrom(cfg.host, uint16(cfg.port))
	flags := "--dht.bootstrap=" + first.String()
	if cfg.stun {
		for i := range min(cfg.nodes, 2) { // two that see a NAT from outside are enough to tell its kind
			flags += fmt.Sprintf(" --stun.server=%s", netip.AddrPortFrom(cfg.host, uint16(cfg.port+i)))
		}
	}
	_, _ = fmt.Fprintf(stdout, "A private DHT of %d nodes. Start scrapers and clients with\n\n  %s\n\n", cfg.nodes, flags)
	cli.OnHangUp(ctx, func() { log.Info("Nothing to reload") })
	log.Info("Running DHT nodes", "bootstrap", first.String(), "nodes", cfg.nodes)
	<-ctx.Done()
	log.Info("Stopping")
	return stopNodes(h, nodes)
}

// startNodes starts a dedicated bootstrap node on the first port and persistent nodes on the ports after it. All of them
// know their address, because they have nobody to learn it from.
func startNodes(h *udp.Host, cfg bootstrapConfig) ([]*hyperdht.Node, error) {
	nodes := make([]*hyperdht.Node, 0, cfg.nodes)
	// Behind a one-to-one NAT the public address is not ours to bind; on loopback there is no reason to be open to all.
	bind := netip.IPv4Unspecified()
	if cfg.host.IsLoopback() {
		bind = cfg.host
	}
	for i := range cfg.nodes {
		port := uint16(cfg.port + i)
		node, err := machine.On(h, func() (*hyperdht.Node, error) {
			c := hyperdht.Config{
				Bootstrap: []string{}, Listen: netip.AddrPortFrom(bind, port), Mode: hyperdht.Persistent, Reachable: true,
				PublicAddr: netip.AddrPortFrom(cfg.host, port),
			}
			if cfg.stun {
				c.Probe = stun.NewResponder(h, stun.ResponderConfig{Host: cfg.host})
			}
			if i > 0 {
				c.Bootstrap = []string{netip.AddrPortFrom(cfg.host, uint16(cfg.port)).String()}
			}
			return hyperdht.New(h, c)
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("--port: DHT node on port %d: %w", port, err), stopNodes(h, nodes))
		}
		nodes = append(nodes, node)
	}
	return nodes, nil
}

func stopNodes(h *udp.Host, nodes []*hyperdht.Node) error {
	return machine.End(h, "the DHT nodes", closeTimeout, func(done func()) {
		left := len(nodes) + 1
		one := func() {
			if left--; left == 0 {
				done()
			}
		}
		for _, n := range nodes {
			n.Close(one)
		}
		one()
	})
}
