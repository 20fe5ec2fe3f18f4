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
		{"pair", out, far}, {"firewall", out, open}, {"firewall, back", open, out}, {"NATs", inside, out}, {"LAN", inside, neighbour}, {"LAN, back", neighbour, inside},
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

// A partition cuts the ways across it in the directions in which it stops datagrams, until it ends.
func TestWaysAcrossAPartitionAreCut(t *testing.T) {
	left := map[int]int{} // partitions, by the number of directions that they left
	for seed := range uint64(20) {
		net, a, b := pair(1, simnet.Link{})
		outbreak := net.Inject(simnet.Faults{Seed: seed, Partitions: simnet.Spell{Every: time.Millisecond, For: time.Hour}},
			simnet.Victims{Hosts: []*simnet.Host{a.Host, b.Host}})
		if a.WayTo(b.Host).Cut || b.WayTo(a.Host).Cut {
			t.Fatalf("seed %d: cut before the partition", seed)
		}
		net.Run(time.Second)
		a.send(b, "x")
		b.send(a, "x")
		net.Run(time.Second)
		there, back := a.WayTo(b.Host).Cut, b.WayTo(a.Host).Cut
		if there != (len(b.got) == 0) || back != (len(a.got) == 0) {
			t.Errorf("seed %d: cut there %v and back %v, but %d datagrams arrived there and %d back", seed, there, back, len(b.got), len(a.got))
		}
		left[len(a.got)+len(b.got)]++
		outbreak.Heal()
		if a.WayTo(b.Host).Cut || b.WayTo(a.Host).Cut {
			t.Errorf("seed %d: cut after the partition", seed)
		}
	}
	if left[0] == 0 || left[1] == 0 || left[2] != 0 {
		t.Errorf("partitions by the directions that they left: %v", left)
	}
}
