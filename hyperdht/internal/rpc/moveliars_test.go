package rpc

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// Nodes that ping us often are heard last. Five such nodes that agree on a false address must not move a node that knows many
// others.
func TestNodesHeardLastDoNotMoveUs(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	honest, liars := l.peersOf(15, empty), l.peersOf(5, empty)
	for _, p := range append(honest, liars...) {
		l.do(func() { l.Ping(p.addr, nil, nil, nil) })
	}
	l.net.Run(calm)
	for range 10 {
		for _, p := range liars {
			p.sees = us.Addr()
			l.do(func() { l.Ping(p.addr, nil, nil, nil) })
		}
		l.net.Run(time.Second)
		for _, p := range liars {
			p.sees = netip.MustParseAddr("203.0.113.99")
		}
		l.do(func() { l.Ping(liars[0].addr, nil, nil, nil) })
		l.net.Run(time.Second)
		if l.Host() != us.Addr() {
			t.Fatal("moved to where five of twenty nodes see it")
		}
		l.net.Run(calm)
	}
}

// A quarter of lies must not keep a machine from noticing that the address of its own interface has changed.
func TestNewAddressOfAnInterfaceIsNoticedBesideLiars(t *testing.T) {
	for _, test := range []struct {
		name   string
		honest int
		moves  bool
	}{{"most nodes see it", 7, true}, {"most nodes do not", 5, false}} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, Config{})
			l.net.Run(time.Second)
			peers := l.peersOf(12, empty)
			for _, p := range peers {
				l.do(func() { l.Ping(p.addr, nil, nil, nil) })
			}
			l.net.Run(calm)
			moved := netip.MustParseAddr("10.77.0.1")
			for i, p := range peers {
				if p.sees = moved; i >= test.honest {
					p.sees = netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
				}
			}
			tick := l.nodes.tick
			l.host.SetAddrs(moved)
			l.net.Run(TickInterval + time.Second)
			if got := l.nodes.tick-tick > oldNode; got != test.moves {
				t.Errorf("moved: %v", got)
			}
		})
	}
}

// One machine can have as many nodes as it has ports, and more of them than there are honest nodes. It has one voice.
func TestNodesOfOneMachineDoNotMoveUs(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	peers := l.peersOf(3, empty)
	var liars []*peer
	for i := range uint16(9) {
		liars = append(liars, l.peerAt(netip.AddrPortFrom(addrOf(100), DefaultPort+i), empty))
	}
	for _, p := range append(peers, liars...) {
		l.do(func() { l.Ping(p.addr, nil, nil, nil) })
	}
	l.net.Run(calm)
	for _, p := range liars {
		p.sees = netip.MustParseAddr("203.0.113.99")
	}
	for range 10 {
		l.do(func() { l.Ping(liars[0].addr, nil, nil, nil) })
		l.net.Run(calm)
		if l.Host() == liars[0].sees {
			t.Fatal("moved to where one machine of four sees it")
		}
	}
}

// Nodes that do not answer any more cost no time where the others agree.
func TestMoveIsNoticedBeforeSilentNodesAreGivenUp(t *testing.T) {
	for _, test := range []struct {
		silent int // of twelve
		soon   bool
	}{{3, true}, {4, false}} {
		l := newLab(t, Config{})
		l.net.Run(time.Second)
		peers := l.peersOf(12, empty)
		for _, p := range peers {
			l.do(func() { l.Ping(p.addr, nil, nil, nil) })
		}
		l.net.Run(calm)
		moved := netip.MustParseAddr("203.0.113.99")
		for i, p := range peers {
			if p.sees = moved; i < test.silent {
				p.answer = silent
			}
		}
		l.do(func() { l.askAddress() })
		l.net.Run(500 * time.Millisecond)
		if got := l.Host() == moved; got != test.soon {
			t.Errorf("%d are silent: moved at once: %v", test.silent, got)
		}
		l.net.Run(calm)
		if l.Host() != moved {
			t.Errorf("%d are silent: not moved", test.silent)
		}
	}
}

