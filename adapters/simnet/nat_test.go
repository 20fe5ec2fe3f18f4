package simnet_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/ports/host"
)

var (
	homeIP  = netip.MustParseAddr("203.0.113.1")
	laptop  = netip.MustParseAddr("192.168.1.2")
	tablet  = netip.MustParseAddr("192.168.1.3")
	serverX = addr(1)
	serverY = addr(2)
)

// plug is a socket that records what it received, and from where.
type plug struct {
	host.Socket
	net  *simnet.Net
	got  []string
	from []netip.AddrPort
}

func open(net *simnet.Net, h *simnet.Host, port uint16) *plug {
	p := &plug{net: net}
	var err error
	if p.Socket, err = h.OpenSocket(netip.AddrPortFrom(netip.Addr{}, port)); err != nil {
		panic(err)
	}
	p.OnReceive(func(from netip.AddrPort, b []byte) {
		p.from, p.got = append(p.from, from), append(p.got, string(b))
	})
	return p
}

// send sends a datagram and runs the net until it has arrived.
func (p *plug) send(to netip.AddrPort, text string) { p.sendTTL(to, 0, text) }

func (p *plug) sendTTL(to netip.AddrPort, ttl int, text string) {
	p.Send(to, ttl, []byte(text))
	p.net.Run(100 * time.Millisecond)
}

// last returns the source of the last datagram.
func (p *plug) last() netip.AddrPort {
	if len(p.from) == 0 {
		return netip.AddrPort{}
	}
	return p.from[len(p.from)-1]
}

func at(ip netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(ip, port) }

// home is the smallest world with a NAT: a laptop behind it, and two public servers with two ports each.
type home struct {
	*simnet.Net
	router           *simnet.Router
	laptop           *simnet.Host
	inside           *plug // laptop, port 5000
	x1, x2, y1       *plug // server X, ports 1 and 2; server Y, port 1
	atX1, atX2, atY1 netip.AddrPort
}

func newHome(nat simnet.NAT) *home {
	net := simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: time.Millisecond}})
	h := &home{Net: net, atX1: at(serverX, 1), atX2: at(serverX, 2), atY1: at(serverY, 1)}
	x, y := net.AddHost("x", serverX), net.AddHost("y", serverY)
	h.x1, h.x2, h.y1 = open(net, x, 1), open(net, x, 2), open(net, y, 1)
	ip := homeIP
	if nat.Mapping == simnet.Never {
		ip = netip.Addr{}
	}
	h.router = net.AddRouter("home", nat, ip)
	h.laptop = h.router.AddHost("laptop", laptop)
	h.inside = open(net, h.laptop, 5000)
	return h
}

// dropped checks the number of datagrams dropped for a reason, and that none was dropped for another.
func (h *home) dropped(t *testing.T, why simnet.Drop, want uint64) {
	t.Helper()
	if got := h.Stats().Dropped(why); got != want || h.Stats().Dropped(0) != want {
		t.Errorf("%d dropped as %v, want %d; %d dropped in all", got, why, want, h.Stats().Dropped(0))
	}
}

func TestMappingDependsOnWhatItSays(t *testing.T) {
	tests := []struct {
		name                  string
		mapping               simnet.Dependence
		otherPort, otherHosts bool // whether these get a public port of their own
	}{
		{"endpoint-independent", simnet.EndpointIndependent, false, false},
		{"address-dependent", simnet.AddressDependent, false, true},
		{"address-and-port-dependent", simnet.AddressAndPortDependent, true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newHome(simnet.NAT{Mapping: test.mapping, Filtering: simnet.AddressAndPortDependent, Ports: simnet.NextPort})
			for range 2 { // mappings stay
				h.inside.send(h.atX1, "1")
				h.inside.send(h.atX2, "2")
				h.inside.send(h.atY1, "3")
			}
			one, two, three := h.x1.last(), h.x2.last(), h.y1.last()
			if one.Addr() != homeIP || h.x1.from[0] != one || h.x2.from[0] != two || h.y1.from[0] != three {
				t.Fatalf("seen as %v, %v and %v", h.x1.from, h.x2.from, h.y1.from)
			}
			if (one != two) != test.otherPort || (one != three) != test.otherHosts {
				t.Errorf("seen as %v by X, as %v by X's other port and as %v by Y", one, two, three)
			}
			h.x1.send(one, "answer")
			if h.inside.last() != h.atX1 || h.inside.got[0] != "answer" {
				t.Errorf("the answer came as %q from %v", h.inside.got, h.inside.from)
			}
		})
	}
}

