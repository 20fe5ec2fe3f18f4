package etcd_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/interop/process"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// prefix begins the keys of these tests.
const prefix = "/faults/"

// writer sets one new key after another, several at a time, and notes what became of each. Its fields belong to the loop.
type writer struct {
	w                                  *world
	s                                  kv.Store
	next                               int
	acknowledged, uncertain, untouched []string
	look                               func()
	stopping                           bool
	running                            int
}

const writersAtATime = 8

func (w *world) write(s kv.Store) *writer {
	wr := &writer{w: w, s: s, look: func() {}}
	w.do(func() {
		for range writersAtATime {
			wr.step()
		}
	})
	return wr
}

func (w *writer) step() {
	if w.stopping {
		return
	}
	key := fmt.Sprintf("%skeys/%06d", prefix, w.next)
	w.next++
	w.running++
	t := kv.Txn{If: []kv.Condition{{Key: key}}, Then: []kv.Op{{Key: key, Value: []byte("x")}}}
	w.s.Commit(t, func(result kv.Result, err error) {
		w.running--
		switch {
		case err == nil && result.Done:
			w.acknowledged = append(w.acknowledged, key)
		case errors.Is(err, kv.ErrUncertain):
			w.uncertain = append(w.uncertain, key)
		case errors.Is(err, kv.ErrUnavailable):
			w.untouched = append(w.untouched, key)
		default:
			w.w.t.Errorf("%s: %+v, %v", key, result, err)
		}
		w.look()
		w.step()
	})
}

// await waits until cond, which runs on the loop, holds.
func (w *writer) await(cond func() bool) {
	w.w.t.Helper()
	w.w.run(w.w.t, func(done func()) {
		w.look = func() {
			if cond() {
				w.look = func() {}
				done()
			}
		}
		w.look()
	})
}

// more waits until n more keys were acknowledged.
func (w *writer) more(n int) {
	w.w.t.Helper()
	var from int
	w.w.do(func() { from = len(w.acknowledged) })
	w.await(func() bool { return len(w.acknowledged) >= from+n })
}

// end stops writing and compares the store with what was noted. It returns the keys that the store has, in the order of their revisions.
func (w *writer) end() []string {
	w.w.t.Helper()
	w.w.do(func() { w.stopping = true })
	w.await(func() bool { return w.running == 0 })
	var list kv.List
	w.w.run(w.w.t, func(done func()) {
		w.s.List(prefix+"keys/", func(got kv.List, err error) {
			if list = got; err != nil {
				w.w.t.Errorf("List: %v", err)
			}
			done()
		})
	})
	has := map[string]bool{}
	for _, item := range list.Items {
		has[item.Key] = true
	}
	made := 0
	w.w.do(func() {
		for _, key := range w.acknowledged {
			if !has[key] {
				w.w.t.Errorf("%s was acknowledged and is lost", key)
			}
		}
		for _, key := range w.untouched {
			if has[key] {
				w.w.t.Errorf("%s was reported as untouched and is there", key)
			}
		}
		for _, key := range w.uncertain {
			if has[key] {
				made++
			}
		}
		w.w.t.Logf("%d acknowledged, %d uncertain of which %d were made, %d untouched", len(w.acknowledged), len(w.uncertain), made, len(w.untouched))
		if len(has) != len(w.acknowledged)+made {
			w.w.t.Errorf("the store has %d keys", len(has))
		}
	})
	slices.SortFunc(list.Items, func(a, b kv.Item) int { return cmp.Compare(a.Modified, b.Modified) })
	var keys []string
	for _, item := range list.Items {
		keys = append(keys, item.Key)
	}
	return keys
}

// follower follows the writer's keys. Its fields belong to the loop.
type follower struct {
	keys   []string
	status []bool
	look   func()
}

func (w *world) follow(s kv.Store) *follower {
	f := &follower{look: func() {}}
	w.do(func() {
		s.Watch(prefix+"keys/", 0, kv.WatchHandlers{
			OnChanges: func(changes []kv.Change, _ int64) {
				for _, c := range changes {
					f.keys = append(f.keys, c.Key)
				}
				f.look()
			},
			OnConnected: func(ok bool) { f.status = append(f.status, ok) },
			OnLost:      func() { w.t.Error("the watch is lost") },
		})
	})
	return f
}

// reports waits until the follower has all keys, and checks their order.
func (w *world) reports(f *follower, keys []string) {
	w.t.Helper()
	w.run(w.t, func(done func()) {
		f.look = func() {
			if len(f.keys) >= len(keys) {
				f.look = func() {}
				done()
			}
		}
		f.look()
	})
	w.do(func() {
		if !slices.Equal(f.keys, keys) {
			w.t.Errorf("the watch reported %d keys of %d, or in another order", len(f.keys), len(keys))
		}
	})
}

// held is a lease with a key. Its fields belong to the loop.
type held struct {
	kv.Lease
	gap     time.Duration // the longest time between renewals
	at      host.Instant
	mayEnd  bool // etcd may revoke it
	revoked bool
}

func (w *world) hold(s kv.Store, ttl time.Duration) *held {
	w.t.Helper()
	return w.holdAs(s, ttl, &held{})
}

func (w *world) holdAs(s kv.Store, ttl time.Duration, h *held) *held {
	w.t.Helper()
	w.run(w.t, func(done func()) {
		h.Lease = s.Lease(ttl, kv.LeaseHandlers{
			OnGranted: func() {
				h.at = w.host.Now()
				s.Commit(kv.Txn{Then: []kv.Op{{Key: prefix + "held", Value: []byte("x"), Lease: h.ID()}}}, func(_ kv.Result, err error) {
					if err != nil {
						w.t.Errorf("Commit: %v", err)
					}
					done()
				})
			},
			OnRenewed: func() {
				now := w.host.Now()
				h.gap, h.at = max(h.gap, now.Sub(h.at)), now
			},
			OnLost: func() {
				if h.revoked = true; !h.mayEnd {
					w.t.Error("the lease is lost")
				}
			},
		})
	})
	return h
}

