package rpc

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// asked lists when a peer got FIND_NODE requests for our own id.
func (l *lab) asked(p *peer) (at []time.Duration) {
	for _, a := range p.got {
		if a.request.Internal && a.request.Command == wire.CmdFindNode {
			at = append(at, a.at)
		}
	}
	return at
}

func TestBootstrapNodeIsAskedForGoodAndSeldom(t *testing.T) {
	boot := netip.MustParseAddrPort("10.0.0.1:49737")
	l := newLab(t, Config{Bootstrap: []Bootstrap{BootstrapAddr(boot)}, Mode: Ephemeral})
	p := l.peerAt(boot, empty)
	for _, other := range l.peersOf(30, empty) {
		l.do(func() { l.Ping(other.addr, nil, nil, nil) })
	}
	l.net.Run(time.Minute)
	if l.Len() < 25 {
		t.Fatalf("%d nodes known, the table is to be large enough for lookups", l.Len())
	}
	p.got = nil
	l.net.Run(2 * time.Hour)
	at := l.asked(p)
	// One question in two minutes on average, and a refresh in five minutes that may lead past it.
	if len(at) < 50 || len(at) > 100 {
		t.Errorf("asked %d times in two hours", len(at))
	}
}

func TestSilentBootstrapNodeIsAskedAtLeastEachMinute(t *testing.T) {
	boot := netip.MustParseAddrPort("10.0.0.1:49737")
	l := newLab(t, Config{Bootstrap: []Bootstrap{BootstrapAddr(boot)}, Mode: Ephemeral})
	p := l.peerAt(boot, silent)
	for _, other := range l.peersOf(30, empty) {
		l.do(func() { l.Ping(other.addr, nil, nil, nil) })
	}
	l.net.Run(10 * time.Minute)
	p.got = nil
	l.net.Run(time.Hour)
	at := l.asked(p)
	longest := time.Duration(0)
	for i := 1; i < len(at); i++ {
		longest = max(longest, at[i]-at[i-1])
	}
	if len(at) == 0 || longest > 90*time.Second {
		t.Errorf("asked %d times, the longest pause is %v", len(at), longest)
	}
	if len(at) > 4*2*60 { // four transmissions twice a minute
		t.Errorf("asked %d times in an hour", len(at))
	}
}

// whole reports whether every node finds the ten nodes nearest to a target, whichever part they were in.
func (s *swarm) whole() bool {
	want := s.nearest(target, 10)
	for _, m := range s.nodes {
		if m.host.Down() {
			continue
		}
		for _, addr := range want {
			if self, ok := m.RemoteAddr(); !ok || self != addr {
				if !slices.Contains(s.find(m, target), addr) {
					return false
				}
			}
		}
	}
	return true
}

func (s *swarm) joinedWithin(d time.Duration) bool {
	for range int(d / (10 * time.Second)) {
		s.net.Run(10 * time.Second)
		if s.whole() {
			return true
		}
	}
	return false
}

// split cuts the swarm in two for a while. The first node is in the smaller part.
func (s *swarm) split(last time.Duration) {
	var left, right []*simnet.Host
	for i, m := range s.nodes {
		if i%3 == 0 {
			left = append(left, m.host)
		} else {
			right = append(right, m.host)
		}
	}
	s.net.Partition(left, right)
	s.net.Run(last)
}

func TestTwoPartsOfANetworkBecomeOneWithinFiveMinutes(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 41, Link: link})
	s.grow(79)
	s.split(time.Hour)
	if s.whole() {
		t.Fatal("the parts still know each other")
	}
	s.net.Heal()
	if !s.joinedWithin(5 * time.Minute) {
		t.Error("they do not find each other")
	}
}

func TestTwoPartsBecomeOneWithoutTheirBootstrapNode(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 42, Link: link})
	s.grow(79)
	s.nodes[0].host.Crash()
	s.split(time.Hour)
	if s.whole() {
		t.Fatal("the parts still know each other")
	}
	s.net.Heal()
	if !s.joinedWithin(5 * time.Minute) {
		t.Error("they do not find each other")
	}
}

