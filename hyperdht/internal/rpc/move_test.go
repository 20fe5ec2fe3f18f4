package rpc

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

func TestSleepMakesThePersistentNodeEphemeralUntilItIsStableAgain(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 10, Link: link})
	s.grow(9)
	m := s.add(Config{})
	s.net.Run(30 * time.Minute)
	if m.Ephemeral() {
		t.Fatal("not persistent")
	}
	woken := 0
	m.onEvent(EventAwake, func(Event) { woken++ })
	tick := m.nodes.tick
	m.do(func() { m.upkeep.lastTick -= 60_000_000_000 }) // the clock went on while no timer fired
	s.net.Run(TickInterval + time.Second)
	if woken != 1 || !m.Ephemeral() || m.Firewalled() {
		t.Errorf("woken %d times, ephemeral %v, firewalled %v", woken, m.Ephemeral(), m.Firewalled())
	}
	if m.nodes.tick-tick < 2*oldNode || m.nodes.tick&7 != 6 {
		t.Errorf("tick went from %d to %d", tick, m.nodes.tick)
	}
	s.net.Run(30 * time.Minute)
	if !m.Ephemeral() {
		t.Error("persistent again too early")
	}
	s.net.Run(40 * time.Minute)
	if m.Ephemeral() || m.persistent != 2 {
		t.Errorf("after an hour: ephemeral %v, told %d times", m.Ephemeral(), m.persistent)
	}
	if woken != 1 {
		t.Errorf("woken %d times", woken)
	}
}

func TestWakeUpMakesEverythingLookOld(t *testing.T) {
	for residue := range kad.Tick(8) {
		l := newLab(t, Config{})
		l.net.Run(time.Second)
		p := l.peer(empty)
		l.do(func() { l.nodes.tick, l.upkeep.refreshTicks = 64+residue, 50 })
		n := l.learned(p)
		l.do(l.wakeUp)
		if l.nodes.tick&7 != 6 || l.nodes.tick-n.Seen < 2*oldNode-1 || l.nodes.tick-n.Seen > 2*oldNode+8 {
			t.Errorf("tick %d became %d", n.Seen, l.nodes.tick)
		}
		queries := l.Stats().Queries.Total
		l.net.Run(TickInterval)
		if l.Stats().Queries.Total != queries+1 {
			t.Error("no refresh in the next tick")
		}
		l.net.Run(TickInterval)
		if p.count(true, wire.CmdPing) != 1 {
			t.Errorf("%d pings in the tick after", p.count(true, wire.CmdPing))
		}
	}
}

func TestNewPublicAddressIsNoticedWithinSeconds(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 13, Link: link})
	s.grow(9)
	m := s.add(Config{})
	var changes, updates int
	m.onEvent(EventInterfaces, func(Event) { changes++ })
	m.onEvent(EventNetwork, func(Event) { updates++ })
	s.net.Run(30 * time.Minute)
	if m.Ephemeral() || changes != 0 {
		t.Fatalf("ephemeral %v, %d changes", m.Ephemeral(), changes)
	}
	moved := netip.MustParseAddr("10.77.0.1")
	m.host.SetAddrs(moved)
	s.net.Run(TickInterval + time.Second)
	if changes != 1 || updates == 0 || m.Host() != moved || !m.Ephemeral() {
		t.Fatalf("%d changes, %d updates, host %v, ephemeral %v", changes, updates, m.Host(), m.Ephemeral())
	}
	s.net.Run(time.Minute)
	if m.Host() != moved || m.address.sampler.Len() < 9 {
		t.Errorf("host %v after %d samples: not every node was asked again", m.Host(), m.address.sampler.Len())
	}
	s.net.Run(70 * time.Minute)
	if self, ok := m.ID(); !ok || self != id.NodeIDOf(netip.AddrPortFrom(moved, implicitPort)) {
		t.Errorf("an hour later: id %v %v", self, ok)
	}
}

// A NAT gives a machine that slept another port at the same host. Few nodes are known, so the samples from before outvote the new ones
// for half an hour, if they stay.
func TestNewPortIsNoticedAfterASleep(t *testing.T) {
	for _, tt := range []struct {
		name  string
		liars int // of eight nodes
		want  uint16
	}{{"all nodes see the same", 0, 7000}, {"one of them lies", 1, 7000}, {"each sees another", 8, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			var told []netip.AddrPort
			l := newLab(t, Config{})
			l.onEvent(EventAddress, func(v Event) { told = append(told, v.Addr) })
			l.net.Run(time.Second)
			peers := l.peersOf(8, empty)
			for _, p := range peers {
				p.port = 6000
				l.do(func() { l.Ping(p.addr, nil, nil, nil) })
			}
			l.net.Run(calm)
			if l.Addr().Port() != 6000 {
				t.Fatalf("address %v", l.Addr())
			}
			for i, p := range peers {
				p.port = 7000
				if i < tt.liars {
					p.port += uint16(i + 1)
				}
			}
			l.do(func() { l.upkeep.lastTick -= 60_000_000_000 }) // the clock went on while no timer fired
			l.net.Run(TickInterval + time.Second)
			if got := l.Addr(); got.Port() != tt.want || got.Addr() != us.Addr() {
				t.Errorf("address %v", got)
			}
			told = nil
			l.net.Run(time.Hour)
			if got := l.Addr().Port(); got != tt.want || len(told) > 0 {
				t.Errorf("an hour later port %d, told %v", got, told)
			}
		})
	}
}

