package rpc

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/nat"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// wallOff lets only answers through to a member: datagrams from addresses and to ports it has sent
// between before, as a firewall does.
func (s *swarm) wallOff(m *member) {
	home := m.host.Addr()
	type flow struct{ in, out netip.AddrPort }
	open := make(map[flow]bool)
	s.net.SetFilter(func(d simnet.Datagram) bool {
		if d.From.Addr() == home {
			open[flow{d.From, d.To}] = true
		}
		return d.To.Addr() != home || open[flow{d.To, d.From}]
	})
}

func TestAdaptiveNodeBecomesPersistentAfterTwentyMinutes(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 2, Link: link})
	s.grow(9)
	m := s.add(Config{NoQuickFirewall: true})
	s.net.Run(19 * time.Minute)
	if !m.Ephemeral() || !m.Firewalled() {
		t.Fatalf("after 19 minutes: ephemeral %v, firewalled %v", m.Ephemeral(), m.Firewalled())
	}
	if _, ok := m.ID(); ok {
		t.Error("an ephemeral node has an id")
	}
	if _, ok := m.RemoteAddr(); ok {
		t.Error("a firewalled node has a remote address")
	}
	if m.Socket() != m.ClientSocket() {
		t.Error("main socket is not the client socket")
	}
	for i, n := range s.nodes[:10] {
		if slices.Contains(n.Nodes(), netip.AddrPortFrom(m.host.Addr(), DefaultPort)) {
			t.Errorf("node %d knows the ephemeral node", i)
		}
	}
	s.net.Run(3 * time.Minute)
	addr := netip.AddrPortFrom(m.host.Addr(), DefaultPort)
	if m.Ephemeral() || m.Firewalled() || m.persistent != 1 {
		t.Fatalf("after 22 minutes: ephemeral %v, firewalled %v, told %d times", m.Ephemeral(), m.Firewalled(), m.persistent)
	}
	if self, ok := m.ID(); !ok || self != id.NodeIDOf(addr) || self != m.TableID() {
		t.Errorf("id %v %v, want that of %v", self, ok, addr)
	}
	if got, ok := m.RemoteAddr(); !ok || got != addr {
		t.Errorf("remote address %v %v", got, ok)
	}
	if m.Socket() != m.ServerSocket() {
		t.Error("main socket is not the server socket")
	}
	if m.Len() < 9 {
		t.Errorf("knows %d nodes after its table was rearranged", m.Len())
	}
	known := 0
	for _, n := range s.nodes[:10] {
		if slices.Contains(n.Nodes(), addr) {
			known++
		}
	}
	if known != 10 {
		t.Errorf("%d of 10 nodes know the new one", known)
	}
}

func TestFirewalledNodeStaysEphemeralAndKeepsItsTable(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 3, Link: link})
	s.grow(9)
	m := s.add(Config{})
	s.wallOff(m)
	s.net.Run(3 * time.Hour)
	if !m.Ephemeral() || !m.Firewalled() || m.persistent != 0 {
		t.Errorf("ephemeral %v, firewalled %v", m.Ephemeral(), m.Firewalled())
	}
	if want := netip.AddrPortFrom(m.host.Addr(), m.ClientSocket().LocalAddr().Port()); m.Addr() != want {
		t.Errorf("address %v, want that of the client socket, %v", m.Addr(), want)
	}
	if m.Len() != 10 {
		t.Errorf("knows %d nodes, want all: that they cannot reach us says nothing about them", m.Len())
	}
	// The quick probe while bootstrapping, and one probe: a network that failed it is not probed again.
	if n := m.Stats().Commands[wire.CmdPingNAT].Sent; n != 1+probeNodes {
		t.Errorf("%d nodes were asked to reach us, want %d", n, 1+probeNodes)
	}
}

func TestForcedPersistentNodeProbesAtOnce(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 4, Link: link})
	s.grow(9)
	m := s.add(Config{Mode: Persistent})
	s.net.Run(10 * time.Second)
	if m.Ephemeral() || m.Firewalled() || !m.Bootstrapped() || m.ready != 1 {
		t.Errorf("ephemeral %v, firewalled %v, ready %d", m.Ephemeral(), m.Firewalled(), m.ready)
	}
	walled := s.add(Config{Mode: Persistent})
	s.wallOff(walled)
	s.net.Run(30 * time.Second)
	if !walled.Ephemeral() || !walled.Firewalled() || walled.ready != 1 {
		t.Errorf("behind a firewall: ephemeral %v, firewalled %v, ready %d", walled.Ephemeral(), walled.Firewalled(), walled.ready)
	}
}

