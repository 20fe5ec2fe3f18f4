package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/startup"
	"github.com/dhtprom/dhtprom/cmd/internal/systemd"
	"github.com/dhtprom/dhtprom/node"
)

const (
	// nodePatience is the time after which a node waits for an answer of the first one: it starts in milliseconds otherwise.
	nodePatience = 2 * time.Second
	noFirstNode  = "; the first does not answer: is --host this machine's address?"
)

// bootstrap runs the nodes of a private DHT until ctx ends.
func bootstrap(ctx context.Context, cfg bootstrapConfig, stdout io.Writer, screen *cli.Screen, log *slog.Logger) error {
	dht, err := startNodes(ctx, cfg, screen, log)
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped
		}
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

// startNodes starts the nodes, and reports what that waits for.
func startNodes(ctx context.Context, cfg bootstrapConfig, screen *cli.Screen, log *slog.Logger) (*node.DHT, error) {
	var running, last atomic.Int64
	dhtConfig := node.DHTConfig{Addr: cfg.host, Port: uint16(cfg.port), Nodes: cfg.nodes, STUN: cfg.stun, OnNode: func(n int) {
		running.Store(int64(n))
		last.Store(time.Now().UnixNano())
	}}
	stop := startup.Begin(ctx, screen, log, func(context.Context) (startup.Step, error) {
		n := running.Load()
		why := fmt.Sprintf("%d of %d run", n, cfg.nodes)
		if n > 0 && time.Since(time.Unix(0, last.Load())) > nodePatience {
			why += noFirstNode
		}
		return startup.Step{Doing: "starting DHT nodes", Why: why}, nil
	})
	dht, err := node.StartDHT(ctx, dhtConfig)
	stop()
	if err != nil {
		return nil, err
	}
	alone, err := dht.Alone(ctx)
	if err == nil && alone > 0 {
		log.Warn("DHT nodes do not reach the first one", "nodes", alone, "hint", "is --host this machine's address, and does its NAT pass packets from inside?")
	}
	return dht, nil
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
