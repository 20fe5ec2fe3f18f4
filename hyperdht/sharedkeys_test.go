package hyperdht_test

import (
	"fmt"
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
