package kvtest

import (
	"errors"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// ttl is the time-to-live of leases: short, but longer than the least one that etcd grants.
const ttl = 3 * time.Second

// kept is a lease whose events are recorded. Its fields belong to the loop.
type kept struct {
	kv.Lease
	r                      *rig
	granted, renewed, lost int
	look                   func() // called after each event
}

// lease requests a lease.
func (r *rig) lease(s kv.Store) *kept {
	r.t.Helper()
	k := &kept{r: r, look: func() {}}
	r.do(func() {
		k.Lease = s.Lease(ttl, kv.LeaseHandlers{
			OnGranted: func() { k.granted++; k.look() },
			OnRenewed: func() { k.renewed++; k.look() },
			OnLost:    func() { k.lost++; k.look() },
		})
		if k.granted+k.renewed+k.lost > 0 {
			r.t.Error("Lease called back in the same turn")
		}
		if k.Until() != 0 {
			r.t.Errorf("until %v before it is granted", k.Until())
		}
	})
	return k
}

// await waits until cond, which runs on the loop, holds.
func (k *kept) await(cond func() bool) {
	k.r.t.Helper()
	k.r.Run(k.r.t, func(done func()) {
		k.look = func() {
			if cond() {
				k.look = func() {}
				done()
			}
		}
		k.look()
	})
}

// holding requests a lease, waits for it, and sets a key under it.
func (r *rig) holding(s kv.Store, name string) *kept {
	r.t.Helper()
	k := r.lease(s)
	k.await(func() bool { return k.granted > 0 })
	var op kv.Op
	r.do(func() {
		op = r.put(name, "held")
		if op.Lease = k.ID(); op.Lease == 0 {
			r.t.Error("the lease is zero")
		}
		if now := r.Now(); k.Until().After(now.Add(ttl)) || k.Until().Before(now) {
			r.t.Errorf("granted until %v, now is %v", k.Until(), now)
		}
	})
	r.commit(s, op)
	return k
}

func leaseIsKept(r *rig) {
	s := r.open()
	k := r.holding(s, "a")
	var start, last host.Instant
	r.do(func() { start = r.Now() })
	k.await(func() bool {
		if until := k.Until(); until.Before(last) || until.After(r.Now().Add(ttl)) {
			r.t.Errorf("until %v after %v, now is %v", until, last, r.Now())
		}
		last = k.Until()
		return r.Now().After(start.Add(3 * ttl))
	})
	r.holds(s, "a", "held")
	r.do(func() {
		if k.granted != 1 || k.renewed < 4 || k.lost != 0 {
			r.t.Errorf("granted %d times, renewed %d times, lost %d times", k.granted, k.renewed, k.lost)
		}
	})
	// The keys of a lease are its own until they are set without it.
	r.commit(s, r.put("a", "free"))
	r.closeLease(k)
	r.holds(s, "a", "free")
}

func (r *rig) closeLease(k *kept) {
	r.t.Helper()
	r.Run(r.t, k.Close)
}

func leaseIsLost(r *rig) {
	s := r.open()
	start := r.list(s, "").Revision
	k, other := r.holding(s, "a"), r.holding(s, "b")
	r.commit(s, r.put("c", "free"))
	rec := r.watch(s, "", start)
	var id kv.LeaseID
	r.do(func() { id = k.ID() })
	r.Revoke(r.t, id)
	k.await(func() bool { return k.lost > 0 })
	r.holds(s, "b", "held", "c", "free")
	rec.await(func() bool {
		return slices.ContainsFunc(slices.Concat(rec.batches...), func(c kv.Change) bool { return c.Deleted && c.Key == r.key("a") })
	})
	op := r.put("a", "late")
	op.Lease = id
	if _, err := r.try(s, kv.Txn{Then: []kv.Op{op}}); !isRefusal(err) {
		r.t.Errorf("a key under a lost lease: %v", err)
	}
	r.do(func() {
		k.look = func() { r.t.Error("an event after OnLost") }
		renewed := other.renewed
		other.look = func() {
			if other.lost > 0 || other.renewed < renewed {
				r.t.Error("the other lease is lost, too")
			}
		}
	})
	r.closeLease(k) // of a lost one
	r.closeLease(other)
	r.holds(s, "c", "free")
}

func leaseExpires(r *rig) {
	s, other := r.open(), r.open()
	start := r.list(other, "").Revision
	k := r.holding(s, "a")
	k.await(func() bool { return k.renewed > 1 })
	var until host.Instant
	r.Run(r.t, func(done func()) {
		until = k.Until()
		k.look = func() { r.t.Error("an event after the connection was closed") }
		s.Close(done)
	})
	rec := r.watch(other, "", start)
	rec.reports(2)
	r.do(func() {
		if now := r.Now(); now.Before(until) {
			r.t.Errorf("the key vanished %v before the end of the lease", until.Sub(now))
		}
	})
	r.holds(other)
}

func leaseCloses(r *rig) {
	s := r.open()
	k := r.holding(s, "a")
	r.Run(r.t, func(done func()) {
		called := false
		k.look = func() { r.t.Error("an event after Close") }
		k.Close(func() {
			called = true
			done()
		})
		if called {
			r.t.Error("Close called done in the same turn")
		}
	})
	r.holds(s)
	r.closeLease(k) // again
}

func leaseClosesEarly(r *rig) {
	s := r.open()
	k := r.lease(s)
	r.Run(r.t, func(done func()) {
		k.look = func() { r.t.Error("an event after Close") }
		k.Close(done)
	})
	next := r.holding(s, "a")
	r.closeLease(next)
	r.holds(s)
}

func closes(r *rig) {
	s, other := r.Open(r.t), r.open()
	r.commit(s, r.put("a", "1"))
	const calls = 20
	failed, finished := 0, 0
	ends := func(err error) {
		if finished++; errors.Is(err, kv.ErrClosed) {
			failed++
		} else if err != nil {
			r.t.Errorf("a pending call: %v", err)
		}
	}
	r.Run(r.t, func(done func()) {
		for range calls {
			s.Commit(kv.Txn{Then: []kv.Op{r.put("b", "1")}}, func(_ kv.Result, err error) { ends(err) })
			s.List(r.Prefix, func(_ kv.List, err error) { ends(err) })
		}
		s.Close(func() {
			if finished != 2*calls {
				r.t.Errorf("%d of %d calls ended before done", finished, 2*calls)
			}
			done()
		})
		if finished > 0 {
			r.t.Error("Close called back in the same turn")
		}
	})
	if failed != 2*calls {
		r.t.Errorf("%d of %d calls failed with ErrClosed", failed, 2*calls)
	}
	if _, err := r.try(s, kv.Txn{Then: []kv.Op{r.put("c", "1")}}); !errors.Is(err, kv.ErrClosed) {
		r.t.Errorf("Commit on a closed connection: %v", err)
	}
	r.Run(r.t, func(done func()) {
		s.List(r.Prefix, func(_ kv.List, err error) {
			if !errors.Is(err, kv.ErrClosed) {
				r.t.Errorf("List on a closed connection: %v", err)
			}
			done()
		})
	})
	r.close(s) // again
	if list := r.list(other, "a"); len(list.Items) != 1 {
		r.t.Errorf("another connection lists %+v", list)
	}
}

func closedIsSilent(r *rig) {
	s, other := r.Open(r.t), r.open()
	start := r.list(s, "").Revision
	rec, k := r.watch(s, "", start), r.lease(s)
	k.await(func() bool { return k.granted > 0 })
	r.Run(r.t, func(done func()) {
		rec.look = func() { r.t.Error("a report on a closed connection") }
		k.look = func() { r.t.Error("an event on a closed connection") }
		s.Close(done)
	})
	following := r.watch(other, "", start)
	r.commit(other, r.put("a", "1"))
	following.reports(1)
	r.do(func() { rec.cancel() })
	r.closeLease(k)
}
