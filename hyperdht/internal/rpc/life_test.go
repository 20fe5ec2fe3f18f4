package rpc

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

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
		if slices.Contains(n.Nodes(), netip.AddrPortFrom(m.host.Addr(), implicitPort)) {
			t.Errorf("node %d knows the ephemeral node", i)
		}
	}
	s.net.Run(3 * time.Minute)
	addr := netip.AddrPortFrom(m.host.Addr(), implicitPort)
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

func TestServerSocketTakesTheNamedPortOrFailsAndABootstrapPortOnlyIfNamed(t *testing.T) {
	tests := []struct {
		name   string
		cfg    Config
		taken  []uint16
		want   uint16 // 0 is any
		failed bool
	}{
		{name: "none named", want: 49637},
		{name: "the first taken", taken: []uint16{49637, 49638}, want: 49639},
		{name: "all of them taken", taken: []uint16{49637, 49638, 49639, 49640, 49641}},
		{name: "bootstrap nodes have them", cfg: Config{Bootstrap: []Bootstrap{{Name: "b", Port: 49637}, {Name: "b", Port: 49638}}}, want: 49639},
		{name: "named", cfg: Config{Listen: netip.MustParseAddrPort("203.0.113.7:1000")}, want: 1000},
		{name: "named taken", cfg: Config{Listen: netip.MustParseAddrPort("203.0.113.7:1000")}, taken: []uint16{1000}, failed: true},
		{name: "preset", cfg: Config{PublicAddr: us}, want: us.Port()},
		{name: "preset taken", cfg: Config{PublicAddr: us}, taken: []uint16{us.Port()}, failed: true},
		{name: "last port", cfg: Config{Listen: netip.MustParseAddrPort("203.0.113.7:65535")}, taken: []uint16{65535}, failed: true},
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
				var listen *ListenError
				if !errors.As(err, &listen) || listen.Addr.Port() != tt.taken[0] || !strings.Contains(err.Error(), fmt.Sprint(tt.taken[0])) {
					t.Errorf("error %v does not name the port", err)
				}
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

func TestSuspendingForgetsTheWindow(t *testing.T) {
	l := newLab(t, Config{})
	l.do(func() {
		for range 3 {
			l.Request(RequestOptions{To: client, Retries: NoRetry}, nil)
		}
	})
	l.net.Run(drainInterval) // what is in an old slot stays counted when calls end
	l.do(l.Suspend)
	if w := l.calls.window; w != (window{drained: w.drained}) {
		t.Errorf("window %+v", w)
	}
}

func TestResumeTakesAnOddPortAgain(t *testing.T) {
	net := simnet.New(simnet.Config{})
	h := net.AddHost("us", us.Addr())
	var taken []host.Socket
	for port := range uint16(implicitPorts) {
		s, err := h.OpenSocket(netip.AddrPortFrom(us.Addr(), implicitPort+port))
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
		m.Ping(netip.AddrPortFrom(addrOf(1), implicitPort), nil, nil, func(_ Reply, err error) { held = err })
		m.Suspend() // again, which fails no request that waits for Resume
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

func TestForcedPersistentNodeTriesAgain(t *testing.T) {
	open := false
	l := newLab(t, Config{Mode: Persistent, Firewalled: &open})
	l.net.Run(time.Second)
	if !l.Ephemeral() {
		t.Fatal("persistent without other nodes")
	}
	for _, p := range l.peersOf(3, empty) {
		l.do(func() { l.Ping(p.addr, nil, nil, nil) })
	}
	l.net.Run(21 * time.Minute)
	if l.Ephemeral() {
		t.Error("still ephemeral after twenty minutes with others")
	}
}

// Others take an id that does not fit the address that they see for none: one that fits the public address would not. With an address that
// fits, the node tries again in the same network.
func TestNodeIsPersistentOnceItsPublicAddressIsTheOneThatOthersSee(t *testing.T) {
	for name, before := range map[string]string{
		"a port forwarded elsewhere": "198.51.100.7:443",
		"none, firewalled":           "",
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, Config{})
			l.net.Run(time.Second)
			public := func(addr netip.AddrPort) {
				l.do(func() {
					if err := l.SetPublicAddr(addr); err != nil {
						t.Fatal(err)
					}
				})
			}
			if before != "" {
				public(netip.MustParseAddrPort(before))
			}
			for _, p := range l.peersOf(3, empty) {
				l.do(func() { l.Ping(p.addr, nil, nil, nil) })
			}
			l.net.Run(stableTicks*TickInterval + time.Minute)
			if !l.Ephemeral() || l.Firewalled() != (before == "") || l.standing.stableTicks < stableTicks {
				t.Errorf("first: ephemeral %v, firewalled %v, %d ticks to the next attempt", l.Ephemeral(), l.Firewalled(), l.standing.stableTicks)
			}
			public(l.atServer())
			l.net.Run(moreStableTicks * TickInterval)
			if self, ok := l.ID(); !ok || self != id.NodeIDOf(l.atServer()) {
				t.Errorf("where others see it: id %v %v", self, ok)
			}
		})
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

// A bootstrap node that is off is asked, and not waited for where others answer: not at the start, and not later.
func TestLookupsDoNotWaitForABootstrapNodeThatIsOff(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 18, Link: link})
	s.grow(9)
	entry, off := BootstrapAddr(s.nodes[0].Nodes()[0]), BootstrapAddr(netip.AddrPortFrom(addrOf(200), DefaultPort))
	m := s.add(Config{Mode: Ephemeral, Bootstrap: []Bootstrap{off, entry}})
	s.net.Run(20 * time.Second) // the first lookup knows no other node
	if !m.Bootstrapped() || m.Len() < 8 {
		t.Fatalf("bootstrapped %v, %d nodes", m.Bootstrapped(), m.Len())
	}
	done, began := time.Duration(0), s.net.Now()
	m.do(func() {
		m.FindNode(id.Target{1}, QueryConfig{OnDone: func(error) { done = s.net.Now() - began }})
	})
	s.net.Run(10 * time.Second)
	if done == 0 || done > 500*time.Millisecond {
		t.Errorf("a lookup takes %v", done)
	}
}

// Nodes of an earlier run are a way into the network without its bootstrap nodes, and those that are gone cost a second.
func TestKnownNodesReplaceBootstrapping(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 17, Link: link})
	s.grow(9)
	known := s.nodes[1].Nodes()
	for i := range 8 {
		known = slices.Insert(known, i, netip.AddrPortFrom(addrOf(200+i), DefaultPort))
	}
	m := s.add(Config{Mode: Ephemeral, Nodes: known, Bootstrap: []Bootstrap{}})
	s.net.Run(1500 * time.Millisecond)
	if !m.Bootstrapped() || m.Len() != 10 {
		t.Errorf("bootstrapped %v, %d nodes", m.Bootstrapped(), m.Len())
	}
}

