package simnet_test

import (
	"fmt"
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

// plug is a socket that notes from whom it received what.
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

// send lets a datagram arrive before it returns.
func (p *plug) send(to netip.AddrPort, text string) { p.sendTTL(to, 0, text) }

func (p *plug) sendTTL(to netip.AddrPort, ttl int, text string) {
	p.Send(to, ttl, []byte(text))
	p.net.Run(100 * time.Millisecond)
}

// last is who the last datagram came from.
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

// dropped reports how many datagrams were dropped for a reason, and that all were for that one.
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

func TestSessionsEndWhenNobodyRefreshesThem(t *testing.T) {
	tests := []struct {
		name    string
		refresh simnet.Refresh
		speaks  func(h *home, public netip.AddrPort)
		lives   bool
	}{
		{"nobody", simnet.RefreshBoth, func(*home, netip.AddrPort) {}, false},
		{"outbound", simnet.RefreshOutbound, func(h *home, _ netip.AddrPort) { h.inside.send(h.atX1, "x") }, true},
		{"inbound", simnet.RefreshOutbound, func(h *home, public netip.AddrPort) { h.x1.send(public, "x") }, false},
		{"inbound where that counts", simnet.RefreshBoth, func(h *home, public netip.AddrPort) { h.x1.send(public, "x") }, true},
		{"inbound that is refused", simnet.RefreshBoth, func(h *home, public netip.AddrPort) { h.y1.send(public, "x") }, false},
		{"outbound to another", simnet.RefreshBoth, func(h *home, _ netip.AddrPort) { h.inside.send(h.atY1, "x") }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			nat := simnet.PortRestricted()
			nat.Lifetime, nat.Refresh = 10*time.Second, test.refresh
			h := newHome(nat)
			h.inside.send(h.atX1, "opens")
			public := h.x1.last()
			h.Run(6 * time.Second)
			test.speaks(h, public)
			h.Run(6 * time.Second)
			before := len(h.inside.got)
			h.x1.send(public, "late")
			if lives := len(h.inside.got) > before; lives != test.lives {
				t.Errorf("12 s after the session began, its end got in: %v", lives)
			}
		})
	}
	t.Run("a mapping lives as long as one of its sessions", func(t *testing.T) {
		nat := simnet.PortRestricted()
		nat.Lifetime, nat.Ports = 10*time.Second, simnet.NextPort
		h := newHome(nat)
		h.inside.send(h.atX1, "opens")
		h.Run(6 * time.Second)
		h.inside.send(h.atY1, "keeps")
		h.Run(6 * time.Second)
		if h.router.Sessions() != 1 || h.router.Mappings() != 1 {
			t.Errorf("%d sessions, %d mappings", h.router.Sessions(), h.router.Mappings())
		}
		h.inside.send(h.atX1, "comes back")
		if h.x1.from[0] != h.x1.last() {
			t.Errorf("seen as %v", h.x1.from)
		}
		h.Run(time.Minute)
		h.inside.send(h.atX1, "has a new mapping")
		if h.x1.from[0] == h.x1.last() || h.router.Mappings() != 1 {
			t.Errorf("seen as %v, %d mappings", h.x1.from, h.router.Mappings())
		}
	})
	t.Run("at its instant", func(t *testing.T) {
		for _, after := range []time.Duration{10*time.Second - 1, 10 * time.Second} {
			nat := simnet.FullCone()
			nat.Lifetime = 10 * time.Second
			h := newHome(nat)
			h.router.LAN().SetLink(simnet.Link{})
			h.Internet().SetLink(simnet.Link{})
			h.inside.send(h.atX1, "opens")
			h.Run(after - 100*time.Millisecond)
			h.x1.send(h.x1.last(), "late")
			if lives := len(h.inside.got) == 1; lives != (after < 10*time.Second) {
				t.Errorf("alive after %v: %v", after, lives)
			}
		}
	})
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

func TestFullTableRefusesOrForgets(t *testing.T) {
	run := func(full simnet.WhenFull) (*home, netip.AddrPort) {
		nat := simnet.PortRestricted()
		nat.Size, nat.Full = 2, full
		h := newHome(nat)
		h.inside.send(h.atX1, "first")
		public := h.x1.last()
		h.inside.send(h.atX2, "second")
		h.inside.send(h.atX1, "first again, so that the second is the oldest")
		h.inside.send(h.atY1, "third")
		if h.router.Sessions() != 2 {
			t.Errorf("%d sessions in a table for 2", h.router.Sessions())
		}
		return h, public
	}
	h, public := run(simnet.RefuseNew)
	if len(h.y1.got) != 0 {
		t.Error("a full table took a third session")
	}
	h.dropped(t, simnet.DropTableFull, 1)
	h.x2.send(public, "still in")
	if len(h.inside.got) != 1 {
		t.Error("a full table lost its second session")
	}

	h, public = run(simnet.EvictOldest)
	h.x1.send(public, "in")
	h.y1.send(public, "in")
	h.x2.send(public, "evicted")
	if !slices.Equal(h.inside.got, []string{"in", "in"}) || len(h.y1.got) != 1 {
		t.Errorf("laptop got %q, Y got %q", h.inside.got, h.y1.got)
	}
}

func TestPortsRunOut(t *testing.T) {
	nat := simnet.Symmetric()
	nat.FirstPort, nat.LastPort = 7000, 7001
	h := newHome(nat)
	h.inside.send(h.atX1, "x")
	h.inside.send(h.atX2, "x")
	h.inside.send(h.atY1, "x")
	h.dropped(t, simnet.DropNoPort, 1)
	h.Run(5 * time.Minute)
	h.inside.send(h.atY1, "x")
	if len(h.y1.got) != 1 {
		t.Error("no port although the old mappings have expired")
	}
}

func TestRebootForgetsTheTable(t *testing.T) {
	publicPort := func(h *home) uint16 {
		h.inside.send(h.atX1, "x")
		return h.x1.last().Port()
	}
	reboot := func(how simnet.Reboot) (before, after uint16) {
		h := newHome(simnet.Symmetric())
		before = publicPort(h)
		public := h.x1.last()
		h.router.Reboot(how)
		if h.router.Sessions() != 0 || h.router.Mappings() != 0 {
			t.Error("sessions outlived the reboot")
		}
		h.x1.send(public, "lost")
		if len(h.inside.got) != 0 {
			t.Error("a forgotten session let something in")
		}
		return before, publicPort(h)
	}
	if before, after := reboot(simnet.Reboot{SamePorts: true}); before != after {
		t.Errorf("port %d before and %d after, want the same", before, after)
	}
	if before, after := reboot(simnet.Reboot{}); before == after || after == before+1 {
		t.Errorf("port %d before and %d after, want a new beginning", before, after)
	}

	h := newHome(simnet.Symmetric())
	before := publicPort(h)
	h.router.Flush()
	if after := publicPort(h); after != before+1 {
		t.Errorf("port %d before the flush and %d after, want the next one", before, after)
	}

	h = newHome(simnet.Symmetric())
	h.router.Reboot(simnet.Reboot{DownFor: time.Second})
	h.inside.send(h.atX1, "lost")
	h.dropped(t, simnet.DropDown, 1)
	h.Run(time.Second)
	publicPort(h)
	h.dropped(t, simnet.DropDown, 1)
}

func TestPublicAddressChangesInMidFlow(t *testing.T) {
	moved := netip.MustParseAddr("203.0.113.99")
	h := newHome(simnet.PortRestricted())
	h.inside.send(h.atX1, "before")
	h.x1.Send(h.x1.last(), 0, []byte("on its way"))
	h.router.SetAddr(moved)
	h.Run(time.Second)
	h.x1.send(at(homeIP, 5000), "to the old address")
	h.dropped(t, simnet.DropNoRoute, 2)
	h.x1.send(at(moved, 5000), "to the new address")
	h.inside.send(h.atX1, "after")
	if h.x1.last() != at(moved, 5000) || !slices.Equal(h.inside.got, []string{"to the new address"}) {
		t.Errorf("seen as %v; laptop got %q", h.x1.from, h.inside.got)
	}
}

func TestRouterThatForgetsEndsSessionsWithItsAddress(t *testing.T) {
	moved := netip.MustParseAddr("203.0.113.99")
	nat := simnet.PortRestricted()
	nat.ForgetOnMove = true
	h := newHome(nat)
	h.inside.send(h.atX1, "before")
	h.router.SetAddr(moved)
	h.x1.send(at(moved, 5000), "to the new address")
	h.dropped(t, simnet.DropUnmapped, 1)
	h.inside.send(h.atX1, "after")
	h.x1.send(at(moved, 5000), "answer")
	if h.x1.last() != at(moved, 5000) || !slices.Equal(h.inside.got, []string{"answer"}) {
		t.Errorf("seen as %v; laptop got %q", h.x1.from, h.inside.got)
	}
}

// Both a NAT and a firewall, as they keep sessions in different ways.
func trackers() map[string]simnet.NAT {
	return map[string]simnet.NAT{"NAT": simnet.PortRestricted(), "firewall": {Filtering: simnet.AddressAndPortDependent}}
}

func TestUnansweredSessionsEndSooner(t *testing.T) {
	const in, out = true, false // what x1 sends comes in, what the laptop sends leaves
	type step struct {
		at      time.Duration
		inbound bool
	}
	tests := []struct {
		name    string
		refresh simnet.Refresh
		steps   []step // the first one opens
		lives   time.Duration
	}{
		{"unanswered", simnet.RefreshBoth, []step{{0, out}}, 3 * time.Second},
		{"unanswered and refreshed", simnet.RefreshBoth, []step{{0, out}, {2 * time.Second, out}}, 5 * time.Second},
		{"the answer itself is an answer to nothing", simnet.RefreshBoth, []step{{0, out}, {2 * time.Second, in}}, 5 * time.Second},
		{"answered", simnet.RefreshBoth, []step{{0, out}, {100 * ms, in}, {2 * time.Second, out}}, 12 * time.Second},
		{"answered twice", simnet.RefreshBoth, []step{{0, out}, {100 * ms, in}, {2 * time.Second, in}}, 12 * time.Second},
		{"answered, but young", simnet.RefreshBoth, []step{{0, out}, {100 * ms, in}, {time.Second, out}}, 4 * time.Second},
		{"answered and young, then old", simnet.RefreshBoth, []step{{0, out}, {100 * ms, in}, {time.Second, out}, {1100 * ms, out}}, 11100 * ms},
		{"answered where that does not refresh", simnet.RefreshOutbound, []step{{0, out}, {2 * time.Second, in}}, 3 * time.Second},
		{"answered and then refreshed", simnet.RefreshOutbound, []step{{0, out}, {1 * time.Second, in}, {2 * time.Second, out}}, 12 * time.Second},
	}
	for kind, nat := range trackers() {
		for _, test := range tests {
			t.Run(kind+"/"+test.name, func(t *testing.T) {
				nat.Lifetime, nat.Unanswered, nat.Young, nat.Refresh = 10*time.Second, 3*time.Second, time.Second, test.refresh
				h := newHome(nat)
				h.router.LAN().SetLink(simnet.Link{})
				h.Internet().SetLink(simnet.Link{})
				for _, s := range test.steps {
					h.Run(s.at - h.Now())
					if s.inbound {
						h.x1.Send(h.x1.last(), 0, []byte("x"))
					} else {
						h.inside.Send(h.atX1, 0, []byte("x"))
					}
					h.Run(0)
				}
				h.Run(test.lives - 1 - h.Now())
				if h.router.Sessions() != 1 {
					t.Errorf("%d sessions just before %v", h.router.Sessions(), test.lives)
				}
				h.Run(1)
				if h.router.Sessions() != 0 {
					t.Errorf("%d sessions after %v", h.router.Sessions(), test.lives)
				}
			})
		}
	}
}

func TestSessionsLiveAsLongAsTheRouterSays(t *testing.T) {
	tests := []struct {
		name  string
		nat   simnet.NAT
		lives time.Duration
	}{
		{"NAT", simnet.NAT{Mapping: simnet.EndpointIndependent, Filtering: simnet.AddressDependent, Lifetime: 10 * time.Second}, 10 * time.Second},
		{"firewall", simnet.NAT{Filtering: simnet.AddressDependent, Lifetime: 10 * time.Second}, 10 * time.Second},
		{"NAT that does not say", simnet.PortRestricted(), 2 * time.Minute},
		{"firewall that does not say", simnet.NAT{Filtering: simnet.AddressDependent}, 2 * time.Minute},
		{"Linux", simnet.Masquerade(), 30 * time.Second},
		{"Linux, random", simnet.MasqueradeRandom(), 30 * time.Second},
		{"Linux as a firewall", simnet.FirewallOnly(), 30 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newHome(test.nat)
			h.router.LAN().SetLink(simnet.Link{})
			h.inside.Send(h.atX1, 0, []byte("x"))
			h.Run(test.lives - 1)
			before := h.router.Sessions()
			h.Run(1)
			if before != 1 || h.router.Sessions() != 0 {
				t.Errorf("%d sessions just before %v, %d after", before, test.lives, h.router.Sessions())
			}
		})
	}
}

