package dhtnet

import (
	"context"
	"fmt"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/bridge"
)

// outcome is the result of a query.
type outcome[T any] struct {
	value T
	err   error
}

// query runs a query and waits for its outcome. Where the context ends first, the query is destroyed.
func query[T any](ctx context.Context, n *Net, what string, start func(done func(T, error)) *hyperdht.Query) (T, error) {
	o, err := bridge.Call(ctx, n.loop, func(done func(outcome[T])) func() {
		return start(func(v T, err error) { done(outcome[T]{v, err}) }).Destroy
	})
	if err == nil {
		err = o.err
	}
	if err != nil {
		err = fmt.Errorf("dhtnet: %s: %w", what, err)
	}
	return o.value, err
}

// nothing is the value of a query that has none.
type nothing = struct{}

// Announce stores a record of keys, or the node's if they are zero, under a target, at the up to twenty DHT nodes nearest to it, and returns nil if one of them
// stored it. A topic's target is the hash of its name, a server's that of its key, which a Listener announces by itself. Nodes drop a
// record after twenty minutes: announce it again every ten.
func (n *Net) Announce(ctx context.Context, target id.Target, keys id.KeyPair, opts hyperdht.AnnounceOptions) error {
	_, err := query(ctx, n, "announce", func(done func(nothing, error)) *hyperdht.Query {
		return n.node.Announce(target, keys, opts, func(err error) { done(nothing{}, err) })
	})
	return err
}

// Unannounce removes the record of keys, or the node's if they are zero, under a target.
func (n *Net) Unannounce(ctx context.Context, target id.Target, keys id.KeyPair) error {
	_, err := query(ctx, n, "unannounce", func(done func(nothing, error)) *hyperdht.Query {
		return n.node.Unannounce(target, keys, func(err error) { done(nothing{}, err) })
	})
	return err
}

// Lookup returns the records that were announced under a target, each key once, in the order in which nodes answered. There may be
// none. A key proves nothing until it has been dialled: nodes can invent records.
func (n *Net) Lookup(ctx context.Context, target id.Target) ([]hyperdht.Peer, error) {
	return query(ctx, n, "look up", func(done func([]hyperdht.Peer, error)) *hyperdht.Query {
		var peers []hyperdht.Peer
		seen := map[id.PublicKey]bool{}
		return n.node.Lookup(target, func(f hyperdht.Found) {
			for _, p := range f.Peers {
				if !seen[p.PublicKey] {
					seen[p.PublicKey] = true
					peers = append(peers, p)
				}
			}
		}, func(err error) { done(peers, err) })
	})
}

// FindPeer returns the answers of the DHT nodes that have the record of a server's key, in the order in which they came; there may be
// none. These nodes lead to the server: as hyperdht.ConnectOptions.RelayAddrs they save a dial this search. Dial needs no FindPeer.
func (n *Net) FindPeer(ctx context.Context, key id.PublicKey) ([]hyperdht.Found, error) {
	return query(ctx, n, "find peer", func(done func([]hyperdht.Found, error)) *hyperdht.Query {
		var all []hyperdht.Found
		return n.node.FindPeer(key, func(f hyperdht.Found) { all = append(all, f) }, func(err error) { done(all, err) })
	})
}

// MutablePut stores a value of up to about a kilobyte under the public key of keys, or the node's if they are zero, signed by it. Nodes keep it for two days. They reject a sequence
// number below the stored one, and another value under the same one, with a *hyperdht.RefusedError. A value that does not fit a
// datagram is received by no node: the error is hyperdht.ErrTimeout.
func (n *Net) MutablePut(ctx context.Context, keys id.KeyPair, seq uint64, value []byte) (hyperdht.MutableValue, error) {
	return query(ctx, n, "put mutable value", func(done func(hyperdht.MutableValue, error)) *hyperdht.Query {
		return n.node.MutablePut(keys, seq, value, done)
	})
}

// MutableGet returns the value of a key with the highest sequence number, or hyperdht.ErrNotFound if no node has one. Its signature has
// been verified. opts.Refresh runs on the loop.
func (n *Net) MutableGet(ctx context.Context, key id.PublicKey, opts hyperdht.MutableGetOptions) (hyperdht.MutableValue, error) {
	return query(ctx, n, "get mutable value", func(done func(hyperdht.MutableValue, error)) *hyperdht.Query {
		return n.node.MutableGet(key, opts, done)
	})
}

// ImmutablePut stores a value of up to about a kilobyte and returns its hash, under which it is found. Nodes keep it for two days.
// A larger value fails as in MutablePut.
func (n *Net) ImmutablePut(ctx context.Context, value []byte) (id.Target, error) {
	return query(ctx, n, "put immutable value", func(done func(id.Target, error)) *hyperdht.Query {
		return n.node.ImmutablePut(value, done)
	})
}

// ImmutableGet returns the value with a hash, or hyperdht.ErrNotFound if no node has it.
func (n *Net) ImmutableGet(ctx context.Context, target id.Target) ([]byte, error) {
	return query(ctx, n, "get immutable value", func(done func([]byte, error)) *hyperdht.Query {
		return n.node.ImmutableGet(target, func(value []byte, err error) {
			done(slices.Clone(value), err) // the node's is borrowed for the turn
		})
	})
}
