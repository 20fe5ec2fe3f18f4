package hyperdht_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// Of handshakes that arrive together, a few are read in one turn, so that scrapes and timers need not wait for all of them.
func TestHandshakesThatArriveTogetherAreReadInSeveralTurns(t *testing.T) {
	const burst, perTurn = 40, 4
	w := newWorld(t, 8, simnet.Config{Seed: 70})
	h := w.net.AddHost("server", netip.AddrFrom4([4]byte{81, 2, 3, 1}))
	n := w.node(h, hyperdht.Config{})
	w.until("the server is ready", time.Minute, n.Ready)
	w.listen(h, n, hyperdht.ListenOptions{Keys: flooded})
	w.net.Run(time.Second)
	f := w.newFlood(1)
	before := n.Status().Peering.HandshakesRead
	for range burst {
		f.send(n.Status().Public, netip.AddrPort{})
	}
	most, last := uint64(0), before
	for range 100 {
		w.net.Run(time.Millisecond / 2)
		read := n.Status().Peering.HandshakesRead
		most, last = max(most, read-last), read
	}
	if most > perTurn || last-before != burst {
		t.Errorf("%d of %d handshakes are read, up to %d in half a millisecond", last-before, burst, most)
	}
}