func TestNewPublicAddressOfANATIsNoticedByTheNextAnswer(t *testing.T) {
	moved := netip.MustParseAddr("203.0.113.99")
	tests := []struct {
		name  string
		liars int // of five nodes
		moves bool
	}{
		{"all nodes see another host", 5, true},
		{"one of them does", 1, false},
		{"three of them do", 3, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var told []netip.AddrPort
			l := newLab(t, Config{})
			l.onEvent(EventAddress, func(v Event) { told = append(told, v.Addr) })
			l.net.Run(time.Second)
			peers := l.peersOf(5, empty)
			for _, p := range peers {
				l.do(func() { l.Ping(p.addr, nil, nil, nil) })
			}
			l.net.Run(calm)
			if l.Host() != us.Addr() {
				t.Fatalf("host %v", l.Host())
			}
			told = nil
			for _, p := range peers[:tt.liars] {
				p.sees = moved
			}
			l.do(func() { l.Ping(peers[0].addr, nil, nil, nil) })
			l.net.Run(time.Second)
			if got := l.Host() == moved; got != tt.moves || len(told) > 1 || (len(told) == 1) != tt.moves {
				t.Errorf("host %v, told %v", l.Host(), told)
			}
			asked := 0
			for _, p := range peers {
				asked += len(p.got)
			}
			// However often answers differ, no node is asked again for a while.
			for range 10 {
				l.do(func() { l.Ping(peers[0].addr, nil, nil, nil) })
				l.net.Run(100 * time.Millisecond)
			}
			if tt.moves {
				return
			}
			again := -10
			for _, p := range peers {
				again += len(p.got)
			}
			if again != asked {
				t.Errorf("%d more packets", again-asked)
			}
		})
	}
}

// Where few nodes are known, one more sample that differs makes the samples say nothing. The answer that brings
// it must be judged by what was known before.
func TestNewPublicAddressIsNoticedByTheFirstAnswerOfANewNode(t *testing.T) {
	moved := netip.MustParseAddr("203.0.113.99")
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	peers := l.peersOf(2, empty)
	for _, p := range peers {
		l.do(func() { l.Ping(p.addr, nil, nil, nil) })
	}
	l.net.Run(calm)
	if l.Host() != us.Addr() || l.address.sampler.Len() != 2 {
		t.Fatalf("host %v after %d samples", l.Host(), l.address.sampler.Len())
	}
	late := l.peer(empty)
	for _, p := range l.peers {
		p.sees = moved
	}
	l.do(func() { l.Ping(late.addr, nil, nil, nil) })
	l.net.Run(time.Second)
	if l.Host() != moved {
		t.Errorf("host %v", l.Host())
	}
}

// Samples from before a move and from after it say nothing together. That must not be the end of asking.
func TestMoveIsNoticedWhileTheSamplesSayNothing(t *testing.T) {
	moved := netip.MustParseAddr("203.0.113.99")
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	peers := l.peersOf(2, empty)
	for _, p := range peers {
		l.do(func() { l.Ping(p.addr, nil, nil, nil) })
	}
	l.net.Run(calm)
	for _, p := range peers {
		p.answer = silent
	}
	for range 3 {
		p := l.peer(empty)
		p.sees = moved
		l.do(func() { l.Ping(p.addr, nil, nil, nil) })
		l.net.Run(time.Second)
		if l.Host().IsValid() {
			t.Fatalf("host %v, want samples that contradict each other", l.Host())
		}
	}
	l.net.Run(calm)
	l.do(func() { l.Ping(l.peers[len(l.peers)-1].addr, nil, nil, nil) })
	l.net.Run(time.Second)
	if l.Host() != moved {
		t.Errorf("host %v, want %v", l.Host(), moved)
	}
}

func TestSamplesThatContradictEachOtherAreTakenAnewWhereNothingMoved(t *testing.T) {
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	peers := l.peersOf(2, empty)
	for _, p := range peers {
		l.do(func() { l.Ping(p.addr, nil, nil, nil) })
	}
	l.net.Run(calm)
	liar := l.peer(empty)
	liar.sees = netip.MustParseAddr("203.0.113.99")
	tick := l.nodes.tick
	l.do(func() { l.Ping(liar.addr, nil, nil, nil) })
	l.net.Run(time.Second)
	if l.Host() != us.Addr() || l.nodes.tick-tick > 1 {
		t.Errorf("host %v, want %v; tick %d became %d: as after a move", l.Host(), us.Addr(), tick, l.nodes.tick)
	}
}