func TestQuickProbeOpensButDoesNotPersist(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 5, Link: simnet.Link{Delay: 5 * time.Millisecond}})
	s.grow(30)
	// The probe must end before the first lookup does: its first answer comes from a near node.
	far := simnet.Link{Delay: 300 * time.Millisecond}
	m := &member{host: s.net.AddHost("far", netip.MustParseAddr("10.9.0.1"))}
	for _, n := range s.nodes[1:] {
		s.net.SetLinks(m.host, n.host, far)
	}
	m.do(func() {
		var err error
		m.Endpoint, err = New(m.host, Config{Bootstrap: []Bootstrap{BootstrapAddr(netip.AddrPortFrom(addrOf(0), DefaultPort))}})
		if err != nil {
			t.Fatal(err)
		}
	})
	s.net.Run(20 * time.Second)
	if !m.Ephemeral() || m.Firewalled() || !m.Bootstrapped() {
		t.Errorf("ephemeral %v, firewalled %v, bootstrapped %v", m.Ephemeral(), m.Firewalled(), m.Bootstrapped())
	}
}

func TestPinnedNodeStaysEphemeral(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 6, Link: link})
	s.grow(9)
	m := s.add(Config{Mode: Ephemeral})
	s.net.Run(2 * time.Hour)
	if !m.Ephemeral() || m.persistent != 0 {
		t.Error("became persistent")
	}
}

func TestPersistentNodeAloneStaysEphemeral(t *testing.T) {
	open := false
	l := newLab(t, Config{Mode: Persistent, Firewalled: &open})
	l.net.Run(time.Hour)
	if !l.Ephemeral() || !l.Bootstrapped() {
		t.Errorf("ephemeral %v, bootstrapped %v", l.Ephemeral(), l.Bootstrapped())
	}
}

func TestPresetBootstrapperIsPersistentAlone(t *testing.T) {
	l := newLab(t, Config{PublicAddr: us})
	l.net.Run(time.Second)
	if self, ok := l.ID(); !ok || self != id.NodeIDOf(us) || l.Firewalled() {
		t.Errorf("id %v %v, firewalled %v", self, ok, l.Firewalled())
	}
	if addr, ok := l.RemoteAddr(); !ok || addr != us {
		t.Errorf("remote address %v %v", addr, ok)
	}
}

func TestPresetAddressMustBeUsable(t *testing.T) {
	for _, text := range []string{"0.0.0.0:1", "203.0.113.7:0", "[2001:db8::1]:1"} {
		h := simnet.New(simnet.Config{}).AddHost("us", us.Addr())
		if _, err := New(h, Config{PublicAddr: netip.MustParseAddrPort(text)}); err == nil {
			t.Errorf("%s was accepted", text)
		}
		if h.Sockets() != 0 {
			t.Errorf("%s: %d sockets left open", text, h.Sockets())
		}
	}
}

func TestServerSocketTakesTheNextFreePort(t *testing.T) {
	tests := []struct {
		name   string
		cfg    Config
		taken  []uint16
		want   uint16 // 0 is any
		failed bool
	}{
		{name: "default", want: 49737},
		{name: "default taken", taken: []uint16{49737, 49738}, want: 49739},
		{name: "all defaults taken", taken: []uint16{49737, 49738, 49739, 49740, 49741}},
		{name: "named", cfg: Config{Listen: netip.MustParseAddrPort("203.0.113.7:1000")}, want: 1000},
		{name: "named taken", cfg: Config{Listen: netip.MustParseAddrPort("203.0.113.7:1000")}, taken: []uint16{1000}, want: 1001},
		{name: "preset", cfg: Config{PublicAddr: us}, want: us.Port()},
		{name: "preset taken", cfg: Config{PublicAddr: us}, taken: []uint16{us.Port()}, failed: true},
		{name: "last port", cfg: Config{Listen: netip.MustParseAddrPort("203.0.113.7:65535")}, taken: []uint16{65535}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := simnet.New(simnet.Config{}).AddHost("us", us.Addr())
			for _, port := range tt.taken {
				if _, err := h.OpenSocket(netip.AddrPortFrom(us.Addr(), port)); err != nil {
					t.Fatal(err)
				}
			}
			e, err := New(h, tt.cfg)
			if (err != nil) != tt.failed {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				return
			}
			port := e.ServerSocket().LocalAddr().Port()
			if tt.want != 0 && port != tt.want || slices.Contains(tt.taken, port) {
				t.Errorf("port %d, want %d", port, tt.want)
			}
			if client := e.ClientSocket().LocalAddr().Port(); client == port {
				t.Errorf("both sockets on port %d", port)
			}
		})
	}
}

