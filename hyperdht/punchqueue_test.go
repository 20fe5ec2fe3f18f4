package hyperdht

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

// queueWorld is a node's queue for random punches, whose budget is taken.
type queueWorld struct {
	*testing.T
	net *simnet.Net
	p   *peering
}

func newQueueWorld(t *testing.T) *queueWorld {
	n := simnet.New(simnet.Config{Seed: 1})
	p := &peering{host: n.AddHost("node", netip.AddrFrom4([4]byte{100, 128, 1, 1})), punches: punchBudget{running: 1}}
	p.punchQueue = newPunchQueue(p)
	return &queueWorld{t, n, p}
}

// caller is a caller that knows retry times, with a key that the application does not know.
func caller(n int) punchWaiter {
	return punchWaiter{peer: id.PublicKey{byte(n), byte(n >> 8), 1}, timed: true}
}

func known(n int) punchWaiter {
	o := caller(n)
	o.known = true
	return o
}

func untimed(n int) punchWaiter {
	o := caller(n)
	o.timed = false
	return o
}

// wait returns when a waiter that is refused is to ask again.
func (w *queueWorld) wait(o punchWaiter) time.Duration {
	w.Helper()
	wait, ok := w.p.punchQueue.admit(o)
	if ok {
		w.Fatalf("%d may punch, want that it waits", o.peer[0])
	}
	return wait
}

// goes fails unless a waiter may punch, which it then does.
func (w *queueWorld) goes(o punchWaiter) {
	w.Helper()
	if wait, ok := w.p.punchQueue.admit(o); !ok {
		w.Fatalf("%d has to wait for %v, want that it may punch", o.peer[0], wait)
	}
	w.p.punches.running++
}

// free ends the punch.
func (w *queueWorld) free() { w.p.punches.running-- }

// order returns the order in which waiters punch if each asks again at its retry time, and a punch takes a while.
func (w *queueWorld) order(waits map[punchWaiter]time.Duration, takes time.Duration) (order []int) {
	due := map[punchWaiter]time.Duration{}
	for o, wait := range waits {
		due[o] = w.net.Now() + wait
	}
	free := w.net.Now() + takes
	for asked := 0; len(due) > 0; asked++ {
		if asked > 20_000 {
			w.Fatalf("%d waiters are refused all the time, after the order %v", len(due), order)
		}
		var next punchWaiter
		for o, at := range due {
			if next == (punchWaiter{}) || at < due[next] || at == due[next] && o.peer[0] < next.peer[0] {
				next = o
			}
		}
		if free <= due[next] && w.p.punches.running > 0 {
			w.net.Run(max(0, free-w.net.Now()))
			w.free()
			w.p.punchQueue.ended(takes)
		}
		w.net.Run(max(0, due[next]-w.net.Now()))
		if wait, ok := w.p.punchQueue.admit(next); !ok {
			due[next] = w.net.Now() + wait
			continue
		}
		w.p.punches.running++
		free = w.net.Now() + takes
		order = append(order, int(next.peer[0]))
		delete(due, next)
	}
	return order
}

func TestRandomPunchesAreFirstComeFirstServed(t *testing.T) {
	for _, takes := range []time.Duration{time.Second, 4 * time.Second, 20 * time.Second} {
		w := newQueueWorld(t)
		waits := map[punchWaiter]time.Duration{}
		var want []int
		for i := range 30 {
			o := caller(i + 1)
			waits[o] = w.wait(o)
			want = append(want, i+1)
			w.net.Run(10 * time.Millisecond)
		}
		began := w.net.Now()
		if got := w.order(waits, takes); !slices.Equal(got, want) {
			t.Errorf("punches of %v: served in the order %v", takes, got)
		}
		if took := w.net.Now() - began; took > 30*(takes+2*time.Second) {
			t.Errorf("punches of %v: 30 of them took %v", takes, took)
		}
	}
}

