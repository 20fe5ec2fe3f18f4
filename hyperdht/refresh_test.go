package hyperdht_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// A node that has entered the network beside the key of a server has no record of it until the next announcement, which Refresh makes
// now.
func TestRefreshMovesTheRecordToNewNodes(t *testing.T) {
	w := newWorld(t, 6, simnet.Config{Seed: 75})
	h, n := w.join("server")
	s := w.listen(h, n, hyperdht.ListenOptions{Keys: keyPair(1)})
	var joined []*hyperdht.Node
	for i := range 6 {
		joined = append(joined, w.node(w.host(fmt.Sprintf("new%d", i)), hyperdht.Config{Mode: hyperdht.Persistent, Reachable: true}))
	}
	w.until("new nodes are persistent", time.Minute, func() bool {
		for _, n := range joined {
			if s := n.Status(); !s.Ready || s.Ephemeral {
				return false
			}
		}
		return true
	})
	ch, c := w.join("client")
	holders := func() (held []netip.AddrPort) {
		t.Helper()
		done := false
		ch.Do(func() {
			c.FindPeer(s.PublicKey(), func(f hyperdht.Found) { held = append(held, f.From) }, func(error) { done = true })
		})
		w.until("a lookup ends", time.Minute, func() bool { return done })
		slices.SortFunc(held, netip.AddrPort.Compare)
		return held
	}
	var nearest []netip.AddrPort
	for _, n := range append(joined, w.nodes...) {
		nearest = append(nearest, n.Status().Public)
	}
	target := s.PublicKey().Target()
	slices.SortFunc(nearest, func(a, b netip.AddrPort) int {
		return id.Closer(target, id.NodeIDOf(a), id.NodeIDOf(b))
	})
	nearest = nearest[:3]
	slices.SortFunc(nearest, netip.AddrPort.Compare)
	if held := holders(); slices.Equal(held, nearest) {
		t.Fatalf("the nearest nodes %v have the record before", held)
	}
	h.Do(s.Refresh)
	w.net.Run(10 * time.Second) // of five minutes
	if held := holders(); !slices.Equal(held, nearest) {
		t.Errorf("%v have the record, want %v", held, nearest)
	}
}

func TestRefreshOfASilentServerHasNoEffect(t *testing.T) {
	w := newWorld(t, 4, simnet.Config{Seed: 76})
	h, n := w.join("server")
	s := w.listen(h, n, hyperdht.ListenOptions{Keys: keyPair(1)})
	h.Do(func() { n.Suspend(nil) })
	w.net.Run(5 * time.Second)
	h.Do(s.Refresh)
	w.net.Run(5 * time.Second)
	h.Do(func() {
		if err := n.Resume(); err != nil {
			t.Error(err)
		}
	})
	w.until("it is announced again", time.Minute, func() bool { return s.Announcement().Nodes > 0 })
	closed := false
	h.Do(func() { s.Close(func() { closed = true }) })
	w.until("it is closed", time.Minute, func() bool { return closed })
	h.Do(s.Refresh)
	w.net.Run(10 * time.Second)
	ch, c := w.join("client")
	found := false
	ch.Do(func() { c.FindPeer(keyPair(1).Public, func(hyperdht.Found) { found = true }, nil) })
	w.net.Run(10 * time.Second)
	if found {
		t.Error("a closed server is announced by Refresh")
	}
}
