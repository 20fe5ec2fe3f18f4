package hyperdht_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// probes counts the probes that an actor sends to a host from now on.
func (l *lab) probes(from *actor, to netip.Addr) *int {
	n := 0
	l.net.SetFilter(func(d simnet.Datagram) bool {
		if len(d.Payload) == 1 && d.From.Addr() == from.host.Addr() && d.To.Addr() == to {
			n++
		}
		return true
	})
	return &n
}

// Probes are sent at the fast pace only to peers that know it, in either role, and are no more in number.
func TestProbesAreFastBetweenOurs(t *testing.T) {
	for _, test := range []struct {
		name        string
		answerer    place
		caller      wire.Firewall
		usual, fast int // probes in a second
	}{
		{"the caller's NAT is random", cone(), wire.FirewallRandom, 100, 200},
		{"the answerer's NAT is random", random(), wire.FirewallConsistent, 50, 200},
	} {
		for _, fast := range []bool{false, true} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				l := newLab(t, 4, cone(), test.answerer)
				l.listen(hyperdht.ListenOptions{})
				c := l.fakeCaller()
				c.dial(callerPayload())
				first, ok := c.round(wire.HolepunchPayload{Firewall: test.caller, FastProbes: fast})
				if !ok || first.Token == nil || !first.FastProbes {
					t.Fatalf("answered %v %+v, want a token and word of fast probes", ok, first)
				}
				n := l.probes(l.answerer, c.addr().Addr())
				second, ok := c.round(wire.HolepunchPayload{
					Firewall: test.caller, Punching: true, Round: 1, RemoteToken: first.Token, Addrs: []netip.AddrPort{c.addr()}, FastProbes: fast,
				})
				if !ok || !second.Punching {
					t.Fatalf("answered %v %+v, want that it punches", ok, second)
				}
				begun, want := *n, test.usual
				if fast {
					want = test.fast
				}
				l.run(time.Second)
				if got := *n - begun; got < want-5 || got > want+5 {
					t.Errorf("fast %v: %d probes in a second, want %d", fast, got, want)
				}
				l.run(time.Minute)
				if *n > 1750+255 {
					t.Errorf("fast %v: %d probes, 1,750 are the most, beside one of each socket", fast, *n)
				}
			})
		}
	}
}
