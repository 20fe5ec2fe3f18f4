package simnet_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

// A way is as long as datagrams take, without what varies.
func TestWaysAreAsLongAsThoseOfDatagrams(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 5, Link: simnet.Link{Delay: 10 * time.Millisecond, Spread: 30 * time.Millisecond}})
	out := net.AddHost("out", netip.MustParseAddr("192.0.2.1"))
	far := net.AddHost("far", netip.MustParseAddr("192.0.2.2"))
	open := net.AddRouter("open", simnet.NAT{Mapping: simnet.Never}, netip.Addr{}).AddHost("firewalled", netip.MustParseAddr("192.0.2.3"))
	cone := net.AddRouter("carrier", simnet.FullCone(), netip.MustParseAddr("192.0.2.4"))
	home := cone.LAN().AddRouter("home", simnet.FullCone(), netip.MustParseAddr("100.64.0.2"))
	inside, neighbour := home.AddHost("inside", netip.MustParseAddr("192.168.1.2")), home.AddHost("neighbour", netip.MustParseAddr("192.168.1.3"))
	inside.SetAccess(simnet.Link{Delay: 7 * time.Millisecond})
	net.SetLinks(out, far, simnet.Link{Delay: 50 * time.Millisecond})
	for i, test := range []struct {
		name     string
		from, to *simnet.Host
	}{
		{"pair", out, far}, {"firewall", out, open}, {"firewall, back", open, out}, {"NATs", inside, out}, {"LAN", inside, neighbour},
	} {
		port := uint16(5000 + i)
		var took time.Duration
		test.to.Do(func() {
			s, err := test.to.OpenSocket(netip.AddrPortFrom(test.to.Addr(), port))
			if err != nil {
				t.Fatal(err)
			}
			s.OnReceive(func(netip.AddrPort, []byte) { took += net.Now() })
		})
		if w := test.from.WayTo(test.to); w.Cut {
			t.Errorf("%s: cut", test.name)
		}
		began := net.Now()
		test.from.Do(func() {
			s, _ := test.from.OpenSocket(netip.AddrPort{})
			s.Send(netip.AddrPortFrom(test.to.Addr(), port), 0, []byte("x"))
		})
		net.Run(time.Second)
		if want, got := took-began, test.from.WayTo(test.to).Delay; got != want || got == 0 {
			t.Errorf("%s: %s, datagrams take %s", test.name, got, want)
		}
		net.Block(test.from, test.to)
		if !test.from.WayTo(test.to).Cut {
			t.Errorf("%s: not cut", test.name)
		}
		net.Heal()
	}
	if w := net.AddLAN("island", simnet.Link{}).AddHost("alone", netip.MustParseAddr("10.0.0.1")).WayTo(far); !w.Cut {
		t.Errorf("%+v", w)
	}
}
