package simnet_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

func TestHostsBehindOneNATShareItsAddress(t *testing.T) {
	h := newHome(simnet.PortRestricted())
	var plugs []*plug
	for i := range 20 {
		ip := netip.AddrFrom4([4]byte{192, 168, 1, byte(10 + i)})
		p := open(h.Net, h.router.AddHost(fmt.Sprint("host", i), ip), 5000)
		plugs = append(plugs, p)
		p.send(h.atX1, "hello")
	}
	for i, from := range h.x1.from {
		if from.Addr() != homeIP {
			t.Errorf("seen as %v", from)
		}
		h.x1.send(from, fmt.Sprint(i))
	}
	for i, p := range plugs {
		if !slices.Equal(p.got, []string{fmt.Sprint(i)}) {
			t.Errorf("host %d got %q", i, p.got)
		}
	}
	plugs[0].send(at(laptop, 5000), "neighbour")
	if h.inside.last() != at(netip.MustParseAddr("192.168.1.10"), 5000) {
		t.Errorf("a neighbour was seen as %v", h.inside.from)
	}
}

// A carrier's NAT around a home's, and a third inside: each sees only the next one.
func TestNATsNest(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1})
	x := open(net, net.AddHost("x", serverX), 1)
	carrier := net.AddRouter("carrier", simnet.SymmetricRandom(), homeIP)
	house := carrier.LAN().AddRouter("house", simnet.PortRestricted(), netip.MustParseAddr("100.64.0.2"))
	room := house.LAN().AddRouter("room", simnet.Symmetric(), netip.MustParseAddr("192.168.1.7"))
	inside := open(net, room.AddHost("laptop", netip.MustParseAddr("10.0.0.2")), 5000)
	neighbour := open(net, carrier.AddHost("neighbour", netip.MustParseAddr("100.64.0.3")), 5000)

	inside.send(at(serverX, 1), "hello")
	if x.last().Addr() != homeIP {
		t.Fatalf("seen as %v", x.from)
	}
	x.send(x.last(), "answer")
	if !slices.Equal(inside.got, []string{"answer"}) || inside.last() != at(serverX, 1) {
		t.Errorf("got %q from %v", inside.got, inside.from)
	}
	for _, r := range []*simnet.Router{carrier, house, room} {
		if r.Sessions() != 1 {
			t.Errorf("%s has %d sessions", r.Name(), r.Sessions())
		}
	}
	inside.send(at(netip.MustParseAddr("100.64.0.3"), 5000), "on the carrier's own network")
	if neighbour.last().Addr() != netip.MustParseAddr("100.64.0.2") || carrier.Sessions() != 1 {
		t.Errorf("the neighbour saw %v; the carrier has %d sessions", neighbour.from, carrier.Sessions())
	}
}

func TestFirewallLeavesAddressesAlone(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1})
	x := open(net, net.AddHost("x", serverX), 1)
	outer := net.AddRouter("outer", simnet.Open(), netip.Addr{})
	inner := outer.LAN().AddRouter("inner", simnet.FirewallOnly(), netip.Addr{})
	inside := open(net, inner.AddHost("office", addr(50)), 5000)
	between := open(net, outer.AddHost("dmz", addr(51)), 5000)

	x.send(at(addr(50), 5000), "unasked")
	x.send(at(addr(51), 5000), "welcome")
	between.send(at(addr(50), 5000), "unasked")
	inside.send(at(serverX, 1), "hello")
	x.send(at(addr(50), 5000), "answer")
	if x.last() != at(addr(50), 5000) || !slices.Equal(inside.got, []string{"answer"}) || !slices.Equal(between.got, []string{"welcome"}) {
		t.Errorf("X saw %v; office got %q, dmz got %q", x.from, inside.got, between.got)
	}
}

