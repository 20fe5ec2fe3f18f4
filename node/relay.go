package node

import (
	"context"
	"errors"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/internal/part"
)

// RelayConfig configures a blind relay: its identity and its limits.
type RelayConfig struct {
	// Seed is the seed of the key by which clients and scrapers name the relay: it must stay the same.
	Seed domain.Seed
	// Admit decides by key which peers may use the relay, on the node's loop; nil admits all.
	Admit func(domain.PublicKey) bool
	// MaxPairs bounds the relayed connections, and as many again may wait for their other side; 0 means 1024.
	MaxPairs int
	// MaxPairsPerKey bounds the relayed connections of one key, counted for the side with fewer. 0 means 64.
	MaxPairsPerKey int
}

// Relay carries connections that find no direct path. It can neither read nor change their content.
type Relay struct {
	node   *dhtprom.Node
	part   *part.Part
	server *hyperdht.RelayServer
	cfg    hyperdht.RelayConfig
}

var errNoStack = errors.New("a relay needs HyperDHT: NodeConfig.Connect made another network")

// NewRelay creates a relay on a node, to be closed by its own Close or by the node's. Nothing happens before Start.
func NewRelay(n *dhtprom.Node, cfg RelayConfig) (*Relay, error) {
	if cfg.Seed.IsZero() {
		return nil, &app.ConfigError{Field: "Seed", Want: "want the 32-byte seed of the relay's key pair"}
	}
	if n.Stack() == nil {
		return nil, errNoStack
	}
	keys := id.KeyPairFromSeed(id.Seed(cfg.Seed.Reveal()))
	r := &Relay{node: n, cfg: hyperdht.RelayConfig{
		Keys: keys, MaxPairs: cfg.MaxPairs, MaxPairsPerKey: cfg.MaxPairsPerKey,
	}}
	if cfg.Admit != nil {
		r.cfg.Admit = func(remote id.PublicKey) bool { return cfg.Admit(domain.PublicKey(remote)) }
	}
	var err error
	r.part, err = part.New(n.Host(), "the relay", func(done func()) {
		if r.server == nil {
			done()
			return
		}
		r.server.Close(done)
	}, nil)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Start starts the relay and returns when it can be found, or ctx ends; if it fails, the relay is closed. The relay closes with
// ctx.
func (r *Relay) Start(ctx context.Context) error {
	return r.part.Start(ctx, func(done func(error)) {
		var err error
		if r.server, err = r.node.Stack().DHT.ServeRelay(r.cfg, done); err != nil {
			done(err)
		}
	})
}

// PublicKey is the key by which peers name the relay.
func (r *Relay) PublicKey() domain.PublicKey { return domain.PublicKey(r.cfg.Keys.Public) }

// Stats returns the relay's counters; zeros before Start.
func (r *Relay) Stats(ctx context.Context) (s hyperdht.RelayStats, err error) {
	err = r.node.Do(ctx, func() error {
		if r.server != nil {
			s = r.server.Stats()
		}
		return nil
	})
	return s, err
}

// Done returns a channel that is closed with the relay.
func (r *Relay) Done() <-chan struct{} { return r.part.Done() }

// Close stops accepting peers. Relayed connections go on until their peers close them, or the node is closed.
func (r *Relay) Close() error { return r.part.Close() }
