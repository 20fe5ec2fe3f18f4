package rpc

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/nat"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
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

// probed makes a lab in which five nodes know us and the firewall probe is about to run.
func probed(t *testing.T, answer func(p *peer, m wire.Request, l *lab)) *lab {
	t.Helper()
	l := newLab(t, Config{})
	l.net.Run(time.Second)
	for _, p := range l.peersOf(5, silent) {
		n := l.learned(p)
		n.Sampled = l.nodes.tick
		p.answer = func(m wire.Request) *wire.Response {
			answer(p, m, l)
			return nil
		}
	}
	// They see the client socket as one address.
	l.do(func() {
		seen := netip.AddrPortFrom(us.Addr(), l.ClientSocket().LocalAddr().Port())
		l.address.sampler = new(nat.Sampler)
		for range 5 {
			l.sample(seen, netip.AddrPort{})
		}
	})
	return l
}

func TestFirewallProbeBelievesOnlyWhatReachesTheServerSocket(t *testing.T) {
	tests := []struct {
		name string
		// to is the destination of the answer of the i-th node, seen its content.
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
			l.do(func() { l.updateState(persistence, func(c bool) { changed = append(changed, c) }) })
			l.net.Run(10 * time.Second)
			if !slices.Equal(changed, []bool{tt.reachable}) || l.Firewalled() == tt.reachable || l.Ephemeral() == tt.reachable {
				t.Errorf("changed %v, firewalled %v, ephemeral %v", changed, l.Firewalled(), l.Ephemeral())
			}
			if len(l.standing.probes) != 0 {
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
		l.updateState(persistence, func(c bool) { changed = c })
		for range 16 {
			l.sample(netip.AddrPortFrom(us.Addr(), 1), netip.AddrPort{}) // the client socket's mapping has moved
		}
	})
	l.net.Run(10 * time.Second)
	if changed || !l.Ephemeral() || l.Firewalled() {
		t.Errorf("changed %v, ephemeral %v, firewalled %v", changed, l.Ephemeral(), l.Firewalled())
	}
}

func TestFirewalledNodeHasNoRemoteAddress(t *testing.T) {
	l := newLab(t, Config{})
	l.do(func() { l.sample(l.atServer(), netip.AddrPort{}) }) // a node saw the server socket
	if addr, ok := l.RemoteAddr(); ok {
		t.Errorf("remote address %v", addr)
	}
}