func TestDeadNodesAreForgotten(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 7, Link: link})
	s.grow(29)
	dead := make(map[netip.AddrPort]bool)
	for _, m := range s.nodes[20:] {
		addr, _ := m.RemoteAddr()
		dead[addr] = true
		m.host.Crash()
	}
	s.net.Run(10 * time.Minute)
	for i, m := range s.nodes[:20] {
		for _, addr := range m.Nodes() {
			if dead[addr] {
				t.Errorf("node %d still knows %v", i, addr)
			}
		}
	}
	seeker := s.add(Config{Mode: Ephemeral})
	s.net.Run(30 * time.Second)
	start := s.net.Now()
	got := s.find(seeker, target)
	if want := s.nearest(target, 20); !slices.Equal(got, want) {
		t.Errorf("found %v\nwant %v", got, want)
	}
	if took := s.net.Now() - start; took > time.Second {
		t.Errorf("lookup took %v", took)
	}
}

func TestLookupsSurviveLoss(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 8, Link: simnet.Link{Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.2}})
	s.grow(29)
	m := s.add(Config{Mode: Ephemeral})
	s.net.Run(time.Minute)
	found := 0
	for i := range 10 {
		target := id.Target(id.Hash([]byte{byte(i)}))
		got := s.find(m, target)
		if len(got) != 20 {
			t.Errorf("target %d: %d results", i, len(got))
		}
		for _, addr := range s.nearest(target, 10) {
			if slices.Contains(got, addr) {
				found++
			}
		}
	}
	// A third of all round trips fails at first, and a lookup does not wait for the last slow node.
	if found < 70 {
		t.Errorf("%d of 100 nearest nodes found", found)
	}
}

func TestSameSeedIsTheSameRun(t *testing.T) {
	run := func() (uint64, string) {
		s := newSwarm(t, simnet.Config{Seed: 9, Link: simnet.Link{Delay: 10 * time.Millisecond, Spread: 40 * time.Millisecond, Loss: 0.1}})
		s.grow(19)
		m := s.add(Config{})
		s.nodes[5].host.Crash()
		s.net.Run(10 * time.Minute)
		return s.net.Hash(), fmt.Sprint(m.Nodes(), m.Stats())
	}
	hash, state := run()
	if again, stateAgain := run(); again != hash || stateAgain != state {
		t.Errorf("two runs differ: %x %x\n%s\n%s", hash, again, state, stateAgain)
	}
}

