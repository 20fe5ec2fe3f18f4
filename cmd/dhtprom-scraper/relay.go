package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/cmd/internal/cli"
	"github.com/dhtprom/dhtprom/cmd/internal/machine"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// relayReport is how often a relay logs what it does, if it does something.
const relayReport = 10 * time.Minute

// relayStats is what a relay did and does.
type relayStats struct {
	sessions, waiting, active, reserve int
	matched, refused, expired          uint64
}

func (s relayStats) attrs() []any {
	return []any{"active", s.active, "reserve", s.reserve, "waiting", s.waiting, "sessions", s.sessions, "matched", s.matched, "refused", s.refused, "expired", s.expired}
}

// relay runs a blind relay until ctx ends.
func relay(ctx context.Context, cfg relayConfig, stdout io.Writer, log *slog.Logger) error {
	seed, err := loadSeed(seedSource{
		file: cfg.seedFile, made: filepath.Join(cfg.storage, "relay.seed"), comment: "The seed of this dhtprom relay's key pair. Keep it secret.",
	}, log)
	if err != nil {
		return err
	}
	keys := domain.KeyPairFromSeed(seed)
	h, cleanup := machine.Host()
	defer cleanup()
	node, err := machine.On(h, func() (*hyperdht.Node, error) {
		return machine.HyperDHT(h, machine.Node{Bootstrap: cfg.bootstrap, Listen: cfg.listen, STUN: cfg.stun})
	})
	if err != nil {
		return explainListen(err)
	}
	found := make(chan error, 1)
	server, err := machine.On(h, func() (*hyperdht.RelayServer, error) {
		c := hyperdht.RelayConfig{Keys: id.KeyPairFromSeed(id.Seed(seed.Reveal())), MaxPairs: cfg.total, MaxPairsPerKey: cfg.perKey}
		if len(cfg.allow) > 0 {
			c.Admit = func(remote id.PublicKey) bool { return slices.Contains(cfg.allow, domain.PublicKey(remote)) }
		}
		return node.ServeRelay(c, func(err error) { found <- err })
	})
	if err != nil {
		return errors.Join(err, stopNodes(h, []*hyperdht.Node{node}))
	}
	_, _ = fmt.Fprintf(stdout, "A blind relay. Scrapers and clients use it where they find no direct path, with\n\n  --dht.relay=%s\n\n", keys.Public)
	stats := func() (s relayStats) {
		h.Do(func() {
			now := server.Stats()
			s = relayStats{sessions: now.Sessions, waiting: now.Waiting, active: now.Active, reserve: now.Reserve, matched: now.Matched, refused: now.Refused + now.RefusedKey + now.Crowded, expired: now.Expired}
		})
		return s
	}
	cli.OnHangUp(ctx, func() { log.Info("Nothing to reload") })
	report := time.NewTicker(relayReport)
	defer report.Stop()
	var last relayStats
	for {
		select {
		case err := <-found:
			if err != nil {
				return errors.Join(err, stopNodes(h, []*hyperdht.Node{node}))
			}
			log.Info("Relaying", "public_key", keys.Public.String())
		case <-report.C:
			if s := stats(); s != last {
				last = s
				log.Info("Relayed", s.attrs()...)
			}
		case <-ctx.Done():
			log.Info("Stopping", stats().attrs()...)
			return stopNodes(h, []*hyperdht.Node{node})
		}
	}
}
