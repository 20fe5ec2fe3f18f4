package stream

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// A stream whose peer does not answer sends a bounded number of bytes to each way of a race, on a bounded number of ways:
// their addresses may be forged.
func TestWaysOfARaceAreBounded(t *testing.T) {
	n := newNetwork(t)
	a := n.node(1, Config{})
	sock := a.socket()
	sent := map[netip.AddrPort]int{}
	n.filter = func(_, to netip.AddrPort, b []byte) bool {
		sent[to] += len(b)
		return false
	}
	at := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr("203.0.113.1"), uint16(1000+i))
	}
	var s *Stream
	a.turn(func() {
		s = a.table.New(nil)
		if err := s.Connect(sock, 7, at(0)); err != nil {
			t.Fatal(err)
		}
		s.SetPersistent(true)
		s.Write(make([]byte, 100<<10))
	})
	n.run(time.Second)
	a.turn(func() {
		for range 2 {
			for i := range 20 {
				s.Race(Way{Socket: sock, RemoteID: uint32(i), Remote: at(i)})
			}
		}
	})
	n.run(time.Minute)
	if s.Closed() {
		t.Error("a stream that persists has closed")
	}
	if len(sent) != 1+maxWays {
		t.Errorf("sent on %d ways, want %d", len(sent), 1+maxWays)
	}
	for to, bytes := range sent {
		if to != at(0) && (bytes == 0 || bytes > maxWayBytes) {
			t.Errorf("%d bytes to %v, want 1 to %d", bytes, to, maxWayBytes)
		}
	}
	a.turn(func() { s.SetPersistent(false) })
	n.run(15 * time.Second)
	if !s.Closed() {
		t.Error("open 15 s after the search ended")
	}
}

// Settle moves all packets to the way, whatever id the stream has there.
func TestSettleMovesPacketsInFlight(t *testing.T) {
	n := newNetwork(t)
	a, b := n.node(1, Config{}), n.node(2, Config{})
	ka, kb := a.socket(), b.socket()
	dead := netip.MustParseAddrPort("203.0.113.1:1")
	var sa, sb *Stream
	got := 0
	b.turn(func() {
		sb = b.table.New(func(k host.Socket, from netip.AddrPort) bool { return sb.Connect(k, sa.ID(), from) == nil })
		sb.OnData(func(b []byte) { got += len(b) })
	})
	a.turn(func() {
		sa = a.table.New(nil)
		if err := sa.Connect(ka, 99, dead); err != nil {
			t.Fatal(err)
		}
		sa.Write(make([]byte, 20_000))
	})
	n.run(50 * time.Millisecond)
	a.turn(func() {
		if err := sa.Settle(Way{Socket: ka, RemoteID: sb.ID(), Remote: kb.LocalAddr()}); err != nil {
			t.Fatal(err)
		}
	})
	n.run(10 * time.Second)
	if got != 20_000 || sa.RemoteID() != sb.ID() {
		t.Errorf("%d bytes arrived, want 20000", got)
	}
}

func TestWayOfARaceMayBeUsedUp(t *testing.T) {
	n := newNetwork(t)
	a := n.node(1, Config{})
	sock := a.socket()
	to := netip.MustParseAddrPort("203.0.113.1:1000")
	sent := 0
	n.filter = func(netip.AddrPort, netip.AddrPort, []byte) bool {
		sent++
		return false
	}
	a.turn(func() {
		s := a.table.New(nil)
		if err := s.Connect(sock, 7, to); err != nil {
			t.Fatal(err)
		}
		packet := make([]byte, 100)
		w := &racer{Way{Socket: sock, RemoteID: 7, Remote: to}, len(packet)}
		s.copyTo(w, packet)
		s.copyTo(w, packet)
		if w.left != 0 {
			t.Errorf("%d bytes are left", w.left)
		}
	})
	n.run(time.Second)
	if sent != 1 {
		t.Errorf("%d packets sent, want the one that there was room for", sent)
	}
}
