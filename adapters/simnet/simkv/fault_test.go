package simkv_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simkv"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/kv"
)

const ms = time.Millisecond

// world is a store with two hosts that use it.
type world struct {
	*simnet.Net
	t       *testing.T
	cluster *simkv.Cluster
	a, b    *member
}

// member is a host with a connection, whose outcomes are recorded.
type member struct {
	*simnet.Host
	w        *world
	s        kv.Store
	outcomes []string
	keys     []string // that its watch reported
	status   []bool
	lost     int // watches
}

func newWorld(t *testing.T, seed uint64, cfg simkv.Config) *world {
	w := &world{Net: simnet.New(simnet.Config{Seed: seed}), t: t}
	w.cluster = simkv.New(w.Net, cfg)
	w.a, w.b = w.member(1), w.member(2)
	return w
}

func (w *world) member(n byte) *member {
	m := &member{Host: w.AddHost(fmt.Sprint("member", n), netip.AddrFrom4([4]byte{192, 0, 2, n})), w: w}
	m.s = w.cluster.Connect(m.Host)
	return m
}

// outcome is the short form of the outcome of a transaction.
func outcome(result kv.Result, err error) string {
	switch {
	case errors.Is(err, kv.ErrUncertain):
		return "uncertain"
	case errors.Is(err, kv.ErrUnavailable):
		return "unavailable"
	case err != nil:
		return err.Error()
	}
	return fmt.Sprint(result.Done)
}

func (m *member) put(key string, lease kv.LeaseID) {
	m.Do(func() {
		m.s.Commit(kv.Txn{Then: []kv.Op{{Key: key, Value: []byte("x"), Lease: lease}}}, func(result kv.Result, err error) {
			m.outcomes = append(m.outcomes, outcome(result, err))
		})
	})
}

func (m *member) watch(after int64) {
	m.Do(func() {
		m.s.Watch("", after, kv.WatchHandlers{
			OnChanges: func(changes []kv.Change, _ int64) {
				for _, c := range changes {
					name := c.Key
					if c.Deleted {
						name = "-" + name
					}
					m.keys = append(m.keys, name)
				}
			},
			OnConnected: func(ok bool) { m.status = append(m.status, ok) },
			OnLost:      func() { m.lost++ },
		})
	})
}

// hold sets a key under a lease.
func (m *member) hold(ttl time.Duration) (l kv.Lease, lost *host.Instant) {
	m.w.t.Helper()
	granted := false
	lost = new(host.Instant)
	m.Do(func() {
		l = m.s.Lease(ttl, kv.LeaseHandlers{
			OnGranted: func() { granted = true },
			OnRenewed: func() {},
			OnLost: func() {
				if *lost != 0 {
					m.w.t.Error("lost again")
				}
				*lost = m.Now()
			},
		})
	})
	if !m.w.RunUntil(func() bool { return granted }, time.Minute) {
		m.w.t.Fatal("no lease was granted")
	}
	m.put("held", l.ID())
	m.w.Run(time.Second)
	return l, lost
}

func (w *world) is(m *member, want ...string) {
	w.t.Helper()
	if !slices.Equal(m.outcomes, want) {
		w.t.Errorf("outcomes %q, want %q", m.outcomes, want)
	}
}

// keys are those that the store has.
func (w *world) keys() (keys []string) {
	for _, i := range w.cluster.Items("") {
		keys = append(keys, i.Key)
	}
	return keys
}

func TestLostRequestsAndAnswersAreUncertain(t *testing.T) {
	w := newWorld(t, 1, simkv.Config{Delay: uniform(ms), LoseRequest: 1})
	w.a.put("request", 0)
	w.Run(4 * time.Second)
	w.is(w.a)
	w.Run(2 * time.Second)
	w.is(w.a, "uncertain")
	w.cluster.SetConfig(simkv.Config{Delay: uniform(ms), LoseAnswer: 1})
	w.a.put("answer", 0)
	w.Run(6 * time.Second)
	w.is(w.a, "uncertain", "uncertain")
	if keys := w.keys(); !slices.Equal(keys, []string{"answer"}) {
		t.Errorf("the store has %q", keys)
	}
	w.cluster.SetConfig(simkv.Config{})
	w.a.put("none", 0)
	w.Run(time.Second)
	w.is(w.a, "uncertain", "uncertain", "true")
	w.cluster.SetConfig(simkv.Config{LoseAnswer: 1})
	var failed error
	w.a.Do(func() { w.a.s.List("", func(_ kv.List, err error) { failed = err }) })
	w.Run(6 * time.Second)
	if !errors.Is(failed, kv.ErrUnavailable) { // it changes nothing
		t.Errorf("List: %v, want %v", failed, kv.ErrUnavailable)
	}
}