// One machine has a share of the samples of our address, however many nodes it has and however often it pings us.
func TestNodesOfOneMachineDoNotTellOurAddress(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	for _, p := range l.peersOf(3, empty) {
		l.do(func() { l.Ping(p.addr, nil, nil, nil) })
	}
	l.net.Run(time.Second)
	for i := range uint16(16) {
		p := l.peerAt(netip.AddrPortFrom(addrOf(100), DefaultPort+i), empty)
		p.sees = netip.MustParseAddr("203.0.113.99")
		l.do(func() { l.Ping(p.addr, nil, nil, nil) })
		l.net.Run(time.Second)
		if l.Host() == p.sees {
			t.Fatalf("at the address that one machine of four sees, after %d samples", i+1)
		}
	}
	if n := l.address.sampler.Len(); n != 4 {
		t.Errorf("%d samples of 4 machines", n)
	}
}

// Of two machines, one has gone for good. Its samples must not keep us from learning our new address from the other one.
func TestMoveIsNoticedWhereAllOthersHaveGone(t *testing.T) {
	for _, before := range []int{1, 4} { // nodes of the machine that goes, which has seen us first
		l := newLab(t, Config{})
		l.net.Run(time.Second)
		var gone []*peer
		for i := range uint16(before) {
			gone = append(gone, l.peerAt(netip.AddrPortFrom(addrOf(100), DefaultPort+i), empty))
		}
		left := l.peersOf(1, empty)[0]
		for _, p := range append(gone, left) {
			l.do(func() { l.Ping(p.addr, nil, nil, nil) })
			l.net.Run(time.Second)
		}
		l.net.Run(calm)
		for _, p := range gone {
			p.answer = silent
		}
		l.net.Run(2 * time.Hour)
		if l.nodes.list.Len() != 1 {
			t.Fatalf("%d nodes are known", l.nodes.list.Len())
		}
		left.sees = netip.MustParseAddr("203.0.113.99")
		l.net.Run(24 * time.Hour)
		if l.Host() != left.sees {
			t.Errorf("%d nodes have gone: at %v a day after the move, of %v", before, l.Host(), l.address.sampler.Samples())
		}
	}
}

// Of twice as many nodes as are asked, it is every second one in the order in which they were heard.
func TestAskedNodesAreTakenEvenly(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	peers := l.peersOf(2*askedNodes, empty)
	for _, p := range peers {
		l.do(func() { l.Ping(p.addr, nil, nil, nil) })
		l.net.Run(10 * delay)
	}
	pings := func(of []*peer) (n int) {
		for _, p := range of {
			n += p.count(true, wire.CmdPing)
		}
		return n
	}
	all, half := pings(peers), pings(peers[:askedNodes])
	l.do(l.askAddress)
	l.net.Run(10 * delay)
	if all, half = pings(peers)-all, pings(peers[:askedNodes])-half; all != askedNodes || half != askedNodes/2 {
		t.Errorf("%d nodes are asked, %d of them of the first half", all, half)
	}
}

// The address probe is asked where fewer nodes than probeNodes are known, and no node where the address is configured.
func TestAddressProbeIsAskedWhereFewNodesAreKnown(t *testing.T) {
	for _, nodes := range []int{probeNodes - 1, probeNodes} {
		var o oracle
		l := newLab(t, Config{AddressProbe: o.probe})
		l.net.Run(time.Second)
		l.do(o.end)
		for _, p := range l.peersOf(nodes, empty) {
			l.do(func() { l.Ping(p.addr, nil, nil, nil) })
		}
		l.net.Run(time.Second)
		before := len(o.asked)
		l.do(l.askAddress)
		if got, want := len(o.asked)-before, max(probeNodes-nodes, 0); got != want {
			t.Errorf("%d nodes: the probe is asked %d times, want %d", nodes, got, want)
		}
	}
	l := newLab(t, Config{PublicAddr: us})
	l.net.Run(time.Second)
	p := l.peer(empty)
	l.do(func() { l.Ping(p.addr, nil, nil, nil) })
	l.net.Run(time.Second)
	before := len(p.got)
	l.do(l.askAddress)
	l.net.Run(time.Second)
	if len(p.got) != before {
		t.Error("a node is asked for an address that is configured")
	}
}
