package udx

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

// The path begins to swallow large packets. Nothing of what is outstanding can get through, and that is known in a few round
// trips after the first timeout.
func TestPathThatShrinksEndsTheStreamSoon(t *testing.T) {
	for _, tc := range []struct {
		name string
		mtu  int
		size int
	}{{"to 1280", 1280, 1500}, {"below the base", 1100, 1500}} {
		t.Run(tc.name, func(t *testing.T) {
			w := pair(t, link{delay: 20 * ms}, 1)
			w.grow(4 * time.Second)
			if w.a.Stats().MTU != 1500 {
				t.Fatalf("MTU %d", w.a.Stats().MTU)
			}
			w.link.mtu = tc.mtu
			began := w.now
			w.a.Write(make([]byte, 64<<10))
			w.a.Flush(w.now)
			for !w.a.closed && w.now.Sub(began) < 20*time.Second {
				w.run(10 * ms)
			}
			hole, ok := errors.AsType[*BlackHoleError](w.a.err)
			if !ok || hole.Size != tc.size || w.now.Sub(began) > 2500*ms {
				t.Errorf("after %v: %v", w.now.Sub(began), w.a.err)
			}
		})
	}
}

// The next stream to that host begins with packets that fit, and finds the size of the path.
func TestNarrowPathsAreEntered(t *testing.T) {
	w := pair(t, link{delay: 20 * ms, mtu: 1100}, 1)
	w.a.Write(make([]byte, 20000))
	w.a.Flush(w.now)
	w.run(3 * time.Second)
	if hole, ok := errors.AsType[*BlackHoleError](w.a.err); !ok || !hole.Narrow() {
		t.Fatalf("the first stream ends with %v", w.a.err)
	}
	w = pair(t, link{delay: 20 * ms, mtu: 1100}, 1, Config{Narrow: func(netip.Addr) bool { return true }})
	w.grow(4 * time.Second)
	if s := w.a.Stats(); w.a.closed || s.MTU != 1088 || s.BlackHoles > 0 {
		t.Errorf("closed %v, %+v", w.a.err, s)
	}
}

// Packets that fit go on getting through, and nothing ends.
func TestSmallPacketsDoNotMindANarrowPath(t *testing.T) {
	w := pair(t, link{delay: 20 * ms}, 1)
	w.grow(4 * time.Second)
	w.run(time.Second)
	w.link.mtu = 1280
	for range 50 {
		w.a.Write(make([]byte, 500))
		w.a.Flush(w.now)
		w.run(100 * ms)
	}
	if s := w.a.Stats(); w.a.closed || s.Retransmits > mtuAttempts {
		t.Errorf("closed %v, %+v", w.a.err, s)
	}
}

// A peer without room for a packet drops it, and answers heartbeats.
func TestPeersWithoutRoomAreNoBlackHoles(t *testing.T) {
	w := pair(t, link{delay: 20 * ms}, 1)
	w.grow(4 * time.Second)
	w.link.filter = func(from *end, p Packet) bool { return from != w.a || len(p.Payload) < 1000 } // as if there was none
	w.a.Write(make([]byte, 20000))
	w.a.Flush(w.now)
	w.b.in.buffer = 0
	w.run(4 * time.Second)
	if w.a.Stats().BlackHoles > 0 {
		t.Errorf("closed with %v", w.a.err)
	}
}

// Loss that does not look at the size, reordering and silence are no black holes.
func TestBadPathsAreNoBlackHoles(t *testing.T) {
	for seed := range uint64(60) {
		w := pair(t, link{delay: 20 * ms, jitter: 15 * ms, loss: 0.15}, seed+1)
		for range 30 {
			w.a.Write(make([]byte, 20000))
			w.a.Flush(w.now)
			w.run(500 * ms)
			if seed%3 == 0 && w.rand.IntN(4) == 0 { // silence for a while
				was := w.link.loss
				w.link.loss = 1
				w.run(3 * time.Second)
				w.link.loss = was
			}
		}
		if w.a.Stats().BlackHoles > 0 {
			t.Errorf("seed %d: %v", seed+1, w.a.err)
		}
	}
}

// What a peer sends without having received the heartbeat answers nothing: here our packets are lost for three seconds,
// and its own arrive.
func TestPathsThatFailInOneDirectionAreNoBlackHoles(t *testing.T) {
	for _, tc := range []struct {
		name string
		send func(w *world)
	}{
		{"messages", func(w *world) { w.b.SendMessage([]byte("m")) }},
		{"data", func(w *world) { w.b.Write([]byte("d")) }},
		{"heartbeats", func(w *world) { w.b.sendHeartbeat() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := pair(t, link{delay: 20 * ms}, 1)
			w.grow(4 * time.Second)
			w.link.filter = func(from *end, _ Packet) bool { return from != w.a }
			w.a.Write(make([]byte, 20_000))
			for range 150 {
				tc.send(w)
				w.flush()
				w.run(20 * ms)
			}
			w.link.filter = nil
			w.run(10 * time.Second)
			if w.a.closed {
				t.Errorf("closed with %v", w.a.err)
			}
		})
	}
}