// Where there is nothing to find out, nothing is asked and nothing has changed.
func TestStateIsNotLookedForWhereItIsKnown(t *testing.T) {
	for name, tc := range map[string]struct {
		goal  goal
		known func(l *lab)
	}{
		"closed":     {persistence, func(l *lab) { l.Close() }},
		"reachable":  {reachability, func(l *lab) { l.standing.access = reachable }},
		"persistent": {persistence, func(l *lab) { l.standing.access, l.standing.role = reachable, persistent }},
	} {
		l := newLab(t, Config{})
		l.net.Run(time.Second)
		for i := range 3 { // else it would not know what to look for
			l.do(func() { l.AddSample(l.ClientSocket(), netip.AddrPortFrom(us.Addr(), 1000), responderAt(i)) })
		}
		called, changed := false, true
		l.do(func() {
			tc.known(l)
			l.updateState(tc.goal, func(c bool) { called, changed = true, c })
		})
		if !called || changed {
			t.Errorf("%s: called %v with %v", name, called, changed)
		}
	}
}

func TestSizesTellOfAllThatGrows(t *testing.T) {
	l := newLab(t, Config{AdaptiveTimeout: true})
	l.net.Run(time.Second)
	told := map[string]bool{}
	l.do(func() {
		l.Sizes(func(what string, held, most int) {
			told[what] = true
			if held > most {
				t.Errorf("%s: %d, at most %d", what, held, most)
			}
		})
	})
	for _, what := range []string{"requests under way", "delayed answers", "nodes in the table", "former nodes", "round trips"} {
		if !told[what] {
			t.Errorf("no size of %s", what)
		}
	}
}