func TestTableHoldsWhatItShould(t *testing.T) {
	for kind, nat := range trackers() {
		for _, size := range []int{3, 0} {
			nat.Size = size
			room := size
			if size == 0 {
				room = 65536
			}
			t.Run(fmt.Sprint(kind, " for ", room), func(t *testing.T) {
				h := newHome(nat)
				for i := range room + 2 {
					h.inside.Send(at(netip.AddrFrom4([4]byte{198, 51, 100, byte(i >> 16)}), uint16(i)), 0, nil)
				}
				h.Run(time.Second)
				if h.router.Sessions() != room || h.Stats().Dropped(simnet.DropTableFull) != 2 {
					t.Errorf("%d sessions, %d refused", h.router.Sessions(), h.Stats().Dropped(simnet.DropTableFull))
				}
			})
		}
	}
}

func TestFullTableForgetsWhomNobodyAnsweredFirst(t *testing.T) {
	nat := simnet.PortRestricted()
	nat.Size, nat.Full, nat.Unanswered, nat.Refresh = 2, simnet.EvictOldest, time.Minute, simnet.RefreshBoth
	h := newHome(nat)
	h.router.LAN().SetLink(simnet.Link{})
	h.Internet().SetLink(simnet.Link{})
	h.inside.send(h.atX1, "first")
	public := h.x1.last()
	h.x1.send(public, "answers")
	h.x1.Send(public, 0, []byte("again, at one instant with the second session"))
	h.inside.send(h.atX2, "second")
	h.inside.send(h.atY1, "third")
	h.x1.send(public, "kept")
	h.x2.send(public, "evicted")
	if got := h.inside.got; len(got) != 3 || got[2] != "kept" {
		t.Errorf("laptop got %q", got)
	}
	h.y1.send(public, "kept, and refreshed after the first, which was answered")
	h.inside.send(h.atX2, "fourth")
	h.y1.send(public, "kept")
	h.x1.send(public, "evicted")
	if got := h.inside.got; len(got) != 5 || got[4] != "kept" {
		t.Errorf("laptop got %q", got)
	}
}

// What the presets promise beyond their mapping and filter.
func TestPresetsThatAreLinuxForgetAndRefreshAsItDoes(t *testing.T) {
	for name, nat := range map[string]simnet.NAT{
		"masquerade": simnet.Masquerade(), "random": simnet.MasqueradeRandom(), "firewall": simnet.FirewallOnly(),
	} {
		t.Run(name, func(t *testing.T) {
			h := newHome(nat)
			h.inside.send(h.atX1, "opens")
			public := h.x1.last()
			h.x1.send(public, "answer")
			h.Run(3 * time.Second)
			h.x1.send(public, "refreshes")
			h.Run(2*time.Minute - time.Second)
			if h.router.Sessions() != 1 {
				t.Error("what comes in does not make sessions last")
			}
			if nat.Mapping == simnet.Never {
				return
			}
			h.router.SetAddr(homeIP.Next())
			if h.router.Sessions() != 0 {
				t.Error("sessions outlive the address")
			}
		})
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