// Both ends open their NATs with datagrams that must not reach the other's, and then meet.
func TestLowTTLOpensTheNearNATAndDiesBeforeTheFarOne(t *testing.T) {
	var trace strings.Builder
	net := simnet.New(simnet.Config{Seed: 1, Trace: &trace})
	left := net.AddRouter("left", simnet.PortRestricted(), addr(1))
	right := net.AddRouter("right", simnet.PortRestricted(), addr(2))
	a := open(net, left.AddHost("a", laptop), 5000)
	b := open(net, right.AddHost("b", laptop), 6000)
	a.sendTTL(at(addr(2), 6000), 1, "dies in the near router")
	if left.Sessions() != 0 {
		t.Error("a TTL of 1 opened the NAT")
	}
	a.sendTTL(at(addr(2), 6000), 5, "opens")
	if left.Sessions() != 1 || right.Sessions() != 0 || net.Stats().Dropped(simnet.DropTTL) != 2 {
		t.Fatalf("%d sessions left, %d right, %d died", left.Sessions(), right.Sessions(), net.Stats().Dropped(simnet.DropTTL))
	}
	b.send(at(addr(1), 5000), "gets in")
	a.send(at(addr(2), 6000), "gets in")
	if len(a.got) != 1 || len(b.got) != 1 {
		t.Errorf("a got %q, b got %q", a.got, b.got)
	}
	for _, line := range []string{"left maps 192.168.1.2:5000=198.51.0.1:5000 for 198.51.0.2:6000", "left unmaps 198.51.0.1:5000=192.168.1.2:5000 for 198.51.0.2:6000", "drop-ttl"} {
		if !strings.Contains(trace.String(), line) {
			t.Errorf("the trace does not say %q", line)
		}
	}

	// Through two NATs of its own a datagram with the same TTL opens both, and dies on the internet.
	house := left.LAN().AddRouter("house", simnet.PortRestricted(), netip.MustParseAddr("192.168.1.9"))
	c := open(net, house.AddHost("c", netip.MustParseAddr("10.0.0.2")), 7000)
	c.sendTTL(at(addr(2), 6000), 5, "opens both")
	if house.Sessions() != 1 || left.Sessions() != 2 || len(b.got) != 1 {
		t.Errorf("%d sessions in the house, %d at the carrier, b got %q", house.Sessions(), left.Sessions(), b.got)
	}
}

// Random punching bets on many mappings of one host being many.
func TestManySocketsHaveManyMappings(t *testing.T) {
	for _, p := range simnet.Presets() {
		if p.NAT.Mapping == simnet.Never {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			h := newHome(p.NAT)
			phone := h.router.AddHost("phone", tablet)
			for i := range 256 {
				open(h.Net, phone, uint16(20000+i)).Send(h.atX1, 0, []byte("x"))
			}
			h.Run(time.Second)
			if h.router.Mappings() != 256 {
				t.Errorf("%d mappings", h.router.Mappings())
			}
			slices.SortFunc(h.x1.from, netip.AddrPort.Compare)
			if n := len(slices.Compact(h.x1.from)); n != 256 {
				t.Errorf("X saw %d public ends", n)
			}
		})
	}
}

func TestOnlyOneRemotePortIsLetOut(t *testing.T) {
	for name, nat := range map[string]simnet.NAT{"cone": simnet.FullCone(), "symmetric": simnet.SymmetricRandom(), "firewall": simnet.FirewallOnly()} {
		h := newHome(simnet.OnePort(nat, webPort))
		web := open(h.Net, h.AddHost("web", addr(77)), webPort)
		h.inside.send(at(addr(77), webPort), "let out")
		h.inside.send(h.atX1, "blocked")
		if len(web.got) != 1 || len(h.x1.got) != 0 || h.router.Sessions() != 1 {
			t.Fatalf("%s: the port that is let out got %q, another one %q, %d sessions", name, web.got, h.x1.got, h.router.Sessions())
		}
		h.dropped(t, simnet.DropUDP, 1)
		web.send(web.from[0], "answer")
		if len(h.inside.got) != 1 {
			t.Errorf("%s: got in: %q", name, h.inside.got)
		}
	}
}