func TestFilteringDependsOnWhatItSays(t *testing.T) {
	tests := []struct {
		name             string
		nat              simnet.NAT
		same, port, host bool // whether these get in
	}{
		{"endpoint-independent", simnet.FullCone(), true, true, true},
		{"address-dependent", simnet.RestrictedCone(), true, true, false},
		{"address-and-port-dependent", simnet.PortRestricted(), true, false, false},
		{"of a firewall, endpoint-independent", simnet.NAT{Filtering: simnet.EndpointIndependent}, true, true, true},
		{"of a firewall, address-dependent", simnet.NAT{Filtering: simnet.AddressDependent}, true, true, false},
		{"of a firewall, address-and-port-dependent", simnet.FirewallOnly(), true, false, false},
		{"of a symmetric NAT, endpoint-independent", simnet.NAT{Mapping: simnet.AddressAndPortDependent, Filtering: simnet.EndpointIndependent}, true, true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newHome(test.nat)
			h.inside.send(h.atX1, "opens")
			public := h.x1.last()
			h.x1.send(public, "same")
			h.x2.send(public, "port")
			h.y1.send(public, "host")
			var want []string
			for _, w := range []struct {
				text string
				in   bool
			}{{"same", test.same}, {"port", test.port}, {"host", test.host}} {
				if w.in {
					want = append(want, w.text)
				}
			}
			if !slices.Equal(h.inside.got, want) {
				t.Errorf("got in: %q, want %q", h.inside.got, want)
			}
			h.dropped(t, simnet.DropRefused, uint64(3-len(want)))
		})
	}
}

func TestNothingGetsInUnasked(t *testing.T) {
	for _, p := range simnet.Presets() {
		t.Run(p.Name, func(t *testing.T) {
			h := newHome(p.NAT)
			switch {
			case p.Name == "open":
				h.x1.send(at(laptop, 5000), "hello")
				if len(h.inside.got) != 1 {
					t.Error("an open router let nothing in")
				}
			case p.NAT.Block:
				h.x1.send(at(laptop, 5000), "hello")
				h.inside.send(h.atX1, "hello")
				h.dropped(t, simnet.DropUDP, 2)
			case p.NAT.Mapping == simnet.Never:
				h.x1.send(at(laptop, 5000), "hello")
				h.dropped(t, simnet.DropRefused, 1)
			default:
				h.x1.send(at(homeIP, 5000), "hello")
				h.x1.send(at(laptop, 5000), "hello")
				if s := h.Stats(); s.Dropped(simnet.DropUnmapped) != 1 || s.Dropped(simnet.DropNoRoute) != 1 {
					t.Errorf("%d dropped as unmapped, %d without route", s.Dropped(simnet.DropUnmapped), s.Dropped(simnet.DropNoRoute))
				}
			}
		})
	}
}