func TestRetryTimesGrowWithThePlace(t *testing.T) {
	w := newQueueWorld(t)
	before := time.Duration(0)
	for i := range maxQueuedPunches + 10 {
		wait := w.wait(known(i + 1))
		if wait < before || wait < minRetryAfter || wait > maxRetryAfter {
			t.Fatalf("place %d gets %v after %v", i, wait, before)
		}
		before = wait
	}
	if before != maxRetryAfter {
		t.Errorf("the last one gets %v", before)
	}
}

func TestEstimateFollowsThePunchesThatHaveEnded(t *testing.T) {
	w := newQueueWorld(t)
	for range 20 {
		w.p.punchQueue.ended(0)
	}
	if w.p.punchQueue.estimate != leastEstimate {
		t.Errorf("punches of no time at all are taken for %v", w.p.punchQueue.estimate)
	}
	for range 20 {
		w.p.punchQueue.ended(10 * time.Second)
	}
	if u := w.p.punchQueue.estimate; u < 9*time.Second || u > 10*time.Second {
		t.Errorf("punches of 10 s are taken for %v", u)
	}
	for range 20 {
		w.p.punchQueue.ended(time.Hour)
	}
	if w.p.punchQueue.estimate != mostEstimate {
		t.Errorf("punches of an hour are taken for %v", w.p.punchQueue.estimate)
	}
}

// The pause after a lost punch is known.
func TestPauseIsPartOfTheRetryTime(t *testing.T) {
	w := newQueueWorld(t)
	w.p.punches = punchBudget{last: w.p.host.Now()}
	w.net.Run(5 * time.Second)
	if wait := w.wait(caller(1)); wait != randomPunchPause-5*time.Second+minRetryAfter {
		t.Errorf("retry after %v", wait)
	}
}

func TestNewcomerDoesNotTakeAReservedPunch(t *testing.T) {
	for name, newcomer := range map[string]punchWaiter{"timed": caller(9), "untimed": untimed(9), "known": known(9)} {
		t.Run(name, func(t *testing.T) {
			w := newQueueWorld(t)
			wait := w.wait(caller(1))
			w.free()
			w.net.Run(wait - time.Millisecond)
			w.wait(newcomer)
			w.net.Run(queueGrace - time.Second)
			w.goes(caller(1))
		})
	}
}

func TestAbsentWaiterLosesItsPlace(t *testing.T) {
	w := newQueueWorld(t)
	wait := w.wait(caller(1))
	w.free()
	w.net.Run(wait + queueGrace + time.Millisecond)
	w.goes(caller(9))
	w.wait(caller(2))
	w.wait(caller(1))
	if i := w.p.punchQueue.index(caller(1)); i != 1 {
		t.Errorf("it comes back at place %d, want the last", i)
	}
}

// A waiter that is late delays those behind it by queueLead only, and still goes before newcomers.
func TestLateWaiterDelaysTheNextOneForASecond(t *testing.T) {
	w := newQueueWorld(t)
	first, second := w.wait(caller(1)), w.wait(caller(2))
	w.free()
	w.net.Run(second)
	for again := w.wait(caller(2)); w.p.punches.running == 0 && w.net.Now() < 2*queueGrace; {
		w.net.Run(again)
		var ok bool
		if again, ok = w.p.punchQueue.admit(caller(2)); ok {
			w.p.punches.running++
		}
	}
	if late := w.net.Now() - first; late < queueLead || late > 2*queueLead {
		t.Errorf("the second waits for %v beyond the turn of the first", late)
	}
	w.wait(caller(3))
	w.free()
	w.goes(caller(1))
}