// A queue that grows to seconds delays the repetitions of the suspect, too: until they can have been answered, the answers to
// what left before say nothing.
func TestLongQueuesAreNoBlackHoles(t *testing.T) {
	for seed := range uint64(40) {
		w := pair(t, link{delay: 20 * ms, loss: 0.05}, seed+1)
		w.grow(4 * time.Second)
		w.link.delay = 1500 * ms
		for range 100 {
			w.a.Write(make([]byte, 20_000))
			w.a.Flush(w.now)
			w.run(300 * ms)
		}
		if w.a.Stats().BlackHoles > 0 {
			t.Errorf("seed %d: %v", seed+1, w.a.err)
		}
	}
}

// A path that fails for seconds and is slow then brings what the peer sends by itself before it can bring an answer. All packets are
// repeated before they are acknowledged, so that no round trip is measured.
func TestSlowPathsAfterAnOutageAreNoBlackHoles(t *testing.T) {
	for seed := range uint64(13) {
		w := pair(t, link{delay: 20 * ms}, seed+1)
		w.grow(4 * time.Second)
		both := func(d time.Duration) {
			for until := w.now.Add(d); w.now < until; {
				w.a.Write(make([]byte, 4096))
				w.b.Write(make([]byte, 4096))
				w.flush()
				w.run(500 * ms)
			}
		}
		both(5 * time.Second)
		w.link.loss = 1
		both(2500 * ms)
		w.link.loss, w.link.delay, w.link.jitter = 0, time.Duration(500+100*seed)*ms, 200*ms
		both(40 * time.Second)
		if w.a.closed || w.b.closed {
			t.Errorf("seed %d: delay %v: %v, %v", seed+1, w.link.delay, w.a.err, w.b.err)
		}
	}
}

// What such a path has taught is obsolete once it is fast again: the next black hole is noticed as soon as any.
func TestPathsThatWereSlowAreWatchedAsBefore(t *testing.T) {
	learned := 0
	for seed := range uint64(4) {
		w := pair(t, link{delay: 20 * ms}, seed+1)
		w.grow(4 * time.Second)
		write := func(d time.Duration) {
			for until := w.now.Add(d); w.now < until; {
				w.a.Write(make([]byte, 4096))
				w.b.Write(make([]byte, 4096))
				w.flush()
				w.run(500 * ms)
				if w.a.rtt.unmeasured > 0 {
					learned++
				}
			}
		}
		write(5 * time.Second)
		w.link.loss = 1
		write(2500 * ms)
		w.link.loss, w.link.delay, w.link.jitter = 0, time.Duration(500+100*seed)*ms, 200*ms
		write(20 * time.Second)
		w.link.delay, w.link.jitter = 20*ms, 0
		write(40 * time.Second)
		w.run(10 * time.Second)
		w.link.mtu = 1280
		began := w.now
		w.a.Write(make([]byte, 64<<10))
		w.a.Flush(w.now)
		for !w.a.closed && w.now.Sub(began) < 20*time.Second {
			w.run(10 * ms)
		}
		if _, hole := errors.AsType[*BlackHoleError](w.a.err); !hole || w.now.Sub(began) > 2500*ms {
			t.Errorf("seed %d: after %v: %v", seed+1, w.now.Sub(began), w.a.err)
		}
	}
	if learned == 0 {
		t.Error("no path was slow enough")
	}
}

// One packet is lost again and again while others of its size arrive: the path carries that size.
func TestPacketOfASizeThatArrivesIsNoBlackHole(t *testing.T) {
	w := pair(t, link{delay: 20 * ms}, 1)
	w.grow(4 * time.Second)
	suspect, lost := w.a.out.next, 0
	w.link.filter = func(from *end, p Packet) bool {
		if from == w.a && p.Flags&FlagData != 0 && p.Seq == suspect {
			lost++
			return false
		}
		return true
	}
	for range 30 {
		w.a.Write(make([]byte, w.a.maxPayload()))
		w.a.Flush(w.now)
		w.run(100 * ms)
	}
	if lost < blackHoleTries {
		t.Errorf("the packet was sent %d times", lost)
	}
	w.link.filter = nil
	w.run(10 * time.Second)
	if w.a.closed || !w.a.out.idle() {
		t.Errorf("closed with %v", w.a.err)
	}
}

// A suspect that arrives before a heartbeat was answered says nothing of how late answers may be.
func TestSuspectThatArrivesAtOnceTeachesNothing(t *testing.T) {
	w := pair(t, link{delay: 20 * ms}, 1)
	w.grow(4 * time.Second)
	w.run(time.Second)
	lost := false
	w.link.filter = func(from *end, p Packet) bool {
		drop := from == w.a && p.Flags&FlagData != 0 && w.a.Stats().Timeouts == 0
		lost = lost || drop
		return !drop
	}
	w.a.Write(make([]byte, w.a.maxPayload()))
	w.a.Flush(w.now)
	w.run(3 * time.Second)
	if !lost || !w.a.out.idle() || w.a.Stats().Timeouts != 1 {
		t.Fatalf("lost %v, acknowledged %v, %d timeouts", lost, w.a.out.idle(), w.a.Stats().Timeouts)
	}
	if w.a.rtt.unmeasured != 0 {
		t.Errorf("answers may be %v late", w.a.rtt.unmeasured)
	}
}