func TestSleepMakesThePersistentNodeEphemeralUntilItIsStableAgain(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 10, Link: link})
	s.grow(9)
	m := s.add(Config{})
	s.net.Run(30 * time.Minute)
	if m.Ephemeral() {
		t.Fatal("not persistent")
	}
	woken := 0
	m.cfg.OnWakeup = func() { woken++ }
	tick := m.tick
	m.do(func() { m.lastTick -= 60_000_000_000 }) // the clock went on while no timer fired
	s.net.Run(TickInterval + time.Second)
	if woken != 1 || !m.Ephemeral() || m.Firewalled() {
		t.Errorf("woken %d times, ephemeral %v, firewalled %v", woken, m.Ephemeral(), m.Firewalled())
	}
	if m.tick-tick < 2*oldNode || m.tick&7 != 6 {
		t.Errorf("tick went from %d to %d", tick, m.tick)
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
		l.do(func() { l.tick, l.refreshTicks = 64+residue, 50 })
		n := l.learned(p)
		l.do(l.wakeUp)
		if l.tick&7 != 6 || l.tick-n.Seen < 2*oldNode-1 || l.tick-n.Seen > 2*oldNode+8 {
			t.Errorf("tick %d became %d", n.Seen, l.tick)
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

// probed makes a lab in which five nodes know us and the firewall probe is about to run.
func probed(t *testing.T, answer func(p *peer, m wire.Request, l *lab)) *lab {
	t.Helper()
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	for _, p := range l.peersOf(5, silent) {
		n := l.learned(p)
		n.Sampled = l.tick
		p.answer = func(m wire.Request) *wire.Response {
			answer(p, m, l)
			return nil
		}
	}
	// They see the client socket as one address.
	l.do(func() {
		seen := netip.AddrPortFrom(us.Addr(), l.ClientSocket().LocalAddr().Port())
		l.nat = new(nat.Sampler)
		for range 5 {
			l.sample(seen)
		}
	})
	return l
}

func TestFirewallProbeBelievesOnlyWhatReachesTheServerSocket(t *testing.T) {
	tests := []struct {
		name string
		// to is where the answer of the i-th node goes, seen what it says.
		to        func(l *lab, i int) netip.AddrPort
		seen      func(l *lab, i int) netip.AddrPort
		reachable bool
	}{
		{name: "all reach it", reachable: true},
		{name: "three reach it", reachable: true, to: func(l *lab, i int) netip.AddrPort {
			if i >= 3 {
				return netip.AddrPortFrom(us.Addr(), 1)
			}
			return l.atServer()
		}},
		{name: "two reach it", to: func(l *lab, i int) netip.AddrPort {
			if i >= 2 {
				return netip.AddrPortFrom(us.Addr(), 1)
			}
			return l.atServer()
		}},
		{name: "all answer to the client socket", to: func(l *lab, i int) netip.AddrPort {
			return netip.AddrPortFrom(us.Addr(), l.ClientSocket().LocalAddr().Port())
		}},
		{name: "the port is another one outside", seen: func(l *lab, i int) netip.AddrPort {
			return netip.AddrPortFrom(us.Addr(), 1)
		}},
		{name: "the port differs from node to node", seen: func(l *lab, i int) netip.AddrPort {
			return netip.AddrPortFrom(us.Addr(), uint16(1000+i))
		}},
		{name: "the host is another one", seen: func(l *lab, i int) netip.AddrPort {
			return netip.AddrPortFrom(client.Addr(), l.atServer().Port())
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := 0
			l := probed(t, func(p *peer, m wire.Request, l *lab) {
				if m.Command != wire.CmdPingNAT || !m.Internal {
					return
				}
				to, seen := l.atServer(), l.atServer()
				if tt.to != nil {
					to = tt.to(l, i)
				}
				if tt.seen != nil {
					seen = tt.seen(l, i)
				}
				i++
				self := id.NodeIDOf(p.addr)
				r := wire.Response{TID: m.TID, To: seen, ID: &self}
				p.sock.Send(to, 0, r.Append(nil))
			})
			var changed []bool
			l.do(func() { l.updateState(false, func(c bool) { changed = append(changed, c) }) })
			l.net.Run(10 * time.Second)
			if !slices.Equal(changed, []bool{tt.reachable}) || l.Firewalled() == tt.reachable || l.Ephemeral() == tt.reachable {
				t.Errorf("changed %v, firewalled %v, ephemeral %v", changed, l.Firewalled(), l.Ephemeral())
			}
			if len(l.probes) != 0 {
				t.Error("probe still listens")
			}
		})
	}
}

func TestAddressThatChangesDuringTheProbeIsNotBelieved(t *testing.T) {
	l := probed(t, func(p *peer, m wire.Request, l *lab) {
		if m.Command == wire.CmdPingNAT && m.Internal {
			p.respond(m, l.atServer(), &wire.Response{})
		}
	})
	changed := true
	l.do(func() {
		l.updateState(false, func(c bool) { changed = c })
		for range 16 {
			l.sample(netip.AddrPortFrom(us.Addr(), 1)) // the client socket's mapping has moved
		}
	})
	l.net.Run(10 * time.Second)
	if changed || !l.Ephemeral() || l.Firewalled() {
		t.Errorf("changed %v, ephemeral %v, firewalled %v", changed, l.Ephemeral(), l.Firewalled())
	}
}

func TestFirewalledNodeHasNoRemoteAddress(t *testing.T) {
	l := newLab(t, Config{})
	l.do(func() { l.sample(l.atServer()) }) // somebody saw the server socket
	if addr, ok := l.RemoteAddr(); ok {
		t.Errorf("remote address %v", addr)
	}
}

func TestSuspendingForgetsTheWindow(t *testing.T) {
	l := newLab(t, Config{})
	l.do(func() {
		for range 3 {
			l.Request(Outgoing{To: client, Retries: NoRetry}, nil)
		}
	})
	l.net.Run(drainInterval) // what is in an old slot stays counted when calls end
	l.do(l.Suspend)
	if l.window != (window{}) {
		t.Errorf("window %+v", l.window)
	}
}

func TestResumeTakesAnOddPortAgain(t *testing.T) {
	net := simnet.New(simnet.Config{})
	h := net.AddHost("us", us.Addr())
	var taken []host.Socket
	for port := range uint16(defaultPorts) {
		s, err := h.OpenSocket(netip.AddrPortFrom(us.Addr(), DefaultPort+port))
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, s)
	}
	e, err := New(h, Config{})
	if err != nil {
		t.Fatal(err)
	}
	before := e.ServerSocket().LocalAddr()
	for _, s := range taken {
		s.Close()
	}
	e.Suspend()
	net.Run(time.Second)
	if err := e.Resume(); err != nil || e.ServerSocket().LocalAddr() != before {
		t.Errorf("%v, was on %v", err, before)
	}
}

func TestSuspendedEndpointIsSilentAndComesBackOnItsPorts(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 11, Link: link})
	s.grow(9)
	m := s.add(Config{})
	s.net.Run(30 * time.Minute)
	server, client := m.ServerSocket().LocalAddr(), m.ClientSocket().LocalAddr()
	var failed, held error = nil, errors.New("not called")
	m.do(func() {
		m.Ping(netip.AddrPortFrom(addrOf(1), 9), nil, nil, func(_ Reply, err error) { failed = err })
		m.Suspend()
		m.Suspend()
		if failed != nil {
			t.Error("callback inside Suspend")
		}
		m.Ping(netip.AddrPortFrom(addrOf(1), DefaultPort), nil, nil, func(_ Reply, err error) { held = err })
	})
	if m.host.Sockets() != 0 || m.host.Timers() != 0 || m.Socket() != nil {
		t.Errorf("suspended with %d sockets and %d timers", m.host.Sockets(), m.host.Timers())
	}
	s.net.Run(time.Hour)
	if !errors.Is(failed, ErrSuspended) {
		t.Errorf("call in flight: %v", failed)
	}
	if held == nil {
		t.Error("a request left while suspended")
	}
	m.do(func() {
		if err := m.Resume(); err != nil {
			t.Fatal(err)
		}
	})
	if m.ServerSocket().LocalAddr() != server || m.ClientSocket().LocalAddr() != client {
		t.Errorf("sockets on %v and %v, were on %v and %v", m.ServerSocket().LocalAddr(), m.ClientSocket().LocalAddr(), server, client)
	}
	if !m.Ephemeral() {
		t.Error("persistent right after resuming")
	}
	s.net.Run(time.Second)
	if held != nil {
		t.Errorf("request made while suspended: %v", held)
	}
	s.net.Run(70 * time.Minute)
	if m.Ephemeral() || m.Len() != 10 {
		t.Errorf("an hour later: ephemeral %v, %d nodes", m.Ephemeral(), m.Len())
	}
}

