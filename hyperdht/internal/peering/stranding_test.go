package peering_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// Nodes that pass handshakes on and drop hole-punch messages are the first to answer each time: later dials go through others.
func TestNodesThatLeadToNoConnectionAreTriedLast(t *testing.T) {
	l := newLab(t, 16, cone(), cone())
	l.listen(hyperdht.ListenOptions{})
	var liar netip.AddrPort
	l.net.SetFilter(func(d simnet.Datagram) bool {
		r, err := wire.ParseRequest(d.Payload)
		if err != nil || r.Internal || r.Command != wire.CmdPeerHolepunch {
			return true
		}
		if !liar.IsValid() {
			liar = d.To
		}
		return d.To != liar
	})
	for i, want := range []bool{false, true} {
		c := l.dial(hyperdht.ConnectOptions{})
		opened := false
		c.OnOpen(func() { opened = true })
		l.run(15 * time.Second)
		if opened != want {
			t.Errorf("dial %d opened: %v", i+1, opened)
		}
	}
	if !liar.IsValid() {
		t.Error("nobody was asked to punch")
	}
}

// A node that nobody else is beside is tried again.
func TestTheOnlyNodesAreTriedAgainThoughTheyLedToNoConnection(t *testing.T) {
	l := newLab(t, 3, cone(), cone())
	l.listen(hyperdht.ListenOptions{})
	drops := true
	l.net.SetFilter(func(d simnet.Datagram) bool {
		r, err := wire.ParseRequest(d.Payload)
		return err != nil || r.Internal || r.Command != wire.CmdPeerHolepunch || !drops
	})
	for range 5 {
		l.dial(hyperdht.ConnectOptions{})
		l.run(15 * time.Second)
	}
	drops = false
	c := l.dial(hyperdht.ConnectOptions{})
	opened := false
	c.OnOpen(func() { opened = true })
	l.run(15 * time.Second)
	if !opened {
		t.Error("not opened although all nodes pass everything on")
	}
}