func TestPersistentNodesThatStartedFirstBecomePersistentWithTheBootstrapNode(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 43, Link: link})
	s.nodes[0].host.Crash()
	open := false
	var early []*member
	for range 5 {
		early = append(early, s.add(Config{Mode: Persistent, Firewalled: &open}))
	}
	s.net.Run(10 * time.Minute)
	s.nodes[0].host = s.nodes[0].host.Restart()
	s.nodes[0].host.Do(func() {
		var err error
		s.nodes[0].Endpoint, err = New(s.nodes[0].host, Config{PublicAddr: netip.AddrPortFrom(addrOf(0), DefaultPort)})
		if err != nil {
			t.Fatal(err)
		}
	})
	s.net.Run(2 * time.Minute)
	for i, m := range early {
		if m.Ephemeral() || m.Len() != 5 {
			t.Errorf("node %d: ephemeral %v, %d nodes known", i, m.Ephemeral(), m.Len())
		}
	}
}

func TestAnyAnswerWhileOfflineMeansOnline(t *testing.T) {
	var online []bool
	l := newLab(t, Config{Mode: Ephemeral})
	l.onEvent(EventNetwork, func(v Event) { online = append(online, v.Online) })
	dead := netip.MustParseAddrPort("10.9.9.9:1")
	l.net.Run(30 * time.Second)
	for range 12 {
		l.do(func() {
			for range 8 {
				l.Ping(dead, nil, nil, nil)
			}
		})
		l.net.Run(TickInterval)
	}
	if l.Online() {
		t.Fatal("online although nothing answers")
	}
	p := l.peer(empty)
	l.do(func() { l.Ping(p.addr, nil, nil, nil) })
	l.net.Run(time.Second)
	if !l.Online() || !slices.Equal(online, []bool{false, true}) {
		t.Errorf("online %v after an answer, told %v", l.Online(), online)
	}
}

// In a large network few answers of a bootstrap node lead to a look for another part of it: all would be a load.
func TestFewAnswersOfBootstrapNodesLeadToALook(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	var named []netip.AddrPort
	for i := range 20_000 {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)}), 49737)
		if l.nodes.table.Insert(id.NodeIDOf(addr), addr) != nil {
			named = append(named, addr)
		}
	}
	looks := 0
	l.do(func() {
		for range 50 {
			l.rejoin.looking = false
			l.bootstrapAnswered(&Reply{From: named[0], Closer: named[:1]})
			if l.rejoin.looking {
				looks++
			}
		}
	})
	if looks > 25 {
		t.Errorf("%d looks for 50 answers, of %d nodes", looks, len(named))
	}
	l.do(func() {
		l.rejoin.looking, l.rejoin.silent = false, 1
		l.bootstrapAnswered(&Reply{From: named[0], Closer: named[:1]})
	})
	if !l.rejoin.looking {
		t.Error("no look after the bootstrap node was silent")
	}
}

// Two parts of a network have met where more than half of the nearest nodes were not known.
func TestPartsHaveMetWhereMostOfTheNearestAreUnknown(t *testing.T) {
	addr := func(i int) netip.AddrPort { return netip.AddrPortFrom(addrOf(i), DefaultPort) }
	for _, tt := range []struct {
		unknown, nearest int
		met              bool
	}{{0, 0, false}, {0, 4, false}, {1, 4, false}, {2, 4, false}, {3, 4, true}, {2, 3, true}, {4, 4, true}} {
		l := newLab(t, Config{})
		l.net.Run(time.Second)
		met := false
		l.onEvent(EventJoined, func(Event) { met = true })
		var nearest []Reply
		var before []netip.AddrPort
		for i := range tt.nearest {
			nearest = append(nearest, Reply{From: addr(i)})
			if i >= tt.unknown {
				before = append(before, addr(i))
			}
		}
		l.do(func() { l.compare(nearest, before) })
		l.net.Run(0)
		if met != tt.met {
			t.Errorf("%d of %d unknown: met %v", tt.unknown, tt.nearest, met)
		}
	}
}

// A node that has stopped answering is noted once, and not while it is known.
func TestFormerNodesAreNotedOnce(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	p := l.peer(empty)
	l.do(func() { l.Ping(p.addr, nil, nil, nil) })
	l.net.Run(time.Second)
	l.do(func() {
		l.nodes.gone(p.addr)
		if len(l.nodes.former) != 0 {
			t.Error("a known node is noted")
		}
		for range 2 {
			l.nodes.gone(netip.AddrPortFrom(addrOf(9), DefaultPort))
		}
		if n := len(l.nodes.former); n != 1 {
			t.Errorf("noted %d times", n)
		}
	})
}