// A node that wakes reports it when the network has woken, too.
func TestSleeperIsAwakeWhenANodeAnswers(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprint("deaf=", deaf), func(t *testing.T) {
			s := newSwarm(t, simnet.Config{Seed: 10, Link: link})
			s.grow(9)
			m := s.add(Config{Mode: Ephemeral})
			s.net.Run(time.Minute)
			woken := 0
			m.onEvent(EventAwake, func(Event) { woken++ })
			m.host.Sleep()
			s.net.Run(2 * time.Minute)
			if deaf {
				var others []*simnet.Host
				for _, n := range s.nodes[:10] {
					others = append(others, n.host)
				}
				s.net.Partition([]*simnet.Host{m.host}, others)
			}
			m.host.Wake()
			s.net.Run(TickInterval)
			if deaf {
				s.net.Run(10 * time.Second)
				if woken != 0 {
					t.Fatal("awake, though no node answers")
				}
				s.net.Heal()
				s.net.Run(2 * TickInterval)
			}
			if woken != 1 {
				t.Errorf("woken %d times", woken)
			}
		})
	}
}

// calm is long enough for an endpoint to ask again whether its address has moved.
const calm = time.Duration(2*moveInterval) * TickInterval

func TestForcedPersistentNodeTakesAnIDThatFitsItsNewAddress(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 18, Link: link})
	s.grow(9)
	m := s.nodes[4]
	before, _ := m.ID()
	moved := netip.MustParseAddr("10.77.0.1")
	m.host.SetAddrs(moved)
	s.net.Run(TickInterval + time.Second)
	self, ok := m.ID()
	if !ok || self == before || self != id.NodeIDOf(netip.AddrPortFrom(moved, implicitPort)) || m.persistent != 2 {
		t.Errorf("id %v %v, was %v, told %d times", self, ok, before, m.persistent)
	}
}

func TestInterfacesThatComeAndGoDoNotCostPersistence(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 14, Link: link})
	s.grow(9)
	m := s.add(Config{})
	s.net.Run(30 * time.Minute)
	changes := 0
	m.onEvent(EventInterfaces, func(Event) { changes++ })
	m.host.SetAddrs(m.host.Addr(), netip.MustParseAddr("10.88.0.1"))
	s.net.Run(time.Minute)
	if changes != 1 || m.Ephemeral() {
		t.Errorf("%d changes, ephemeral %v", changes, m.Ephemeral())
	}
}

func TestNodeNoticesThatItIsOffline(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 15, Link: link})
	s.grow(29)
	m := s.add(Config{Mode: Ephemeral})
	s.net.Run(time.Minute)
	var updates []string
	m.onEvent(EventNetwork, func(v Event) { updates = append(updates, fmt.Sprint(v.Online, v.Degraded)) })
	busy := func(d time.Duration) { // the node is in use: idle ticks show nothing
		for range int(d / TickInterval) {
			m.do(func() {
				for i := range 8 {
					m.Ping(netip.AddrPortFrom(addrOf(i), implicitPort), nil, nil, nil)
				}
			})
			s.net.Run(TickInterval)
		}
	}
	busy(time.Minute)
	if !m.Online() || m.Degraded() || updates != nil {
		t.Fatalf("online %v, degraded %v, updates %v", m.Online(), m.Degraded(), updates)
	}
	var others []*simnet.Host
	for _, n := range s.nodes[:30] {
		others = append(others, n.host)
	}
	s.net.Partition([]*simnet.Host{m.host}, others)
	busy(time.Minute)
	if m.Online() || m.Degraded() {
		t.Errorf("cut off: online %v, degraded %v", m.Online(), m.Degraded())
	}
	s.net.Heal()
	busy(time.Minute)
	if !m.Online() || m.Degraded() {
		t.Errorf("healed: online %v, degraded %v", m.Online(), m.Degraded())
	}
	if !slices.Equal(updates, []string{"false false", "true false"}) {
		t.Errorf("updates %v", updates)
	}
}

// In a network of one other node, an answer of it that was false, or changed on its way, is not believed for half an hour.
func TestOneFalseAnswerOfTheOnlyNodeIsCorrected(t *testing.T) {
	p0 := netip.MustParseAddrPort("10.0.0.1:49737")
	l := newLab(t, Config{Bootstrap: []Bootstrap{BootstrapAddr(p0)}, Mode: Ephemeral})
	p := l.peerAt(p0, empty)
	p.sees = netip.MustParseAddr("84.128.0.2")
	l.net.Run(2 * time.Second)
	if l.Host() != p.sees {
		t.Fatalf("we are at %v", l.Host())
	}
	p.sees = netip.Addr{}
	l.net.Run(2 * time.Minute)
	if l.Host() != us.Addr() {
		t.Errorf("two minutes later we are at %v, want %v", l.Host(), us.Addr())
	}
}