func TestClosedEndpointLeavesNothingBehind(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 12, Link: link})
	s.grow(9)
	m := s.add(Config{})
	s.net.Run(20 * time.Millisecond)
	m.do(m.Close)
	m.do(m.Close)
	if m.host.Sockets() != 0 || m.host.Timers() != 0 {
		t.Errorf("closed with %d sockets and %d timers", m.host.Sockets(), m.host.Timers())
	}
	s.net.Run(time.Minute)
	if m.host.Timers() != 0 || m.ready != 0 {
		t.Errorf("%d timers, ready %d times", m.host.Timers(), m.ready)
	}
	m.do(func() {
		if err := m.Resume(); err != nil || m.Socket() != nil {
			t.Errorf("resumed after closing: %v", err)
		}
		m.Suspend()
		m.NetworkChanged()
	})
}

func TestNewPublicAddressIsNoticedWithinSeconds(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 13, Link: link})
	s.grow(9)
	m := s.add(Config{})
	var changes, updates int
	m.cfg.OnNetworkChange = func() { changes++ }
	m.cfg.OnNetworkUpdate = func(online, degraded bool) { updates++ }
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
	if m.Host() != moved || m.nat.Len() < 9 {
		t.Errorf("host %v after %d samples: not every node was asked anew", m.Host(), m.nat.Len())
	}
	s.net.Run(70 * time.Minute)
	if self, ok := m.ID(); !ok || self != id.NodeIDOf(netip.AddrPortFrom(moved, DefaultPort)) {
		t.Errorf("an hour later: id %v %v", self, ok)
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
			l := newLab(t, Config{OnAddress: func(a netip.AddrPort) { told = append(told, a) }})
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
			// However often answers differ, nobody is asked again for a while.
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
	if !ok || self == before || self != id.NodeIDOf(netip.AddrPortFrom(moved, DefaultPort)) || m.persistent != 2 {
		t.Errorf("id %v %v, was %v, told %d times", self, ok, before, m.persistent)
	}
}

