package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/startup"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/node"
	"github.com/dhtprom/dhtprom/node/turnserver"
)

const (
	// relayReport is the interval at which an active relay logs its counters.
	relayReport = 10 * time.Minute
	// statsTimeout bounds how long that waits for the relay's loop.
	statsTimeout = time.Second
)

// relayStats returns the counters and their log attributes.
func relayStats(ctx context.Context, r *node.Relay) (hyperdht.RelayStats, []any) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), statsTimeout)
	defer stop()
	s, err := r.Stats(ctx)
	if err != nil {
		return s, []any{"err", err}
	}
	refused := s.Refused + s.RefusedKey + s.Crowded
	return s, []any{
		"active", s.Active, "reserve", s.Reserve, "waiting", s.Waiting, "sessions", s.Sessions, "matched", s.Matched, "refused", refused, "expired", s.Expired,
	}
}

// relay runs a blind relay until ctx ends.
func relay(ctx context.Context, cfg relayConfig, stdout io.Writer, screen *cli.Screen, log *slog.Logger) error {
	seed, err := loadSeed(seedSource{
		file: cfg.seedFile, made: filepath.Join(cfg.storage, "relay.seed"), comment: "The seed of this dhtprom relay's key pair. Keep it secret.",
	}, log)
	if err != nil {
		return err
	}
	cfg.node.Logger, cfg.relay.Seed = log, seed
	n, err := dhtprom.NewNode(cfg.node)
	if err != nil {
		return explain(err)
	}
	if len(cfg.allow) > 0 {
		cfg.relay.Admit = func(remote domain.PublicKey) bool { return slices.Contains(cfg.allow, remote) }
	}
	r, err := node.NewRelay(n, cfg.relay)
	if err != nil {
		return errors.Join(err, n.Close())
	}
	_, _ = fmt.Fprintf(stdout, "A blind relay. Scrapers and clients use it where they find no direct path, with\n\n  --dht.relay=%s\n\n", domain.Reference{Key: r.PublicKey(), Addr: cfg.node.PublicAddress})
	side, err := cfg.beside(ctx, r, log)
	if err != nil {
		return errors.Join(err, n.Close())
	}
	defer side()
	service := serveUnchanging(ctx, n.Do, log)
	started := startup.Begin(ctx, screen, log, startOf(n))
	err = serveRelay(ctx, r, started, log)
	started()
	service.Stopping()
	return errors.Join(err, n.Close())
}

// beside starts what a relay runs beside itself: a TURN server and the server of its metrics. stop stops them.
func (c *relayConfig) beside(ctx context.Context, r *node.Relay, log *slog.Logger) (stop func(), err error) {
	var server *turnserver.Server
	all := relayMetrics(func() hyperdht.RelayStats {
		s, _ := relayStats(ctx, r)
		return s
	})
	if c.turn.on() {
		if server, err = c.turn.start(c.storage, c.node.PublicAddress, log); err != nil {
			return nil, err
		}
		all = append(all, turnMetrics(server.Stats())...)
	}
	var page *http.Server
	if c.web != "" {
		if page, err = serveMetrics(c.web, c.webFile, all, log); err != nil {
			if server != nil {
				err = errors.Join(err, server.Close())
			}
			return nil, err
		}
	}
	return func() {
		if page != nil {
			_ = page.Close()
		}
		if server != nil {
			_ = server.Close()
		}
	}, nil
}

// serveRelay serves until ctx ends, logging the counters. It calls started when the relay can be found.
func serveRelay(ctx context.Context, r *node.Relay, started func(), log *slog.Logger) error {
	found := make(chan error, 1)
	go func() { found <- r.Start(context.WithoutCancel(ctx)) }() // its counters are logged before it is closed
	report := time.NewTicker(relayReport)
	defer report.Stop()
	var last hyperdht.RelayStats
	for {
		select {
		case err := <-found:
			started()
			if err != nil {
				return err
			}
			log.Info("Relaying", "public_key", r.PublicKey().String())
		case <-report.C:
			if s, attrs := relayStats(ctx, r); s != last {
				last = s
				log.Info("Relayed", attrs...)
			}
		case <-ctx.Done():
			_, attrs := relayStats(ctx, r)
			log.Info("Stopping", attrs...)
			return nil
		}
	}
}