// Callers of older versions, and of the reference implementation, ask again at times of their own.
func TestUntimedCallerIsServed(t *testing.T) {
	t.Run("no place is due", func(t *testing.T) {
		w := newQueueWorld(t)
		for i := range 9 {
			w.wait(caller(i + 1))
		}
		w.p.punchQueue.places = w.p.punchQueue.places[8:] // due in some ten seconds
		w.free()
		w.goes(untimed(50))
	})
	t.Run("those that are due came later", func(t *testing.T) {
		w := newQueueWorld(t)
		w.wait(untimed(50))
		wait := w.wait(caller(1))
		w.net.Run(wait)
		w.free()
		w.goes(untimed(50))
	})
	t.Run("without a reservation", func(t *testing.T) {
		w := newQueueWorld(t)
		w.wait(untimed(50))
		w.free()
		w.net.Run(maxRetryAfter)
		if n := w.p.punchQueue.size(); n != 1 {
			t.Error("it has lost its place")
		}
		w.goes(caller(1))
	})
	t.Run("in a queue that is never empty", func(t *testing.T) {
		w := newQueueWorld(t)
		waits := map[punchWaiter]time.Duration{}
		for i := range 20 {
			waits[caller(i+1)] = w.net.Now() + w.wait(caller(i+1))
		}
		stubborn, next := 50, w.net.Now()
		w.wait(untimed(stubborn))
		newcomers := 100
		free := w.net.Now() + 2*time.Second
		for served := 0; ; {
			w.net.Run(100 * time.Millisecond)
			if w.p.punches.running > 0 && w.net.Now() >= free {
				w.free()
			}
			if w.net.Now() >= next {
				next += 3700 * time.Millisecond
				if _, ok := w.p.punchQueue.admit(untimed(stubborn)); ok {
					break
				}
			}
			for i := range newcomers + 1 {
				at, waiting := waits[caller(i)]
				if !waiting || w.net.Now() < at {
					continue
				}
				wait, ok := w.p.punchQueue.admit(caller(i))
				if !ok {
					waits[caller(i)] = w.net.Now() + wait
					continue
				}
				w.p.punches.running++
				free = w.net.Now() + 2*time.Second
				delete(waits, caller(i))
				newcomers++
				waits[caller(newcomers)] = w.net.Now()
				if served++; served > 60 {
					t.Fatal("60 others have gone before it")
				}
			}
		}
	})
}

func TestPlacesAreBounded(t *testing.T) {
	w := newQueueWorld(t)
	for i := range 2 * maxQueuedPunches {
		w.wait(caller(i + 1))
		w.wait(caller(i + 1)) // has one place
	}
	if n := w.p.punchQueue.size(); n != maxQueuedUnknown {
		t.Errorf("unknown keys have %d places, want %d", n, maxQueuedUnknown)
	}
	if wait := w.wait(known(5000)); w.p.punchQueue.index(known(5000)) != 1 || wait > minRetryAfter+firstEstimate {
		t.Errorf("a known key has place %d, want that it waits for one unknown key only", w.p.punchQueue.index(known(5000)))
	}
	w.wait(known(5001))
	if i := w.p.punchQueue.index(known(5001)); i != 3 {
		t.Errorf("the next known key has place %d, want that one unknown key is between them", i)
	}
	for i := range 2 * maxQueuedPunches {
		w.wait(known(6000 + i))
	}
	if n := w.p.punchQueue.size(); n != maxQueuedPunches {
		t.Errorf("%d places, want %d", n, maxQueuedPunches)
	}
	w.net.Run(maxRetryAfter + queueGrace + time.Second)
	if n := w.p.punchQueue.size(); n != 0 {
		t.Errorf("%d places of waiters that never ask again", n)
	}
}

type placeState uint8

const (
	placeNone placeState = iota
	placeTaken
	placeKept
)

var placeTable = &table[placeState]{Name: "punch place", States: []rule[placeState]{
	placeNone: {Name: "none", Why: "until the waiter is refused", Next: []placeState{placeTaken}},
	placeTaken: {Name: "taken", Why: "until the waiter punches, its attempt ends, or it has not asked again queueGrace after its time",
		Next: []placeState{placeKept, placeNone}},
	placeKept: {Name: "kept", Why: "its attempt has ended with a time: until the next attempt asks, or queueGrace after that time",
		Next: []placeState{placeTaken, placeNone}},
}}

