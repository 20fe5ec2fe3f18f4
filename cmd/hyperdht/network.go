package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/cmd/internal/startup"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/keyfile"
)

// announced leaves the announcement of a server out of the steps of the start.
const announced = true

// enterEach is the interval of the looks whether a node has entered the DHT after its first attempt.
const enterEach = 200 * time.Millisecond

const seedEnv = "DHTPROM_IDENTITY_SEED"

// noSeed lets a node draw a key pair.
var noSeed = domain.Seed{}

// network is a node of the DHT, for one command.
type network struct {
	*dhtnet.Net
	node  *dhtprom.Node
	ready chan struct{} // closed when the node has entered the DHT, or its first attempt has failed
}

// enter starts a node and waits until it has entered the DHT. It fails if the first attempt has. seed is that of its identity for
// dials; the zero value draws one.
func (p program) enter(ctx context.Context, cfg dhtprom.NodeConfig, seed domain.Seed) (*network, error) {
	n, err := p.node(cfg, seed)
	if err != nil {
		return nil, err
	}
	stop := p.report(ctx, n)
	err = n.entered(ctx)
	stop()
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// stay is enter for commands that run until they are stopped: the absence of the DHT does not end them.
func (p program) stay(ctx context.Context, cfg dhtprom.NodeConfig, seed domain.Seed) (*network, error) {
	n, err := p.node(cfg, seed)
	if err != nil {
		return nil, err
	}
	defer p.report(ctx, n)()
	for {
		err := n.entered(ctx)
		if err == nil {
			return n, nil
		}
		select {
		case <-time.After(enterEach):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), n.Close())
		}
	}
}

// report reports that the start of a node waits for the DHT, until stop is called.
func (p program) report(ctx context.Context, n *network) (stop func()) {
	return startup.Begin(ctx, p.screen, p.log, func(ctx context.Context) (startup.Step, error) {
		s, err := n.node.Status(ctx)
		return startup.Network(s.State, announced), err
	})
}

// node starts a node, which then enters the DHT.
func (p program) node(cfg dhtprom.NodeConfig, seed domain.Seed) (*network, error) {
	n := &network{ready: make(chan struct{})}
	cfg.Seed, cfg.Logger, cfg.OnReady = seed, p.log, func() { close(n.ready) }
	node, err := dhtprom.NewNode(cfg)
	if _, ok := errors.AsType[*hyperdht.ListenError](err); ok {
		return nil, fmt.Errorf("--dht.listen-address: %w; port 0 takes any free one", err)
	}
	if err != nil {
		return nil, err
	}
	n.Net, n.node = node.Streams(), node
	return n, nil
}

// entered waits until the node has entered the DHT, or its first attempt has failed. It fails if the node knows no other one.
func (n *network) entered(ctx context.Context) error {
	select {
	case <-n.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	s, err := n.Status(ctx)
	if err == nil && s.Nodes == 0 {
		err = hyperdht.ErrNoDHTNode
	}
	return err
}

// Close ends the node and all its connections.
func (n *network) Close() error { return n.node.Close() }

// seed returns the seed of the flag or of the environment. It is zero if there is none.
func (c nodeConfig) seed(p program) (domain.Seed, error) {
	if c.seedFile != "" {
		if keyfile.Exposed(c.seedFile) {
			p.log.Warn("Secret file is readable by other users; run chmod 600 on it", "path", c.seedFile)
		}
		return keyfile.Seed(c.seedFile)
	}
	if text := os.Getenv(seedEnv); text != "" {
		return keyfile.ParseSeed(seedEnv, text)
	}
	return domain.Seed{}, nil
}

// ownSeed is seed for commands that need one.
func (c nodeConfig) ownSeed(p program) (domain.Seed, error) {
	seed, err := c.seed(p)
	if err == nil && seed.IsZero() {
		err = errors.New("no key pair: set --identity.seed-file to a file that hyperdht keygen has made")
	}
	return seed, err
}

// keysOf returns the key pair of a seed.
func keysOf(seed domain.Seed) id.KeyPair { return id.KeyPairFromSeed(seed.Reveal()) }
