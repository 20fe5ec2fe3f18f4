package simnet

import (
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// A datagram belongs to the lane that it is in: at the end no lane has anything pending, and the receiver's has the spare ones.
func TestDatagramsBelongToTheirLane(t *testing.T) {
	net := New(Config{Lanes: 2, Link: Link{Delay: time.Millisecond}})
	var sockets []host.Socket
	for i := range 2 {
		addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		s, err := net.AddHostIn(i, strconv.Itoa(i), addr).OpenSocket(netip.AddrPortFrom(addr, 1))
		if err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, s)
	}
	for range 5 {
		sockets[0].Send(sockets[1].LocalAddr(), 0, nil)
	}
	net.Run(time.Second)
	for i, l := range net.lanes {
		if want := 5 * i; l.live != 0 || len(l.free) != want {
			t.Errorf("lane %d: %d pending, %d spare datagrams, want %d", i, l.live, len(l.free), want)
		}
		for _, d := range l.free {
			if d.lane != l {
				t.Errorf("lane %d has a datagram of another", i)
			}
		}
	}
}
