// Package kvtest is the contract of package kv as a test suite. The simulated store and the client of a real etcd run it, so that code
// tested on one of them behaves on the other.
package kvtest

import (
	"errors"
	"slices"
	"testing"

	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// Bench opens connections to one store repeatedly, and runs the loop of their callbacks. The store may have other keys than those of the
// suite, which begin with Prefix, and other users.
type Bench struct {
	Prefix string
	// Open opens a connection. The suite closes it.
	Open func(t *testing.T) kv.Store
	// Run starts f on the loop and waits until done was called, while time passes. It fails the test if that takes minutes.
	Run func(t *testing.T, f func(done func()))
	// Now is the steady time of the loop. It is called on the loop.
	Now func() host.Instant
	// Compact removes the revisions before one from the store's history.
	Compact func(t *testing.T, revision int64)
	// Revoke removes a lease from the store, past the connection that keeps it.
	Revoke func(t *testing.T, id kv.LeaseID)
}

// Test checks a store against the contract of package kv. bench returns a store without keys of its prefix, or a new prefix, for each part.
func Test(t *testing.T, bench func(t *testing.T) Bench) {
	tests := []struct {
		name string
		run  func(*rig)
	}{
		{"a transaction sets and deletes keys at one revision", setsAndDeletes},
		{"a transaction takes effect only if all its conditions hold", conditions},
		{"one of two transactions with the same condition takes effect", oneWins},
		{"values are the caller's again", valuesAreTheCallers},
		{"values are bytes", valuesAreBytes},
		{"a refused transaction has no effect", refused},
		{"a list has the keys of a prefix in order", lists},
		{"a long list is of one revision", longList},
		{"a watch reports what came after its revision in order", watches},
		{"changes of a transaction are reported together", together},
		{"a watch reports what its prefix covers", watchesPrefix},
		{"a cancelled watch reports nothing", cancels},
		{"a watch of compacted revisions is lost", compacted},
		{"a lease keeps its keys while it is renewed", leaseIsKept},
		{"a lease that is lost removes its keys", leaseIsLost},
		{"a lease without its connection outlives its promise", leaseExpires},
		{"a closed lease removes its keys", leaseCloses},
		{"a lease may be closed before it is granted", leaseClosesEarly},
		{"a closed connection fails its calls", closes},
		{"a closed connection is silent", closedIsSilent},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(&rig{Bench: bench(t), t: t}) })
	}
}

// rig is a bench with the test that uses it.
type rig struct {
	Bench
	t *testing.T
}

// open opens a connection that is closed at the end of the test.
func (r *rig) open() kv.Store {
	r.t.Helper()
	s := r.Open(r.t)
	r.t.Cleanup(func() { r.close(s) })
	return s
}

func (r *rig) close(s kv.Store) {
	r.t.Helper()
	r.Run(r.t, s.Close)
}

// do runs f as one turn.
func (r *rig) do(f func()) {
	r.t.Helper()
	r.Run(r.t, func(done func()) {
		f()
		done()
	})
}

func (r *rig) key(name string) string { return r.Prefix + name }

func (r *rig) put(name, value string) kv.Op {
	return kv.Op{Key: r.key(name), Value: []byte(value)}
}

func (r *rig) drop(name string) kv.Op { return kv.Op{Key: r.key(name), Delete: true} }

// absent requires that a key does not exist.
func (r *rig) absent(name string) kv.Condition { return kv.Condition{Key: r.key(name)} }

// try carries out a transaction and returns its outcome.
func (r *rig) try(s kv.Store, t kv.Txn) (result kv.Result, err error) {
	r.t.Helper()
	r.Run(r.t, func(done func()) {
		called := false
		s.Commit(t, func(got kv.Result, failed error) {
			called, result, err = true, got, failed
			done()
		})
		if called {
			r.t.Error("Commit called done in the same turn")
		}
	})
	return result, err
}

// commit carries out a transaction whose conditions hold, and returns its revision.
func (r *rig) commit(s kv.Store, ops ...kv.Op) int64 {
	r.t.Helper()
	result, err := r.try(s, kv.Txn{Then: ops})
	if err != nil || !result.Done {
		r.t.Fatalf("Commit: %+v, %v", result, err)
	}
	return result.Revision
}

// refuses carries out a transaction whose conditions do not hold.
func (r *rig) refuses(s kv.Store, t kv.Txn) {
	r.t.Helper()
	result, err := r.try(s, t)
	if err != nil || result.Done {
		r.t.Errorf("Commit of %+v: %+v, %v; its conditions do not hold", t, result, err)
	}
}

func (r *rig) list(s kv.Store, prefix string) (list kv.List) {
	r.t.Helper()
	r.Run(r.t, func(done func()) {
		called := false
		s.List(r.key(prefix), func(got kv.List, err error) {
			if called = true; err != nil {
				r.t.Errorf("List: %v", err)
			}
			list = got
			done()
		})
		if called {
			r.t.Error("List called done in the same turn")
		}
	})
	return list
}

// holds checks the content below the prefix, as name, value, name, value...
func (r *rig) holds(s kv.Store, want ...string) {
	r.t.Helper()
	var got []string
	for _, i := range r.list(s, "").Items {
		got = append(got, i.Key[len(r.Prefix):], string(i.Value))
	}
	if !slices.Equal(got, want) {
		r.t.Errorf("the store has %q, want %q", got, want)
	}
}

// isRefusal reports whether an error of a transaction means that the store refused it.
func isRefusal(err error) bool {
	return err != nil && !errors.Is(err, kv.ErrUncertain) && !errors.Is(err, kv.ErrUnavailable) && !errors.Is(err, kv.ErrClosed)
}