// What is on its way to a host that is cut off arrives late if the cut is short, and is lost with the connection otherwise.
func TestCutHostIsUncertainThenUnavailable(t *testing.T) {
	w := newWorld(t, 1, simkv.Config{Delay: uniform(10 * ms)})
	w.a.watch(0)
	w.Run(time.Second)
	w.cluster.Cut(w.a.Host)
	w.a.put("late", 0)
	w.b.put("other", 0)
	w.Run(time.Second)
	w.is(w.b, "true")
	w.is(w.a)
	w.cluster.Join(w.a.Host)
	w.Run(time.Second)
	w.is(w.a, "true")
	w.cluster.Cut(w.a.Host)
	w.a.put("lost", 0)
	w.b.put("unseen", 0)
	w.Run(12 * time.Second)
	w.is(w.a, "true", "uncertain")
	w.a.put("unsent", 0)
	w.Run(6 * time.Second)
	w.is(w.a, "true", "uncertain", "unavailable")
	if !slices.Equal(w.a.status, []bool{true, false}) || !slices.Equal(w.a.keys, []string{"other", "late"}) {
		t.Errorf("the watch reported %q, connections %v", w.a.keys, w.a.status)
	}
	w.cluster.Join(w.a.Host)
	w.a.put("waits", 0)
	w.Run(5 * time.Second)
	w.is(w.a, "true", "uncertain", "unavailable", "true")
	if !slices.Equal(w.a.status, []bool{true, false, true}) || !slices.Equal(w.a.keys, []string{"other", "late", "unseen", "waits"}) {
		t.Errorf("the watch reported %q, connections %v", w.a.keys, w.a.status)
	}
	if keys := w.keys(); slices.Contains(keys, "lost") || slices.Contains(keys, "unsent") {
		t.Errorf("the store has %q", keys)
	}
}

func TestCutHostLosesItsLease(t *testing.T) {
	w := newWorld(t, 1, simkv.Config{Delay: uniform(10 * ms)})
	l, lost := w.a.hold(3 * time.Second)
	w.b.watch(0)
	w.cluster.Cut(w.a.Host)
	until := l.Until()
	w.RunUntil(func() bool { return len(w.keys()) == 0 }, time.Minute)
	if now := w.a.Now(); now.Before(until) || now.After(until.Add(2*time.Second)) {
		t.Errorf("the lease ended at %v, and was renewed until %v", now, until)
	}
	if *lost != 0 {
		t.Errorf("a host that is cut off noticed at %v", *lost)
	}
	w.cluster.Join(w.a.Host)
	w.Run(5 * time.Second)
	if *lost == 0 || !slices.Equal(w.b.keys, []string{"held", "-held"}) {
		t.Errorf("lost at %v; reported %q", *lost, w.b.keys)
	}
	if w.cluster.Stats().Expired != 1 || w.cluster.Leases() != 0 {
		t.Errorf("%+v, %d leases", w.cluster.Stats(), w.cluster.Leases())
	}
}

// A renewal that arrives after the end of a lease, before the store has removed it, comes too late.
func TestLateRenewalFails(t *testing.T) {
	late := 0
	for seed := range uint64(10) {
		w := newWorld(t, seed, simkv.Config{})
		l, lost := w.a.hold(3 * time.Second)
		w.cluster.Cut(w.a.Host)
		w.Run(l.Until().Sub(w.a.Now()) + ms)
		late += len(w.keys())
		w.cluster.Join(w.a.Host)
		w.Run(3 * time.Second)
		if *lost == 0 || len(w.keys()) != 0 {
			t.Errorf("seed %d: the store has %q; lost at %v", seed, w.keys(), *lost)
		}
	}
	if late == 0 {
		t.Error("no lease was renewed before it was removed")
	}
}

// Until counts from the instant at which a request is sent, not from that of its answer.
func TestLeaseCountsFromItsRequest(t *testing.T) {
	const way, ttl = 200 * ms, 3 * time.Second
	w := newWorld(t, 1, simkv.Config{Delay: simnet.Distribution{Shape: simnet.Constant, Scale: way}})
	l, _ := w.a.hold(ttl)
	for range 100 {
		w.Run(100 * ms)
		if left := l.Until().Sub(w.a.Now()); left > ttl-2*way || left < ttl/2 {
			t.Fatalf("%v are left of %v", left, ttl)
		}
	}
}

