// Package kv is the port of a key-value store that several processes share, with the semantics of etcd: transactions are linearizable
// and increase the revision of the store by one, leases remove their keys when their process is gone, and watches report each change in
// order.
//
// The rules of ports hold: everything is called on the loop and calls back on the loop, in a later turn.
//
// kvtest has the contract as a test suite, which the simulated store of adapters/simnet and a real etcd must pass.
package kv

import (
	"errors"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

const (
	// MaxOps bounds the operations of a transaction, and MaxBytes their keys and values in bytes: below etcd's defaults of 128 and
	// 1.5 MiB.
	MaxOps   = 120
	MaxBytes = 1 << 20
)

var (
	// ErrUncertain means that a transaction may have been carried out, or may be later: its answer was lost.
	ErrUncertain = errors.New("the store may or may not have made the change")
	// ErrUnavailable means that the store cannot be reached or has no leader, and that nothing was changed.
	ErrUnavailable = errors.New("the store cannot be reached")
	// ErrClosed means that the store was closed by its user.
	ErrClosed = errors.New("the store is closed")
)

// Store is a connection to the store. It reconnects by itself.
type Store interface {
	// Commit carries out a transaction. Transactions of one store may overlap and take effect in any order: callers wait for one before
	// the next where the order matters. The error is, or wraps, ErrUncertain, ErrUnavailable or ErrClosed; other errors mean that the store
	// refused the transaction, which then has no effect. A transaction fails within seconds.
	Commit(t Txn, done func(Result, error))
	// List reads the keys that begin with a prefix, by key, at one revision, which is not older than the call. Errors are Commit's.
	List(prefix string, done func(List, error))
	// Watch reports the changes of keys that begin with a prefix after a revision. It continues after interruptions of the connection
	// without a loss, until cancel is called or OnLost.
	Watch(prefix string, after int64, h WatchHandlers) (cancel func())
	// Lease grants a lease and renews it until it is lost or closed.
	Lease(ttl time.Duration, h LeaseHandlers) Lease
	// Close closes the connection. Pending calls fail with ErrClosed before done is called; leases that were not closed expire.
	Close(done func())
}

// Txn is a transaction: the operations are carried out, all at one revision, if all conditions hold. No two operations have the same key.
type Txn struct {
	If   []Condition
	Then []Op
}

// Condition requires that a key was created at a revision, and has not been deleted since. At 0 it requires that the key does not
// exist.
type Condition struct {
	Key     string
	Created int64
}

// Op sets or deletes a key. Deleting an absent key has no effect.
type Op struct {
	Key    string
	Value  []byte
	Delete bool
	Lease  LeaseID // which the key is removed with; zero for none
}

// LeaseID identifies a lease. It is not zero.
type LeaseID int64

// Result is the result of a transaction.
type Result struct {
	Done     bool  // the conditions held
	Revision int64 // of the store, after it
}

// Item is a key with its value.
type Item struct {
	Key      string
	Value    []byte
	Created  int64 // revision at which the key was created
	Modified int64 // revision at which the value was set
}

// List is the content of the store below a prefix.
type List struct {
	Items    []Item
	Revision int64
}

// Change is a change of a key.
type Change struct {
	Item    // of a deleted key: the key, and the revision of the deletion as Modified
	Deleted bool
}

// WatchHandlers receive what a watch reports.
type WatchHandlers struct {
	// OnChanges receives all changes of a revision, or those of several in a row, oldest first. revision is that of the last one.
	OnChanges func(changes []Change, revision int64)
	// OnConnected reports whether the watch follows the store, at its start and whenever that changes; it may be nil. A store that cannot
	// be reached is noticed after some seconds.
	OnConnected func(bool)
	// OnLost is the last call: the store has removed the revisions that come next from its history (compaction), and the caller must list
	// again. It is not called after cancel.
	OnLost func()
}

// Lease is a lease that is being granted or kept.
type Lease interface {
	// ID is the lease's, after it was granted.
	ID() LeaseID
	// Until is the instant before which the lease certainly exists, by this host's steady time: the last renewal was sent a TTL before
	// it. Zero before it is granted.
	Until() host.Instant
	// Close revokes the lease, which removes its keys, and calls done when that is certain or was given up.
	Close(done func())
}

// LeaseHandlers receive the events of a lease.
type LeaseHandlers struct {
	// OnGranted is called once, before a key can be put under the lease. Attempts are repeated until then.
	OnGranted func()
	// OnRenewed is called after Until has changed.
	OnRenewed func()
	// OnLost is the last call: the store does not have the lease any more, and its keys are removed. It is not called after Close.
	OnLost func()
}