const webPort = 443 // that a firewall lets out

func TestPhoneLeavesTheWiFi(t *testing.T) {
	h := newHome(simnet.PortRestricted())
	carrier := h.AddRouter("carrier", simnet.SymmetricRandom(), netip.MustParseAddr("203.0.113.200"))
	phone := h.router.AddHost("phone", tablet)
	p := open(h.Net, phone, 6000)
	p.send(h.atX1, "from the Wi-Fi")
	wifi := h.x1.last()
	h.x1.Send(wifi, 0, []byte("on its way"))
	phone.Move(carrier.LAN(), netip.MustParseAddr("100.64.0.9"))
	h.Run(time.Second)
	h.x1.send(wifi, "to where it was")
	h.dropped(t, simnet.DropNoRoute, 2)
	p.send(h.atX1, "from the carrier")
	if from := h.x1.last(); from.Addr() != carrier.Addr() {
		t.Fatalf("seen as %v", from)
	}
	h.x1.send(h.x1.last(), "answer")
	if !slices.Equal(p.got, []string{"answer"}) || !slices.Equal(phone.Addrs(), []netip.Addr{netip.MustParseAddr("100.64.0.9")}) {
		t.Errorf("got %q at %v", p.got, phone.Addrs())
	}
}

func TestAccessLinkOfARouterIsMetOnItsUplinkOnly(t *testing.T) {
	h := newHome(simnet.FullCone())
	h.router.SetAccess(simnet.Link{Delay: 40 * time.Millisecond, Bandwidth: 100_000})
	tabletEnd := open(h.Net, h.router.AddHost("tablet", tablet), 5000)
	h.inside.Send(at(tablet, 5000), 0, []byte("x"))
	h.Run(time.Millisecond)
	if len(tabletEnd.got) != 1 {
		t.Error("neighbours speak through the router's access link")
	}
	h.inside.Send(h.atX1, 0, []byte("x"))
	h.Run(40 * time.Millisecond)
	if len(h.x1.got) != 0 {
		t.Error("arrived without the access link's delay")
	}
	h.Run(10 * time.Millisecond)
	before := h.Now()
	var times []time.Duration
	h.inside.OnReceive(func(netip.AddrPort, []byte) { times = append(times, h.Now()-before) })
	for range 2 {
		h.x1.Send(h.x1.last(), 0, make([]byte, 972)) // 10 ms each
	}
	h.Run(time.Second)
	if len(times) != 2 || times[0] < 51*time.Millisecond || times[1]-times[0] != 10*time.Millisecond {
		t.Errorf("arrived after %v", times)
	}
}

func TestRunsWithNATsReplay(t *testing.T) {
	run := func(seed uint64) uint64 {
		net := simnet.New(simnet.Config{Seed: seed, Link: simnet.Link{Delay: ms, Spread: 5 * ms, Jitter: 3 * ms, Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, Replay: 0.1}})
		var plugs []*plug
		for i, p := range simnet.Presets() {
			ip, inside := addr(100+i), at(laptop, 0).Addr()
			if p.NAT.Mapping == simnet.Never {
				ip, inside = netip.Addr{}, addr(100+i)
			}
			plugs = append(plugs, open(net, net.AddRouter(p.Name, p.NAT, ip).AddHost("h"+p.Name, inside), 5000))
		}
		x := open(net, net.AddHost("x", serverX), 1)
		x.OnReceive(func(from netip.AddrPort, b []byte) { x.Send(from, 0, b) })
		for range 50 {
			for _, p := range plugs {
				p.send(at(serverX, 1), "x")
			}
		}
		if net.Stats().Replayed == 0 {
			t.Error("nothing was replayed")
		}
		return net.Hash()
	}
	if first := run(1); first != run(1) || first == run(2) {
		t.Error("a seed is not a run")
	}
}
