package peering_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
)

// A server that does not punch waits for direct packets of a relayed caller. The caller counts among those under way until
// that wait ends, and the connection stays.
func TestSearchForABetterPathThanTheRelayEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t, 4, cone(), cone())
	l.relay(hyperdht.RelayConfig{})
	l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay, NeverPunch: true})
	l.apart()
	c := l.dial(hyperdht.ConnectOptions{})
	for _, test := range []struct {
		wait           time.Duration
		callers, after int
	}{{25 * time.Minute, 1, 1}, {10 * time.Minute, 0, 0}} {
		l.run(test.wait)
		if n, s := size(l.answerer.node, "callers"), size(l.answerer.node, "sessions of callers"); n != test.callers || s != test.after {
			t.Errorf("after %v: %d callers, %d sessions", test.wait, n, s)
		}
		if c.Path() != hyperdht.PathRelayed || c.Closed() {
			t.Errorf("after %v: the connection is gone", test.wait)
		}
	}
}

// A server that always wants a punch to be tried later, over a relay that has paired and carries nothing, does not keep a dial.
func TestDialsEndWhateverTheServerAnswers(t *testing.T) {
	t.Parallel()
	l := newLab(t, 4, cone(), open())
	l.fakeRelay(func(m wire.RelayPair, ch *mux.Channel, _ *hyperdht.Connection) {
		m.ID = 99
		ch.Send(0, m.Append(nil))
	})
	f := l.fakeServer(netip.MustParseAddrPort("100.128.9.9:1234"))
	f.payload.RelayThrough = &wire.RelayThrough{Key: throughRelay[0], Token: [32]byte{1}}
	rounds := 0
	f.punch = func(m wire.HolepunchPayload) []wire.HolepunchPayload {
		a := wire.HolepunchPayload{Firewall: wire.FirewallConsistent, Token: &[32]byte{2}, Addrs: []netip.AddrPort{f.peer}}
		if m.Punching {
			rounds++
			a.Error = wire.ErrorTryLater
		}
		return []wire.HolepunchPayload{a}
	}
	c := l.dial(hyperdht.ConnectOptions{RelayAddrs: []netip.AddrPort{f.addr()}})
	l.run(90 * time.Second)
	if c.Closed() || rounds < 4 || c.Path() != hyperdht.PathRelayed {
		t.Fatalf("the dial is over after %d rounds, over %v", rounds, c.Path())
	}
	l.run(time.Minute)
	if s := l.holds(l.dialler); !c.Closed() || s != nothing {
		t.Errorf("the dialler holds%s", s)
	}
}
