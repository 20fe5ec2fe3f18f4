package hyperdht_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports/host"
)

// carried puts two hosts into homes of their own behind one carrier. Each has its addresses of the own network.
// neighbour, if valid, is the address of a DHT node in the dialler's network.
func carried(carrier simnet.NAT, dialler, answerer []netip.Addr, neighbour netip.Addr) (place, place) {
	var outer *simnet.Router
	home := func(name, outside string, inside []netip.Addr) place {
		return place{host: func(l *lab) (*simnet.Host, *simnet.Router) {
			if outer == nil {
				outer = l.net.AddRouter("carrier", carrier, netip.MustParseAddr("100.128.2.99"))
			}
			r := outer.LAN().AddRouter(name+"'s home", simnet.PortRestricted(), netip.MustParseAddr(outside))
			if name == "dialler" && neighbour.IsValid() {
				l.start("neighbour", r.AddHost("neighbour", neighbour), nil, hyperdht.Config{
					Bootstrap: l.bootstrap, Listen: netip.AddrPortFrom(netip.IPv4Unspecified(), mainPort),
				})
			}
			return r.AddHost(name, inside...), nil
		}}
	}
	return home("dialler", "100.64.0.2", dialler), home("answerer", "100.64.0.3", answerer)
}

func addrs(text ...string) (all []netip.Addr) {
	for _, a := range text {
		all = append(all, netip.MustParseAddr(a))
	}
	return all
}

// Private addresses of a peer may be those of this host, too, or a neighbour's: that of a container bridge is the same on every
// host. They must not keep two hosts apart that would meet without them.
func TestPrivateAddressesDoNotKeepPeersApart(t *testing.T) {
	hairpin, closed := simnet.PortRestricted(), simnet.PortRestricted()
	hairpin.Hairpin = true
	for _, test := range []struct {
		name              string
		carrier           simnet.NAT
		dialler, answerer []netip.Addr
		neighbour         string
		want              hyperdht.Path
	}{
		{"neither has a bridge", hairpin, addrs("192.168.1.11"), addrs("192.168.2.10"), "", hyperdht.PathPunched},
		{"both have a bridge", hairpin, addrs("192.168.1.11", "172.17.0.1"), addrs("192.168.2.10", "172.17.0.1"), "", hyperdht.PathPunched},
		{"the bridge comes first", hairpin, addrs("172.17.0.1", "192.168.1.11"), addrs("172.17.0.1", "192.168.2.10"), "", hyperdht.PathPunched},
		{"the same address", hairpin, addrs("192.168.1.10"), addrs("192.168.1.10"), "", hyperdht.PathPunched},
		{"a neighbour has the server's address", hairpin, addrs("192.168.1.11"), addrs("192.168.1.10"), "192.168.1.10", hyperdht.PathPunched},
		{"a neighbour has the address of its container", hairpin, addrs("192.168.1.11", "172.17.0.1"), addrs("192.168.2.10", "172.17.0.2"), "172.17.0.2", hyperdht.PathPunched},
		{"a neighbour has the server's address, and a relay", closed, addrs("192.168.1.11"), addrs("192.168.1.10"), "192.168.1.10", hyperdht.PathRelayed},
		{"both have a bridge, and a relay", closed, addrs("192.168.1.11", "172.17.0.1"), addrs("192.168.2.10", "172.17.0.1"), "", hyperdht.PathRelayed},
		{"the same address, and a relay", closed, addrs("192.168.1.10"), addrs("192.168.1.10"), "", hyperdht.PathRelayed},
	} {
		t.Run(test.name, func(t *testing.T) {
			neighbour, _ := netip.ParseAddr(test.neighbour)
			dialler, answerer := carried(test.carrier, test.dialler, test.answerer, neighbour)
			l := newLab(t, 4, dialler, answerer)
			var server hyperdht.ListenOptions
			if test.want == hyperdht.PathRelayed {
				l.relay(hyperdht.RelayConfig{})
				server.RelayThrough = throughRelay
			}
			l.listen(server)
			c, echoed := l.dial(hyperdht.ConnectOptions{}), false
			l.dialler.host.Do(func() { c.OnMessage(func([]byte) { echoed = true }) })
			if !l.net.RunUntil(func() bool { return echoed }, 3*time.Second) || c.Path() != test.want {
				t.Errorf("echoed %v over %v, want %v", echoed, c.Path(), test.want)
			}
		})
	}
}

// A server that holds itself for open may not be so for all. A relay carries peers that cannot reach it.
func TestRelayCarriesWhatAnOpenServerCannot(t *testing.T) {
	for _, test := range []struct {
		name              string
		dialler, answerer place
	}{
		{"the server is open for others only", cone(), open()},
		{"the client is open for others only", open(), cone()},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, 4, test.dialler, test.answerer)
			l.relay(hyperdht.RelayConfig{})
			l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay})
			l.apart()
			c, echoed := l.dial(hyperdht.ConnectOptions{}), false
			l.dialler.host.Do(func() { c.OnMessage(func([]byte) { echoed = true }) })
			if !l.net.RunUntil(func() bool { return echoed }, 4*time.Second) || c.Path() != hyperdht.PathRelayed {
				t.Errorf("echoed %v over %v", echoed, c.Path())
			}
			l.run(5 * time.Minute)
			if c.Closed() {
				t.Error("closed")
			}
		})
	}
}

// Probes from any number of ports of the peer's host add no more than six ways: to a race, and to a relayed connection that looks
// for a direct path.
func TestDirectWaysAreFew(t *testing.T) {
	for _, relayed := range []bool{false, true} {
		t.Run(fmt.Sprintf("relayed %v", relayed), func(t *testing.T) {
			t.Parallel()
			const ports, most = 20, 6
			l := newLab(t, 4, public(), public())
			var opts hyperdht.ListenOptions
			step := hyperdht.AttemptPunching
			if relayed {
				l.relay(hyperdht.RelayConfig{})
				opts.RelayThrough, step = throughRelay, hyperdht.AttemptOpen
			}
			l.listen(opts)
			d, a := l.dialler.host.Addr(), l.answerer.host.Addr()
			var socks []host.Socket
			answered := map[uint16]bool{}
			l.answerer.host.Do(func() {
				for i := range uint16(ports) {
					s, err := l.answerer.host.OpenSocket(netip.AddrPortFrom(netip.IPv4Unspecified(), 1000+i))
					if err != nil {
						t.Fatal(err)
					}
					s.OnReceive(func(_ netip.AddrPort, b []byte) {
						if len(b) > 1 {
							answered[1000+i] = true
						}
					})
					socks = append(socks, s)
				}
			})
			l.net.SetFilter(func(g simnet.Datagram) bool { // drops what the two send each other but for those ports
				own := func(p netip.AddrPort) bool { return p.Addr() == a && p.Port() >= 1000 && p.Port() < 1000+ports }
				between := g.From.Addr() == d && g.To.Addr() == a || g.From.Addr() == a && g.To.Addr() == d
				return !between || own(g.From) || own(g.To)
			})
			l.begin()
			l.await("dialler", step)
			l.dial(hyperdht.ConnectOptions{})
			l.awaited()
			l.run(time.Second)
			l.answerer.host.Do(func() {
				for _, s := range socks {
					for _, to := range l.dialler.all() {
						s.Send(to, 0, []byte{0})
					}
				}
			})
			l.run(3 * time.Second)
			if len(answered) != most {
				t.Errorf("%d ways are tried, want %d", len(answered), most)
			}
		})
	}
}
