package hyperdht_test

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
		t.Error("no node was asked to punch")
	}
}

// A node without alternatives is tried again.
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

// The bootstrap node of a private DHT is the only one that knows the server, which announced to it. A dial that failed must not keep
// it from the address that it knows.
func TestTheServerItselfIsTriedAgainThoughItLedToNoConnection(t *testing.T) {
	l := newLab(t, 1, place{}, cone())
	l.listen(hyperdht.ListenOptions{})
	bootstrap := l.dht[0]
	dead := true
	l.net.SetFilter(func(d simnet.Datagram) bool {
		_, request := wire.ParseRequest(d.Payload)
		_, response := wire.ParseResponse(d.Payload)
		return !dead || request == nil || response == nil
	})
	for _, want := range []bool{false, true} {
		dead = !want
		opened, closed := false, error(nil)
		bootstrap.host.Do(func() {
			c := bootstrap.node.Connect(keysOf(answererKey).Public, hyperdht.ConnectOptions{})
			c.OnOpen(func() { opened = true })
			c.OnClose(func(err error) { closed = err })
		})
		l.run(time.Minute)
		if opened != want {
			t.Errorf("opened: %v, want %v: %v", opened, want, closed)
		}
	}
}

// After a time in which no path led to the server, dials are as short as before: the nodes that led to it are asked first again.
func TestNodesThatLeadToAConnectionAgainAreAskedFirst(t *testing.T) {
	l := newLab(t, 16, cone(), cone())
	l.listen(hyperdht.ListenOptions{})
	dead := false
	l.net.SetFilter(func(d simnet.Datagram) bool {
		r, err := wire.ParseRequest(d.Payload)
		return err != nil || r.Internal || r.Command != wire.CmdPeerHolepunch || !dead
	})
	dial := func() (took time.Duration) {
		start := l.net.Now()
		c := l.dial(hyperdht.ConnectOptions{})
		c.OnOpen(func() { took = l.net.Now() - start })
		l.run(15 * time.Second)
		if opened := took > 0; opened == dead {
			t.Errorf("opened: %v while nothing is passed on: %v", opened, dead)
		}
		c.Destroy(nil)
		l.run(time.Second)
		return took
	}
	dial()
	usual := dial() // through the nodes of the first one
	dead = true
	for range 6 {
		dial()
	}
	dead = false
	dial()
	if took := dial(); took > usual {
		t.Errorf("a dial takes %v, and took %v before", took, usual)
	}
}

// A node that the caller names is tried once after the search, whether that finds it, too, or nothing.
func TestNamedNodesThatLedToNoConnectionAreTriedOnceMore(t *testing.T) {
	l := newLab(t, 2, cone(), cone())
	l.listen(hyperdht.ListenOptions{})
	named := netip.AddrPortFrom(l.dht[1].host.Addr(), mainPort)
	var dropped uint64
	sent := map[uint16]bool{} // handshakes through the named node, by transaction
	l.net.SetFilter(func(d simnet.Datagram) bool {
		r, err := wire.ParseRequest(d.Payload)
		if err != nil || r.Internal {
			return true
		}
		if r.Command == wire.CmdPeerHandshake && d.To == named {
			sent[r.TID] = true
		}
		return r.Command != dropped
	})
	for _, test := range []struct {
		drops  uint64
		opened bool
	}{{wire.CmdPeerHolepunch, false}, {wire.CmdPeerHandshake, false}, {wire.CmdFindPeer, true}} {
		dropped = test.drops
		clear(sent)
		c := l.dial(hyperdht.ConnectOptions{RelayAddrs: []netip.AddrPort{named}})
		opened := false
		c.OnOpen(func() { opened = true })
		l.run(time.Minute)
		if opened != test.opened || len(sent) != 1 {
			t.Errorf("without %v: opened %v, asked the node %d times", test.drops, opened, len(sent))
		}
	}
}