func TestForcedPersistentNodeTriesAgain(t *testing.T) {
	open := false
	l := newLab(t, Config{Mode: Persistent, Firewalled: &open})
	l.net.Run(time.Second)
	if !l.Ephemeral() {
		t.Fatal("persistent without anybody")
	}
	for _, p := range l.peersOf(3, empty) {
		l.do(func() { l.Ping(p.addr, nil, nil, nil) })
	}
	l.net.Run(21 * time.Minute)
	if l.Ephemeral() {
		t.Error("still ephemeral after twenty minutes with others")
	}
}

func TestInterfacesThatComeAndGoDoNotCostPersistence(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 14, Link: link})
	s.grow(9)
	m := s.add(Config{})
	s.net.Run(30 * time.Minute)
	changes := 0
	m.cfg.OnNetworkChange = func() { changes++ }
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
	m.cfg.OnNetworkUpdate = func(online, degraded bool) { updates = append(updates, fmt.Sprint(online, degraded)) }
	busy := func(d time.Duration) { // somebody uses the node: idle ticks say nothing
		for range int(d / TickInterval) {
			m.do(func() {
				for i := range 8 {
					m.Ping(netip.AddrPortFrom(addrOf(i), DefaultPort), nil, nil, nil)
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

func TestEmptyTableIsRefilledFromTheBootstrapNodes(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 16, Link: link})
	m := s.add(Config{Mode: Ephemeral})
	s.nodes[0].host.Crash()
	s.net.Run(time.Minute)
	if m.Len() != 0 || !m.Bootstrapped() {
		t.Fatalf("%d nodes, bootstrapped %v", m.Len(), m.Bootstrapped())
	}
	back := s.nodes[0].host.Restart()
	back.Do(func() {
		if _, err := New(back, Config{PublicAddr: netip.AddrPortFrom(addrOf(0), DefaultPort)}); err != nil {
			t.Fatal(err)
		}
	})
	s.net.Run(time.Minute)
	if m.Len() != 1 {
		t.Errorf("%d nodes, want the bootstrapper", m.Len())
	}
}

func TestKnownNodesReplaceBootstrapping(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 17, Link: link})
	s.grow(9)
	known := s.nodes[1].Nodes()
	m := s.add(Config{Mode: Ephemeral, Nodes: known, Bootstrap: []Bootstrap{}})
	if got := m.Nodes(); !slices.Equal(got, known) {
		t.Fatalf("starts with %v, want %v", got, known)
	}
	s.net.Run(10 * time.Second)
	if !m.Bootstrapped() || m.Len() != 10 {
		t.Errorf("bootstrapped %v, %d nodes", m.Bootstrapped(), m.Len())
	}
}
