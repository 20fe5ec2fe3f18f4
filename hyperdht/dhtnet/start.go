package dhtnet

import (
	"context"
	"fmt"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Net is a node with blocking methods. They may be called from any goroutine, but not on the loop. Those with a context
// return its error when it ends; all of them return an error when the node or its host closes.
type Net struct {
	loop host.Loop
	node *hyperdht.Node
}

// New returns a Net for a node that lives on loop.
func New(loop host.Loop, node *hyperdht.Node) *Net { return &Net{loop: loop, node: node} }

// Start creates a node on h and waits until it has entered the network, or its first attempt has failed; it continues to try then.
// Start fails if hyperdht.New does, and closes the node if ctx ends first. Without a WallClock the node has time.Now.
func Start(ctx context.Context, h host.Host, cfg hyperdht.Config) (*Net, error) {
	if cfg.WallClock == nil {
		cfg.WallClock = time.Now
	}
	n := &Net{loop: h}
	onReady := cfg.OnReady
	failure, err := bridge.Call(ctx, n.loop, func(done func(error)) func() {
		cfg.OnReady = func() {
			if onReady != nil {
				onReady()
			}
			done(nil)
		}
		node, err := hyperdht.New(h, cfg)
		if err != nil {
			done(err)
			return nil
		}
		n.node = node
		return func() { node.Close(nil) }
	})
	if err == nil {
		err = failure
	}
	if err != nil {
		return nil, fmt.Errorf("dhtnet: start: %w", err)
	}
	return n, nil
}

// Do runs f on the loop, where the node's own methods may be called, and waits for it. f must not block.
func (n *Net) Do(ctx context.Context, f func(*hyperdht.Node)) error {
	return bridge.Wait(ctx, n.loop, func(done func()) {
		f(n.node)
		done()
	})
}

// Close closes the node and waits for it: listeners are unannounced, which takes three seconds at most, and connections
// ended. Repeated calls have no effect. The host stays open.
func (n *Net) Close() error {
	// A closed host has closed the node.
	_ = bridge.Wait(context.Background(), n.loop, n.node.Close)
	return nil
}