func TestLeaseThatIsClosedEarlyIsRevoked(t *testing.T) {
	w := newWorld(t, 1, simkv.Config{Delay: uniform(10 * ms)})
	closed := false
	w.a.Do(func() {
		event := func() { t.Error("an event after Close") }
		l := w.a.s.Lease(time.Minute, kv.LeaseHandlers{OnGranted: event, OnRenewed: event, OnLost: event})
		l.Close(func() { closed = true })
	})
	w.Run(time.Second)
	if !closed || w.cluster.Leases() != 0 {
		t.Errorf("closed %v, %d leases", closed, w.cluster.Leases())
	}
}

// Without a leader, leases do not expire, and the next one gives each its whole time.
func TestLeasesOutliveAnOutage(t *testing.T) {
	w := newWorld(t, 1, simkv.Config{Delay: uniform(10 * ms)})
	l, lost := w.a.hold(3 * time.Second)
	w.cluster.Stop()
	w.Run(time.Minute)
	if now := w.a.Now(); !l.Until().Before(now) {
		t.Errorf("renewed until %v in an outage, now is %v", l.Until(), now)
	}
	w.cluster.Cut(w.a.Host)
	w.cluster.Resume()
	w.Run(2900 * ms)
	if keys := w.keys(); len(keys) != 1 {
		t.Errorf("the store has %q within a time-to-live of the election", keys)
	}
	w.cluster.Join(w.a.Host)
	w.Run(time.Minute)
	if keys := w.keys(); len(keys) != 1 || *lost != 0 {
		t.Errorf("the store has %q, the lease was lost at %v", keys, *lost)
	}
}

// Requests that the last leader received may take effect under the next one; later ones do not.
func TestOutageIsUncertainThenUnavailable(t *testing.T) {
	made := map[bool]int{}
	for seed := range uint64(20) {
		w := newWorld(t, seed, simkv.Config{Delay: uniform(10 * ms)})
		w.a.watch(0)
		w.Run(time.Second)
		w.cluster.Stop()
		w.a.put("stalled", 0)
		w.Run(4 * time.Second)
		w.is(w.a)
		w.a.put("rejected", 0)
		w.Run(6 * time.Second)
		w.is(w.a, "uncertain", "unavailable")
		w.cluster.Resume()
		w.a.put("after", 0)
		w.Run(5 * time.Second)
		w.is(w.a, "uncertain", "unavailable", "true")
		keys := w.keys()
		made[slices.Contains(keys, "stalled")]++
		if slices.Contains(keys, "rejected") || !slices.Contains(keys, "after") || len(w.a.keys) != len(keys) {
			t.Errorf("the store has %q, reported were %q", keys, w.a.keys)
		}
		if !slices.Equal(w.a.status, []bool{true, false, true}) {
			t.Errorf("the watch's connections: %v", w.a.status)
		}
	}
	if made[true] == 0 || made[false] == 0 {
		t.Errorf("stalled transactions took effect: %v", made)
	}
}

// A short outage is not noticed but for its delay.
func TestRequestWaitsForAnElection(t *testing.T) {
	w := newWorld(t, 1, simkv.Config{Delay: uniform(10 * ms)})
	w.a.watch(0)
	w.Run(time.Second)
	w.cluster.Stop()
	w.Run(1500 * ms)
	w.a.put("waits", 0)
	w.Run(time.Second)
	w.is(w.a)
	w.cluster.Resume()
	w.Run(4 * time.Second)
	w.is(w.a, "true")
	if !slices.Equal(w.a.keys, []string{"waits"}) {
		t.Errorf("the watch reported %q", w.a.keys)
	}
}

// The host's clock and the store's differ: at a drift that a lease's margin covers, it is kept; a fast store ends leases early.
func TestLeasesEndByTheStoresClock(t *testing.T) {
	for _, test := range []struct {
		drift float64
		early bool
	}{{0.2, true}, {-0.2, false}, {0, false}} {
		w := newWorld(t, 1, simkv.Config{Delay: uniform(ms), Drift: test.drift})
		l, lost := w.a.hold(10 * time.Second)
		w.Run(time.Minute)
		if *lost != 0 {
			t.Errorf("drift %v: the lease was lost at %v while it was renewed", test.drift, *lost)
		}
		w.cluster.Cut(w.a.Host)
		until := l.Until()
		w.RunUntil(func() bool { return len(w.keys()) == 0 }, time.Minute)
		if early := w.a.Now().Before(until); early != test.early {
			t.Errorf("drift %v: ended at %v, the host expected %v", test.drift, w.a.Now(), until)
		}
	}
}

