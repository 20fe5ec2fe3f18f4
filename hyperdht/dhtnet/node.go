package dhtnet

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports/bridge"
)

// onNode runs f on the loop of a node that is not closed, and returns its result.
func onNode[T any](ctx context.Context, n *Net, what string, f func(*hyperdht.Node) (T, error)) (T, error) {
	o, err := bridge.Do(ctx, n.loop, func() (o outcome[T]) {
		if n.node.Closed() {
			o.err = hyperdht.ErrClosed
			return o
		}
		o.value, o.err = f(n.node)
		return o
	})
	if err == nil {
		err = o.err
	}
	if err != nil {
		err = fmt.Errorf("dhtnet: %s: %w", what, err)
	}
	return o.value, err
}

// Status describes the node now: its address and id, whether the network answers, and counters.
func (n *Net) Status(ctx context.Context) (hyperdht.Status, error) {
	return onNode(ctx, n, "status", func(n *hyperdht.Node) (hyperdht.Status, error) { return n.Status(), nil })
}

// Nodes lists the DHT nodes that this node knows, those that answered last first. Saved, they are hyperdht.Config.Nodes of the next
// run, which then needs no bootstrap node.
func (n *Net) Nodes(ctx context.Context) ([]netip.AddrPort, error) {
	return onNode(ctx, n, "list nodes", func(n *hyperdht.Node) ([]netip.AddrPort, error) { return n.Nodes(), nil })
}

// AddNode adds DHT nodes that are believed to exist to the routing table. Those that do not answer are removed.
func (n *Net) AddNode(ctx context.Context, addrs ...netip.AddrPort) error {
	_, err := onNode(ctx, n, "add node", func(n *hyperdht.Node) (nothing, error) {
		for _, a := range addrs {
			n.AddNode(a)
		}
		return nothing{}, nil
	})
	return err
}

// Suspend makes the node silent until Resume and waits for it: listeners are unannounced, which takes three seconds at most,
// connections ended with hyperdht.ErrSuspended, and sockets closed. Dials fail until Resume; listeners remain, and are announced again.
// If ctx ends first, the node is suspended nevertheless.
func (n *Net) Suspend(ctx context.Context) error {
	failure, err := bridge.Call(ctx, n.loop, func(done func(error)) func() {
		if n.node.Closed() {
			done(hyperdht.ErrClosed)
			return nil
		}
		n.node.Suspend(func() { done(nil) })
		return nil
	})
	if err == nil {
		err = failure
	}
	if err != nil {
		err = fmt.Errorf("dhtnet: suspend: %w", err)
	}
	return err
}

// Resume undoes Suspend: the sockets are bound to their previous ports. It does not wait for the network. If the address or an
// explicit port is not available, it fails, the node stays suspended, and Resume can be called again.
func (n *Net) Resume(ctx context.Context) error {
	_, err := onNode(ctx, n, "resume", func(n *hyperdht.Node) (nothing, error) { return nothing{}, n.Resume() })
	return err
}
