package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// ping connects to a server, or pings a DHT node, and prints what that took.
func (p program) ping(ctx context.Context, cfg pingConfig) (err error) {
	if cfg.peer.node.IsValid() {
		return p.pingNode(ctx, cfg)
	}
	seed, err := cfg.seed(p)
	if err != nil {
		return err
	}
	n, err := p.enter(ctx, cfg.node, seed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	began := time.Now()
	c, err := n.Dial(ctx, id.PublicKey(cfg.peer.key), cfg.dialOptions())
	if err != nil {
		return err
	}
	took := time.Since(began)
	at, _ := c.RemoteAddr().(dhtnet.Addr)
	err = p.println(fmt.Sprintf("connected to %s in %s: path=%s rtt=%s address=%s", at.Key, short(took), c.Path(), measure(ctx, c), at.AddrPort))
	return errors.Join(err, c.Close())
}

const (
	// measureTime bounds the wait for the first measurement of a connection, and measureEach is the interval of the looks at it.
	measureTime = 2 * time.Second
	measureEach = 5 * time.Millisecond
)

// measure returns the round-trip time of a connection, which it has once the peer has acknowledged its first packet.
func measure(ctx context.Context, c *dhtnet.Conn) string {
	ctx, stop := context.WithTimeout(ctx, measureTime)
	defer stop()
	each := time.NewTicker(measureEach)
	defer each.Stop()
	for {
		if d := c.Stats().RTT; d > 0 {
			return short(d).String()
		}
		select {
		case <-each.C:
		case <-ctx.Done():
			return "unknown"
		}
	}
}

// dialOptions are the options of dials with the relays of the flags.
func (c nodeConfig) dialOptions() hyperdht.ConnectOptions {
	return hyperdht.ConnectOptions{RelayThrough: c.relays()}
}

func (c nodeConfig) relays() (keys []id.PublicKey) {
	for _, r := range c.node.Relays {
		keys = append(keys, id.PublicKey(r.Key))
	}
	return keys
}

// pingNode pings a DHT node, as a bootstrap node of its own network.
func (p program) pingNode(ctx context.Context, cfg pingConfig) (err error) {
	cfg.node.Bootstrap, cfg.node.STUN = []string{cfg.peer.node.String()}, []string{"none"}
	n, err := p.node(cfg.node, noSeed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	checked := make(chan []hyperdht.BootstrapStatus, 1)
	err = n.Do(ctx, func(n *hyperdht.Node) {
		n.CheckBootstrap(func(all []hyperdht.BootstrapStatus) { checked <- all })
	})
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case all := <-checked:
		if err := all[0].Err; err != nil {
			return fmt.Errorf("no answer from %s: %w", cfg.peer.node, err)
		}
		return p.println(fmt.Sprintf("answer from %s: rtt=%s seen-as=%s", cfg.peer.node, short(all[0].RTT), all[0].Seen))
	}
}

// short rounds a duration for people.
func short(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
