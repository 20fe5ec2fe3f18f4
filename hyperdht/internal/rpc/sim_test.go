package rpc

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

// swarm is a DHT on a simulated internet. Its first node is a dedicated bootstrapper.
type swarm struct {
	t     testing.TB
	net   *simnet.Net
	nodes []*member
}

type member struct {
	*Endpoint
	host       *simnet.Host
	persistent int // OnPersistent calls
	ready      int
}

var link = simnet.Link{Delay: 10 * time.Millisecond, Spread: 40 * time.Millisecond}

func newSwarm(t testing.TB, cfg simnet.Config) *swarm {
	cfg.Scribble = true
	s := &swarm{t: t, net: simnet.New(cfg)}
	s.add(Config{PublicAddr: netip.AddrPortFrom(addrOf(0), DefaultPort)})
	return s
}

func addrOf(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
}

func (s *swarm) add(cfg Config) *member {
	s.t.Helper()
	i := len(s.nodes)
	m := &member{host: s.net.AddHost(fmt.Sprintf("node%d", i), addrOf(i))}
	if i > 0 && cfg.Bootstrap == nil {
		cfg.Bootstrap = []Bootstrap{BootstrapAddr(netip.AddrPortFrom(addrOf(0), DefaultPort))}
	}
	m.host.Do(func() {
		var err error
		if m.Endpoint, err = New(m.host, withApp(cfg)); err != nil {
			s.t.Fatal(err)
		}
		m.onEvent(EventPersistent, func(Event) { m.persistent++ })
		m.onEvent(EventReady, func(Event) { m.ready++ })
	})
	s.nodes = append(s.nodes, m)
	s.t.Cleanup(func() { m.Faults(func(what string) { s.t.Error(what) }) })
	return m
}

// grow adds persistent open nodes, one after the other, as a test network of the reference implementation is made.
func (s *swarm) grow(n int) {
	s.t.Helper()
	open := false
	for range n {
		m := s.add(Config{Mode: Persistent, Firewalled: &open})
		if !s.net.RunUntil(func() bool { return m.Bootstrapped() }, time.Minute) {
			s.t.Fatalf("node %d did not bootstrap", len(s.nodes)-1)
		}
	}
}

func (m *member) do(f func()) { m.host.Do(f) }

// find runs a lookup and returns the addresses of the nearest replies.
func (s *swarm) find(m *member, target id.Target) []netip.AddrPort {
	s.t.Helper()
	var list []netip.AddrPort
	done := false
	m.do(func() {
		var q *Query
		q = m.FindNode(target, QueryConfig{OnDone: func(err error) {
			done = true
			if err != nil {
				s.t.Errorf("lookup: %v", err)
			}
			for _, r := range q.Closest() {
				list = append(list, r.From)
			}
		}})
	})
	if !s.net.RunUntil(func() bool { return done }, time.Minute) {
		s.t.Fatal("lookup did not end")
	}
	return list
}

// nearest lists the expected result of a lookup: the persistent nodes that run, by distance.
func (s *swarm) nearest(target id.Target, n int) []netip.AddrPort {
	var list []netip.AddrPort
	var ids []id.NodeID
	for _, m := range s.nodes {
		self, ok := m.ID()
		if !ok || m.host.Down() || m.Closed() {
			continue
		}
		at := len(ids)
		for at > 0 && id.Closer(target, self, ids[at-1]) < 0 {
			at--
		}
		ids = append(ids, id.NodeID{})
		copy(ids[at+1:], ids[at:])
		ids[at] = self
		list = append(list, netip.AddrPort{})
		copy(list[at+1:], list[at:])
		addr, _ := m.RemoteAddr()
		list[at] = addr
	}
	return list[:min(n, len(list))]
}

var _ host.Host = (*simnet.Host)(nil)

func TestThirtyNodesBootstrapAndLookupsConverge(t *testing.T) {
	s := newSwarm(t, simnet.Config{Seed: 1, Link: link})
	s.grow(29)
	for i, m := range s.nodes {
		if m.ready != 1 || m.Ephemeral() || m.Firewalled() {
			t.Errorf("node %d: ready %d times, ephemeral %v, firewalled %v", i, m.ready, m.Ephemeral(), m.Firewalled())
		}
		want := netip.AddrPortFrom(addrOf(i), implicitPort)
		if i == 0 {
			want = netip.AddrPortFrom(addrOf(0), DefaultPort)
		}
		if addr, ok := m.RemoteAddr(); !ok || addr != want {
			t.Errorf("node %d: remote address %v %v", i, addr, ok)
		}
	}
	seeker := s.add(Config{Mode: Ephemeral})
	s.net.Run(5 * time.Second)
	for i := range 20 {
		target := id.Target(id.Hash([]byte{byte(i)}))
		got := s.find(seeker, target)
		if len(got) != 20 {
			t.Errorf("target %d: %d nodes found, want 20", i, len(got))
		}
		// Nodes answer in bucket order and lookups stop at the first node that is not closer, so only the
		// nearest half is exact.
		if want := s.nearest(target, 10); !slices.Equal(got[:10], want) {
			t.Errorf("target %d: found %v\nwant %v", i, got[:10], want)
		}
	}
}