func TestPortsAreChosenAsSaid(t *testing.T) {
	publicPorts := func(nat simnet.NAT, seed uint64) (ports []uint16) {
		net := simnet.New(simnet.Config{Seed: seed})
		x := open(net, net.AddHost("x", serverX), 1)
		r := net.AddRouter("home", nat, homeIP)
		one, two := r.AddHost("laptop", laptop), r.AddHost("tablet", tablet)
		for _, p := range []*plug{open(net, one, 5000), open(net, two, 5000), open(net, one, 5001), open(net, one, 80)} {
			p.send(at(serverX, 1), "x")
			ports = append(ports, x.last().Port())
		}
		return ports
	}
	if got, want := publicPorts(simnet.PortRestricted(), 1), []uint16{5000, 5001, 5002, 1024}; !slices.Equal(got, want) {
		t.Errorf("preserved as %v, want %v", got, want)
	}
	next := simnet.PortRestricted()
	next.Ports, next.FirstPort, next.LastPort = simnet.NextPort, 7000, 7003
	got := publicPorts(next, 1)
	for i, p := range got {
		if p < 7000 || p > 7003 || i > 0 && p != 7000+(got[i-1]-7000+1)%4 {
			t.Errorf("counted as %v in a range of 7000 to 7003", got)
		}
	}
	random := simnet.PortRestricted()
	random.Ports = simnet.RandomPort
	one, again, other := publicPorts(random, 1), publicPorts(random, 1), publicPorts(random, 2)
	if !slices.Equal(one, again) || slices.Equal(one, other) {
		t.Errorf("drawn as %v, %v with the same seed and %v with another", one, again, other)
	}
	if slices.Sort(one); len(slices.Compact(one)) != 4 || one[3] == one[0]+3 {
		t.Errorf("drawn as %v", one)
	}
}

func TestOverloadedPortsAreSharedByRemoteEnds(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1})
	x, y := open(net, net.AddHost("x", serverX), 1), open(net, net.AddHost("y", serverY), 1)
	r := net.AddRouter("home", simnet.Masquerade(), homeIP)
	one, two := open(net, r.AddHost("laptop", laptop), 5000), open(net, r.AddHost("tablet", tablet), 5000)
	one.send(at(serverX, 1), "laptop")
	two.send(at(serverY, 1), "tablet")
	if x.last() != at(homeIP, 5000) || y.last() != at(homeIP, 5000) {
		t.Fatalf("seen as %v and %v, want one port for both", x.from, y.from)
	}
	x.send(at(homeIP, 5000), "from X")
	y.send(at(homeIP, 5000), "from Y")
	if !slices.Equal(one.got, []string{"from X"}) || !slices.Equal(two.got, []string{"from Y"}) {
		t.Errorf("laptop got %q, tablet got %q", one.got, two.got)
	}
	two.send(at(serverX, 1), "the port is taken towards X")
	if x.last() == at(homeIP, 5000) {
		t.Error("two inside sockets have the same port towards the same end")
	}
}

func TestHairpinLetsNeighboursMeetAtTheirPublicAddresses(t *testing.T) {
	run := func(hairpin, opened bool) (*home, *plug) {
		nat := simnet.PortRestricted()
		nat.Hairpin = hairpin
		h := newHome(nat)
		two := open(h.Net, h.router.AddHost("tablet", tablet), 6000)
		h.inside.send(h.atX1, "opens")
		two.send(h.atX1, "opens")
		if opened {
			two.send(at(homeIP, 5000), "opens")
		}
		h.inside.send(at(homeIP, 6000), "hairpin")
		return h, two
	}
	h, two := run(false, false)
	if len(two.got) != 0 {
		t.Error("passed without hairpin")
	}
	h.dropped(t, simnet.DropHairpin, 1)

	h, two = run(true, false)
	if len(two.got) != 0 {
		t.Error("the hairpin went round the filter")
	}
	h.dropped(t, simnet.DropRefused, 1)

	_, two = run(true, true)
	if !slices.Equal(two.got, []string{"hairpin"}) || two.last() != at(homeIP, 5000) {
		t.Errorf("got %q from %v, want the public address of the neighbour", two.got, two.from)
	}
}