func (w *world) isHeld(s kv.Store) {
	w.t.Helper()
	w.run(w.t, func(done func()) {
		s.List(prefix+"held", func(list kv.List, err error) {
			if err != nil || len(list.Items) != 1 {
				w.t.Errorf("the key of the lease: %+v, %v", list.Items, err)
			}
			done()
		})
	})
}

// isHeldOrReported demands that the key of a lease is there, or that the lease is reported as lost, and not both.
func (w *world) isHeldOrReported(s kv.Store, h *held) {
	w.t.Helper()
	process.Until(w.t, "the key is there, or its lease is reported as lost", func() (err error) {
		w.run(w.t, func(done func()) {
			lost := h.revoked
			s.List(prefix+"held", func(list kv.List, failed error) {
				switch has := len(list.Items) == 1; {
				case failed != nil:
					err = failed
				case has && lost:
					w.t.Error("the lease is reported as lost, and its key is there")
				case !has && !lost:
					err = errors.New("the key is gone, and the lease is not reported as lost")
				}
				done()
			})
		})
		return err
	})
	w.do(func() { w.t.Logf("revoked by the former leader: %v", h.revoked) })
}

// Members are killed while keys are set: the leader, a follower, and each member in turn.
func TestMembersAreKilledUnderWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	s, other := w.open(t, prefix), w.open(t, prefix)
	f := w.follow(other)
	lease := w.hold(other, 5*time.Second)
	wr := w.write(s)
	wr.more(100)
	crash := func(i int) {
		t.Helper()
		w.cluster.Kill(i)
		wr.more(100)
		w.cluster.Restart(i)
		w.cluster.Await(i)
		wr.more(100)
	}
	crash(w.cluster.Leader())
	crash((w.cluster.Leader() + 1) % 3)
	for i := range 3 {
		crash(i)
	}
	w.reports(f, wr.end())
	w.do(func() {
		t.Logf("the watch's connections: %v; the longest time between renewals: %v", f.status, lease.gap)
	})
	w.isHeld(s)
	w.run(t, s.Close)
	w.run(t, other.Close)
}

// The leader hangs, with its connections, and comes back as a member that has missed an election. Before version 3.5.13 of etcd it then may
// revoke leases that were renewed with the next leader meanwhile (https://github.com/etcd-io/etcd/issues/15247): they have expired by its own
// clock, and it passes its proposals on to that leader. So the lease may end, which must be reported.
func TestLeaderHangsUnderWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	s, other := w.open(t, prefix), w.open(t, prefix)
	f := w.follow(other)
	lease := w.holdAs(other, 5*time.Second, &held{mayEnd: true})
	wr := w.write(s)
	wr.more(100)
	leader := w.cluster.Leader()
	w.cluster.Freeze(leader)
	wr.more(200)
	w.cluster.Thaw(leader)
	wr.more(100)
	w.reports(f, wr.end())
	w.do(func() { t.Logf("the longest time between renewals: %v", lease.gap) })
	w.isHeldOrReported(other, lease)
	w.run(t, s.Close)
	w.run(t, other.Close)
}

// Without a majority, nothing is changed, and the lease outlives its time-to-live, since no leader lets it expire.
func TestMajorityIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	s := w.open(t, prefix)
	f := w.follow(s)
	lease := w.hold(s, 2*time.Second)
	wr := w.write(s)
	wr.more(20)
	w.cluster.Kill(0)
	w.cluster.Kill(1)
	wr.await(func() bool { return len(wr.untouched) >= 2*writersAtATime })
	w.do(func() {
		if now := w.host.Now(); !lease.Until().Before(now) {
			t.Errorf("the lease is renewed until %v without a majority, now is %v", lease.Until(), now)
		}
		if n := len(f.status); n == 0 || f.status[n-1] {
			t.Errorf("the watch's connections: %v", f.status)
		}
	})
	w.cluster.Restart(0)
	w.cluster.Restart(1)
	wr.more(20)
	w.reports(f, wr.end())
	process.Until(t, "the lease is renewed", func() (err error) {
		w.do(func() {
			if lease.Until().Before(w.host.Now()) {
				err = fmt.Errorf("until %v", lease.Until())
			}
		})
		return err
	})
	w.isHeld(s)
	w.run(t, s.Close)
}

// A leader without followers answers for a while, as one does that was replaced and does not know it yet. It renews no lease.
func TestLeaderAloneRenewsNoLease(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	w := newWorld(t, 3)
	s := w.open(t, prefix)
	lease := w.hold(s, ttl)
	leader := w.cluster.Leader()
	for i := range 3 {
		if i != leader {
			w.cluster.Freeze(i)
		}
	}
	var alone host.Instant
	w.run(t, func(done func()) {
		alone = w.host.Now()
		w.host.AfterFunc(ttl, done)
	})
	w.do(func() {
		if until := lease.Until(); until.After(alone.Add(ttl)) {
			t.Errorf("the lease was renewed %v after the leader was alone", until.Sub(alone.Add(ttl)))
		}
	})
	for i := range 3 {
		if i != leader {
			w.cluster.Thaw(i)
		}
	}
	process.Until(t, "the lease is renewed", func() (err error) {
		w.do(func() {
			if lease.Until().Before(w.host.Now()) {
				err = fmt.Errorf("until %v", lease.Until())
			}
		})
		return err
	})
	w.isHeld(s)
	w.run(t, s.Close)
}
