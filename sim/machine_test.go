package sim

import (
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// The table of ids has none but those of id.NodeIDOf, for addresses that are in it, beside it and of other kinds.
func TestNodeIDsAreThoseOfTheirAddresses(t *testing.T) {
	var a addresses
	var nodes []netip.Addr
	for i := range 600 {
		addr := a.newPublic()
		if i%3 > 0 {
			a.remember(addr)
		}
		nodes = append(nodes, addr)
	}
	remembered := 0
	for _, node := range a.ids {
		if node != (id.NodeID{}) {
			remembered++
		}
	}
	if remembered != 400 {
		t.Errorf("%d ids are in the table, want 400", remembered)
	}
	for _, addr := range append(nodes, a.newPublic(), a.newPrivate(), publicAddr(1<<24+1), netip.AddrFrom4([4]byte{19, 255, 255, 255}),
		netip.AddrFrom4([4]byte{255, 255, 255, 255}), netip.IPv6Loopback()) {
		for _, port := range []uint16{dhtPort, dhtPort + 1, 0} {
			if at := netip.AddrPortFrom(addr, port); a.nodeID(at) != id.NodeIDOf(at) {
				t.Errorf("%v has the id %v, want %v", at, a.nodeID(at), id.NodeIDOf(at))
			}
		}
	}
}