func TestNATAxesThatWouldMeanNothingAreRefused(t *testing.T) {
	none := netip.Addr{}
	tests := []struct {
		name string
		nat  simnet.NAT
		addr netip.Addr
	}{
		{"NAT without a filter", simnet.NAT{Mapping: simnet.EndpointIndependent}, homeIP},
		{"NAT without an address", simnet.FullCone(), none},
		{"firewall with an address", simnet.FirewallOnly(), homeIP},
		{"firewall with ports", simnet.NAT{Filtering: simnet.AddressDependent, Ports: simnet.RandomPort}, none},
		{"firewall with hairpin", simnet.NAT{Filtering: simnet.AddressDependent, Hairpin: true}, none},
		{"open router with a lifetime", simnet.NAT{Lifetime: time.Second}, none},
		{"open router with a table", simnet.NAT{Size: 1}, none},
		{"one port of an open router", simnet.NAT{OnlyPort: 443}, none},
		{"blocking router with a filter", simnet.NAT{Block: true, Filtering: simnet.AddressDependent}, none},
		{"firewall that forgets an address", simnet.NAT{Filtering: simnet.AddressDependent, ForgetOnMove: true}, none},
		{"open router with a time for the unanswered", simnet.NAT{Unanswered: time.Second}, none},
		{"open router with a time for the young", simnet.NAT{Young: time.Second}, none},
		{"young, but not unanswered", simnet.NAT{Filtering: simnet.AddressDependent, Young: time.Second}, none},
		{"unanswered live longer", simnet.NAT{Filtering: simnet.AddressDependent, Unanswered: 121 * time.Second}, none},
		{"negative lifetime", simnet.NAT{Filtering: simnet.AddressDependent, Lifetime: -1}, none},
		{"overloaded cone", simnet.NAT{Mapping: simnet.EndpointIndependent, Filtering: simnet.AddressAndPortDependent, Overload: true}, homeIP},
		{"overload with a weak filter", simnet.NAT{Mapping: simnet.AddressAndPortDependent, Filtering: simnet.AddressDependent, Overload: true}, homeIP},
		{"ports from high to low", simnet.NAT{Mapping: simnet.EndpointIndependent, Filtering: simnet.AddressDependent, FirstPort: 2, LastPort: 1}, homeIP},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("accepted")
				}
			}()
			simnet.New(simnet.Config{}).AddRouter("r", test.nat, test.addr)
		})
	}
}

func TestMappingsDrift(t *testing.T) {
	drifting := simnet.PortRestricted()
	drifting.Ports = simnet.RandomPort
	for _, test := range []struct {
		name string
		nat  func(n *simnet.NAT)
		wait time.Duration
		// stays reports whether another session, and then a further one, find the port of the first.
		stays [2]bool
	}{
		{"never", func(*simnet.NAT) {}, 20 * time.Second, [2]bool{true, true}},
		{"with time", func(n *simnet.NAT) { n.Drift = 30 * time.Second }, 20 * time.Second, [2]bool{true, false}},
		{"with load", func(n *simnet.NAT) { n.Shared = 2 }, 0, [2]bool{true, false}},
	} {
		t.Run(test.name, func(t *testing.T) {
			nat := drifting
			test.nat(&nat)
			h := newHome(nat)
			h.inside.send(h.atX1, "1")
			first := h.x1.last()
			h.Run(test.wait)
			h.inside.send(h.atX2, "2")
			h.Run(test.wait)
			h.inside.send(h.atY1, "3")
			if got := [2]bool{h.x2.last() == first, h.y1.last() == first}; got != test.stays {
				t.Fatalf("seen as %v, %v and %v", first, h.x2.last(), h.y1.last())
			}
			h.x1.send(first, "answer")
			h.y1.send(h.y1.last(), "another")
			want := []string{"answer", "another"}
			if nat.Drift > 0 {
				want = want[1:] // datagrams to the former port are lost
			}
			if !slices.Equal(h.inside.got, want) {
				t.Errorf("got %q, want %q", h.inside.got, want)
			}
		})
	}
}