// Waiters ask in time or not, and their attempts end with a time for the next one or without.
func TestPlacesKeepToTheTable(t *testing.T) {
	watch := statestest.NewWatch(t, placeTable)
	random := rand.New(rand.NewPCG(1, 1))
	w := newQueueWorld(t)
	q := w.p.punchQueue
	places := statestest.NewMachines(watch, func(n int) placeState {
		switch i := q.index(caller(n)); {
		case i < 0:
			return placeNone
		case q.places[i].attempt == nil:
			return placeKept
		}
		return placeTaken
	})
	attempts := make([]*int, 12)
	for range 2000 {
		n := random.IntN(len(attempts))
		o := caller(n)
		if o.known = n%2 == 0; attempts[n] == nil {
			attempts[n] = new(int)
		}
		o.attempt = attempts[n]
		places.Add(n)
		switch random.IntN(8) {
		case 0:
			q.leave(attempts[n])
			attempts[n] = nil
		case 1:
			q.keep(attempts[n])
			attempts[n] = nil
		case 2:
			w.p.punches.running = random.IntN(2)
		case 3:
			w.net.Run(time.Duration(random.IntN(5000)) * time.Millisecond)
		default:
			q.admit(o)
		}
		places.Look()
	}
}

func TestImplausibleRetryTimesAreIgnored(t *testing.T) {
	for told, want := range map[uint64]time.Duration{
		0: 0, 1: time.Millisecond, 1500: 1500 * time.Millisecond, 120_000: 2 * time.Minute, 120_001: 0, 1 << 53: 0, 1<<64 - 1: 0,
	} {
		if got := retryAfterOf(wire.HolepunchPayload{RetryAfter: told}); got != want {
			t.Errorf("%d is taken for %v, want %v", told, got, want)
		}
	}
}

// A peer that calls us while we dial it waits twice.
func TestDialAndCallerOfOnePeerHaveAPlaceEach(t *testing.T) {
	w := newQueueWorld(t)
	dial := known(1)
	dial.dial = true
	w.wait(dial)
	w.wait(known(1))
	w.free()
	w.goes(dial)
	if n := w.p.punchQueue.size(); n != 1 {
		t.Errorf("%d places after the dial has punched, want that of the caller", n)
	}
}

// A waiter that asks at its time goes while the one before it, which asks less often, is not to ask soon.
func TestDueWaiterDoesNotWaitForOneThatIsNot(t *testing.T) {
	w := newQueueWorld(t)
	relayed := caller(1)
	relayed.relayed = true
	wait := w.wait(caller(2))
	w.p.punchQueue.places = slices.Insert(w.p.punchQueue.places, 0, punchPlace{relayed, w.p.host.Now().Add(minRelayedRetry)})
	w.net.Run(wait)
	w.free()
	w.goes(caller(2))
}

// The pause after a punch that is lost is part of what the next one waits for; after one that is won there is none.
func TestEstimateCountsThePauseOfLostPunches(t *testing.T) {
	for won, want := range map[bool]time.Duration{true: (3*firstEstimate + 4*time.Second) / 4, false: (3*firstEstimate + 4*time.Second + randomPunchPause) / 4} {
		net, p := randomNode(t)
		p.host.(*simnet.Host).Do(func() {
			u, err := newPuncher(attemptTrace{p: p}, p.rpc.NewCallGroup(), initiator, wire.FirewallConsistent)
			if err != nil {
				t.Fatal(err)
			}
			u.become(puncherGuessing)
			p.punches.running++
			p.host.AfterFunc(4*time.Second, func() { u.probed = p.host.Now() })
			p.host.AfterFunc(time.Minute, func() { u.end(rest(!won)) }) // the machine has slept
		})
		net.Run(2 * time.Hour)
		if got := p.punchQueue.estimate; got != want {
			t.Errorf("won %v: %v, want %v", won, got, want)
		}
	}
}