func TestWatchBehindACompactionIsLost(t *testing.T) {
	w := newWorld(t, 1, simkv.Config{Delay: uniform(10 * ms)})
	w.a.watch(0)
	w.b.watch(0)
	w.Run(time.Second)
	w.cluster.Cut(w.a.Host)
	w.Run(11 * time.Second)
	w.b.put("1", 0)
	w.Run(time.Second)
	w.b.put("2", 0)
	w.Run(time.Second)
	w.cluster.Compact(w.cluster.Revision())
	w.cluster.Join(w.a.Host)
	w.b.put("3", 0)
	w.Run(5 * time.Second)
	if w.a.lost != 1 || len(w.a.keys) != 0 || w.b.lost != 0 || !slices.Equal(w.b.keys, []string{"1", "2", "3"}) {
		t.Errorf("lost %d with %q, and %d with %q", w.a.lost, w.a.keys, w.b.lost, w.b.keys)
	}
}

func TestWatchesLagInOrder(t *testing.T) {
	w := newWorld(t, 1, simkv.Config{Delay: uniform(10 * ms), Lag: uniform(2 * time.Second)})
	w.b.watch(0)
	w.Run(time.Second)
	var want []string
	for i := range 30 {
		w.a.put(fmt.Sprintf("%02d", i), 0)
		want = append(want, fmt.Sprintf("%02d", i))
		w.Run(100 * ms)
	}
	if got := len(w.b.keys); got == len(want) || got == 0 {
		t.Errorf("%d of %d changes are reported at once", got, len(want))
	}
	w.Run(6 * time.Second)
	if !slices.Equal(w.b.keys, want) {
		t.Errorf("reported %q", w.b.keys)
	}
}

// A connection ends with its host's boot; the next boot has its own.
func TestCrashEndsAConnection(t *testing.T) {
	w := newWorld(t, 1, simkv.Config{Delay: uniform(10 * ms)})
	w.a.hold(2 * time.Second)
	w.a.watch(0)
	w.Run(time.Second)
	old := w.a.keys
	w.a.put("sent", 0)
	w.a.Host.Crash()
	w.Run(10 * time.Second)
	if keys := w.keys(); !slices.Equal(keys, []string{"sent"}) {
		t.Errorf("the store has %q", keys)
	}
	if len(w.a.keys) != len(old) || len(w.a.outcomes) != 1 {
		t.Errorf("the old boot saw %q, %q", w.a.keys, w.a.outcomes)
	}
	next := &member{Host: w.a.Host.Restart(), w: w}
	next.s = w.cluster.Connect(next.Host)
	next.watch(0)
	next.put("again", 0)
	w.Run(time.Second)
	w.is(next, "true")
	if !slices.Equal(next.keys, []string{"held", "sent", "-held", "again"}) {
		t.Errorf("reported %q", next.keys)
	}
	next.Do(func() { next.s.Close(func() {}) })
	w.b.Do(func() { w.b.s.Close(func() {}) })
	if !w.RunIdle(time.Hour) {
		t.Errorf("%d events are pending", w.Pending())
	}
}

// The same seed gives the same run.
func TestRunsAreTheSame(t *testing.T) {
	run := func(seed uint64) (uint64, string) {
		w := newWorld(t, seed, simkv.Config{Delay: uniform(50 * ms), Lag: uniform(time.Second), LoseRequest: 0.1, LoseAnswer: 0.1})
		w.a.watch(0)
		w.a.hold(3 * time.Second)
		for i := range 20 {
			w.b.put(fmt.Sprint(i), 0)
			switch i {
			case 5:
				w.cluster.Cut(w.a.Host)
			case 10:
				w.cluster.Join(w.a.Host)
				w.cluster.Stop()
			case 12:
				w.cluster.Resume()
			}
			w.Run(time.Second)
		}
		w.Run(10 * time.Second)
		return w.Hash(), fmt.Sprint(w.a.keys, w.a.status, w.b.outcomes)
	}
	hashes := map[uint64]bool{}
	for seed := range uint64(3) {
		h1, t1 := run(seed)
		h2, t2 := run(seed)
		if hashes[h1] = true; h1 != h2 || t1 != t2 {
			t.Errorf("seed %d: two runs differ:\n%s\n%s", seed, t1, t2)
		}
	}
	if len(hashes) != 3 {
		t.Error("the seed changes nothing")
	}
}
