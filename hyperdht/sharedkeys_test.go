package hyperdht_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// A server that stops, and its successor under the same keys, whose records reach the nodes in any order: callers find the successor.
func TestServersTakeTurnsUnderSharedKeys(t *testing.T) {
	for _, gap := range []time.Duration{-5 * time.Second, 0, time.Second} { // from the end of the first to the start of the second
		w := newWorld(t, 30, simnet.Config{Seed: 91})
		opts := hyperdht.ListenOptions{Keys: keyPair(1), SharedKeys: true}
		h1, n1 := w.join("first")
		h2, n2 := w.join("second")
		first := w.listen(h1, n1, opts)
		stop := func() { h1.Do(func() { first.Close(nil) }) }
		if gap < 0 {
			w.listen(h2, n2, opts)
			w.net.Run(-gap)
			stop()
		} else {
			stop()
			w.net.Run(gap)
			w.listen(h2, n2, opts)
		}
		for _, later := range []time.Duration{0, 10 * time.Second, 10 * time.Minute} {
			w.net.Run(later)
			ch, cn := w.join("client" + later.String())
			began := w.net.Now()
			if !w.canConnect(ch, cn) {
				t.Fatalf("gap %v: the second server cannot be reached after %v", gap, later)
			}
			if took := w.net.Now() - began; took > 3*time.Second {
				t.Errorf("gap %v: a connection after %v took %v", gap, later, took)
			}
		}
	}
}

// A server that vanished has left its record at nodes that are not among the nearest any more. Those lead to it for hours, and to callers they
// are as good as the others, unless its successor announces to them as well.
func TestSuccessorReplacesRecordsOfAServerThatVanished(t *testing.T) {
	for _, seed := range []uint64{101, 104} {
		w := newWorld(t, 30, simnet.Config{Seed: seed})
		opts := hyperdht.ListenOptions{Keys: keyPair(1), SharedKeys: true}
		h1, n1 := w.join("first")
		h2, n2 := w.join("second")
		w.listen(h1, n1, opts)
		h1.Crash()
		for len(w.nodes) < 200 {
			h := w.host(fmt.Sprintf("late%d", len(w.nodes)))
			w.nodes = append(w.nodes, w.node(h, hyperdht.Config{Mode: hyperdht.Persistent, Reachable: true}))
		}
		w.net.Run(30 * time.Second)
		w.listen(h2, n2, opts)
		for i := range 10 {
			ch, cn := w.join(fmt.Sprintf("client%d", i))
			began := w.net.Now()
			if !w.canConnect(ch, cn) {
				t.Fatal("the successor cannot be reached")
			}
			if took := w.net.Now() - began; took > time.Second {
				t.Errorf("seed %d: a connection took %v", seed, took)
			}
		}
	}
}

// A server whose first lookup missed the nodes that have the record of its predecessor replaces it once they answer.
func TestSuccessorFindsTheNodesThatItHasMissed(t *testing.T) {
	w := newWorld(t, 30, simnet.Config{Seed: 111})
	opts := hyperdht.ListenOptions{Keys: keyPair(1), SharedKeys: true}
	h1, n1 := w.join("first")
	h2, n2 := w.join("second")
	missed := slices.Clone(w.listen(h1, n1, opts).Relays())
	w.net.Run(time.Minute)
	h1.Crash()
	w.net.SetFilter(func(d simnet.Datagram) bool { return d.From.Addr() != h2.Addr() || !slices.Contains(missed, d.To) })
	second := w.listen(h2, n2, opts)
	w.net.SetFilter(nil)
	w.net.Run(10 * time.Second)
	for _, node := range missed {
		if node.Addr() != h1.Addr() && !slices.Contains(second.Relays(), node) {
			t.Errorf("%v leads to the first server: the second has announced to %v", node, second.Relays())
		}
	}
	ch, cn := w.join("client")
	began := w.net.Now()
	if !w.canConnect(ch, cn) || w.net.Now()-began > time.Second {
		t.Errorf("a connection took %v", w.net.Now()-began)
	}
}

// A node that was restarted just after it has taken the record answers pings, and has it no more.
func TestRecordThatANodeHasLostIsAnnouncedAgain(t *testing.T) {
	w := newWorld(t, 3, simnet.Config{Seed: 112})
	hosts := map[netip.Addr]*simnet.Host{}
	for i := range 27 {
		h := w.host(fmt.Sprintf("late%d", i))
		hosts[h.Addr()] = h
		w.node(h, hyperdht.Config{Mode: hyperdht.Persistent, Reachable: true})
	}
	w.net.Run(30 * time.Second)
	h, n := w.join("server")
	relays := w.listen(h, n, hyperdht.ListenOptions{Keys: keyPair(1), SharedKeys: true}).Relays()
	relay := relays[slices.IndexFunc(relays, func(r netip.AddrPort) bool { return hosts[r.Addr()] != nil })]
	w.node(hosts[relay.Addr()].Restart(), hyperdht.Config{Mode: hyperdht.Persistent, Reachable: true})
	w.net.Run(15 * time.Second)
	ch, cn := w.join("client")
	var found []netip.AddrPort
	done := false
	ch.Do(func() {
		cn.FindPeer(keyPair(1).Public, func(f hyperdht.Found) { found = append(found, f.From) }, func(error) { done = true })
	})
	w.until("the lookup ends", time.Minute, func() bool { return done })
	if !slices.Contains(found, relay) {
		t.Errorf("found at %v, not at %v", found, relay)
	}
}

// A node that takes no record does not keep the server from rest.
func TestChecksOfARecordEnd(t *testing.T) {
	w := newWorld(t, 30, simnet.Config{Seed: 113})
	h, n := w.join("server")
	w.listen(h, n, hyperdht.ListenOptions{Keys: keyPair(1), SharedKeys: true})
	sent := func(d time.Duration) (n int) {
		w.net.SetFilter(func(d simnet.Datagram) bool {
			if d.From.Addr() == h.Addr() {
				n++
			}
			return true
		})
		w.net.Run(d)
		w.net.SetFilter(nil)
		return n
	}
	checks, rest := sent(20*time.Second), sent(20*time.Second)
	if checks < rest+20 || rest > 60 {
		t.Errorf("%d datagrams during the checks, and %d afterwards", checks, rest)
	}
}
