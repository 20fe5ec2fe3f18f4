package stun_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/stun"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

const dhtPort = 49737

// world is a private DHT whose first node is a dedicated bootstrap node.
type world struct {
	t     *testing.T
	net   *simnet.Net
	boots []netip.AddrPort
	nodes []*hyperdht.Node
	// servers are the STUN servers of peers.
	servers []string
}

// newWorld starts a DHT of some nodes. With respond the first one answers STUN, and is the server of peers.
func newWorld(t *testing.T, size int, respond bool, cfg simnet.Config) *world {
	t.Helper()
	if cfg.Link == (simnet.Link{}) {
		cfg.Link = simnet.Link{Delay: 10 * time.Millisecond, Spread: 20 * time.Millisecond}
	}
	cfg.Scribble = true
	w := &world{t: t, net: simnet.New(cfg)}
	for i := range size {
		h := w.net.AddHost(fmt.Sprintf("node%d", i), netip.AddrFrom4([4]byte{100, 128, 0, byte(i + 1)}))
		addr := netip.AddrPortFrom(h.Addr(), dhtPort)
		cfg := hyperdht.Config{Bootstrap: []string{}, PublicAddr: addr}
		if i > 0 {
			cfg = hyperdht.Config{Bootstrap: []string{w.boots[0].String()}, Mode: hyperdht.Persistent, Reachable: true}
		} else if respond {
			cfg.Probe = stun.NewResponder(h, stun.ResponderConfig{Host: h.Addr()})
			w.servers = []string{addr.String()}
		}
		w.boots = append(w.boots, addr)
		n := w.node(h, cfg)
		w.nodes = append(w.nodes, n)
		w.until("the node is persistent", time.Minute, func() bool { s := n.Status(); return s.Ready && !s.Ephemeral })
	}
	return w
}

func (w *world) node(h *simnet.Host, cfg hyperdht.Config) *hyperdht.Node {
	w.t.Helper()
	var n *hyperdht.Node
	h.Do(func() {
		var err error
		if n, err = hyperdht.New(h, cfg); err != nil {
			w.t.Fatal(err)
		}
	})
	return n
}

// peer is an ordinary node behind a router of its own.
type peer struct {
	*hyperdht.Node
	host   *simnet.Host
	router *simnet.Router
	probe  *stun.Client // nil without servers
}

func (w *world) peer(name string, nat simnet.NAT, i int) *peer {
	w.t.Helper()
	p := &peer{router: w.net.AddRouter(name+"'s router", nat, netip.AddrFrom4([4]byte{81, 2, 3, byte(i)}))}
	p.host = p.router.AddHost(name, netip.AddrFrom4([4]byte{192, 168, byte(i), 10}))
	cfg := hyperdht.Config{Bootstrap: []string{w.boots[0].String()}}
	if len(w.servers) > 0 {
		var err error
		if p.probe, err = stun.New(p.host, stun.Config{Servers: w.servers}); err != nil {
			w.t.Fatal(err)
		}
		cfg.Probe = p.probe
	}
	p.Node = w.node(p.host, cfg)
	w.until(name+" is ready", time.Minute, p.Ready)
	return p
}

func (w *world) until(what string, within time.Duration, cond func() bool) {
	w.t.Helper()
	if !w.net.RunUntil(cond, within) {
		w.t.Fatalf("not within %v: %s", within, what)
	}
}

func key(b byte) id.KeyPair { return id.KeyPairFromSeed(id.Seed(bytes.Repeat([]byte{b}, 32))) }

func (w *world) listen(p *peer, b byte) {
	w.t.Helper()
	announced := false
	p.host.Do(func() {
		_, err := p.Listen(hyperdht.ListenOptions{
			Keys:         key(b),
			OnConnection: func(c *hyperdht.Connection) { c.OnMessage(func(m []byte) { c.Send(m) }) },
		}, func(error) { announced = true })
		if err != nil {
			w.t.Fatal(err)
		}
	})
	w.until("the server is announced", 20*time.Second, func() bool { return announced })
}

// attempt is one connection: a message and its echo, or an error.
type attempt struct {
	conn   *hyperdht.Connection
	echoed bool
	err    error
	took   time.Duration
}

func (w *world) connect(p *peer, b byte, within time.Duration) *attempt {
	w.t.Helper()
	a := new(attempt)
	started := w.net.Now()
	p.host.Do(func() {
		a.conn = p.Connect(key(b).Public, hyperdht.ConnectOptions{})
		a.conn.Send([]byte("hello"))
		a.conn.OnMessage(func([]byte) { a.echoed = true })
		a.conn.OnClose(func(err error) { a.err = err })
	})
	w.until("it works or fails", within, func() bool { return a.echoed || a.err != nil })
	a.took = w.net.Now() - started
	return a
}

func (w *world) wantPunched(a *attempt, within time.Duration) {
	w.t.Helper()
	if !a.echoed || a.conn.Path() != hyperdht.PathPunched || a.took > within {
		w.t.Errorf("path %v after %v (%v), want a punched one within %v", a.conn.Path(), a.took, a.err, within)
	}
}

// TestTinyDHTs tests the purpose of this package. The reference implementation needs three samples, so it can't punch on one
// or two nodes; hyperdht needs only two samples where both of two nodes answer, and then no STUN.
func TestTinyDHTs(t *testing.T) {
	for size := 1; size <= 3; size++ {
		for _, respond := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d nodes, STUN %v", size, respond), func(t *testing.T) {
				w := newWorld(t, size, respond, simnet.Config{Seed: 7})
				server, client := w.peer("server", simnet.PortRestricted(), 1), w.peer("client", simnet.PortRestricted(), 2)
				w.listen(server, 1)
				a := w.connect(client, 1, time.Minute)
				if size == 1 && !respond {
					if a.echoed || a.err == nil {
						t.Errorf("it works without STUN, by %v", a.conn.Path())
					}
					return
				}
				w.wantPunched(a, time.Second)
			})
		}
	}
}

// TestEveryPairOfNATsOnOneNode is the matrix of hyperdht's tests with the bootstrap node as the only node.
func TestEveryPairOfNATsOnOneNode(t *testing.T) {
	type situation struct {
		name   string
		nat    simnet.NAT
		random bool
	}
	situations := []situation{
		{"full cone", simnet.FullCone(), false},
		{"port-restricted cone", simnet.PortRestricted(), false},
		{"masquerade", simnet.Masquerade(), false},
		{"symmetric", simnet.Symmetric(), true},
		{"symmetric, random ports", simnet.SymmetricRandom(), true},
		{"masquerade random", simnet.MasqueradeRandom(), true},
	}
	for _, server := range situations {
		for _, client := range situations {
			t.Run(client.name+" to "+server.name, func(t *testing.T) {
				w := newWorld(t, 1, true, simnet.Config{Seed: 40})
				s, c := w.peer("server", server.nat, 1), w.peer("client", client.nat, 2)
				w.listen(s, 1)
				a := w.connect(c, 1, time.Minute)
				switch {
				case server.random && client.random:
					if !errors.Is(a.err, hyperdht.ErrDoubleRandom) {
						t.Errorf("path %v, %v; want %v", a.conn.Path(), a.err, hyperdht.ErrDoubleRandom)
					}
				case server.random || client.random:
					w.wantPunched(a, 35*time.Second) // random: 1750 probes, 20 ms apart
				default:
					w.wantPunched(a, time.Second)
				}
			})
		}
	}
}

func TestNodeKnowsItsAddressFromStart(t *testing.T) {
	w := newWorld(t, 1, true, simnet.Config{Seed: 1})
	steady, random := w.peer("steady", simnet.PortRestricted(), 1), w.peer("random", simnet.SymmetricRandom(), 2)
	w.net.Run(time.Second)
	if got := steady.Status().Public; got.Addr() != steady.router.Addr() || got.Port() == 0 {
		t.Errorf("public address %v behind a cone, want a port of %v", got, steady.router.Addr())
	}
	if got := random.Status().Public; got != netip.AddrPortFrom(random.router.Addr(), 0) {
		t.Errorf("public address %v behind a symmetric NAT, want no port of %v", got, random.router.Addr())
	}
	s := steady.probe.Status()[0]
	if s.Addr != w.boots[0] || s.Alternate.Addr() != w.boots[0].Addr() || s.Seen != steady.Status().Public {
		t.Errorf("status %+v", s)
	}
}

func TestNewPublicAddressIsNoticedOnOneNode(t *testing.T) {
	w := newWorld(t, 1, true, simnet.Config{Seed: 2})
	p := w.peer("peer", simnet.PortRestricted(), 1)
	w.net.Run(time.Minute)
	now := netip.MustParseAddr("81.2.3.99")
	p.router.SetAddr(now)
	w.until("the new address is known", 6*time.Minute, func() bool { return p.Status().Public.Addr() == now })
}

// isSTUN recognizes STUN by the magic cookie.
func isSTUN(d simnet.Datagram) bool {
	return len(d.Payload) >= 20 && d.Payload[0] < 2 && bytes.Equal(d.Payload[4:8], []byte{0x21, 0x12, 0xa4, 0x42})
}

func TestLostSTUNIsRepeated(t *testing.T) {
	w := newWorld(t, 1, true, simnet.Config{Seed: 3})
	lost := map[netip.AddrPort]bool{}
	dropped := 0
	w.net.SetFilter(func(d simnet.Datagram) bool {
		// The first of everything that a socket sends to an address, requests and answers.
		flow := netip.AddrPortFrom(d.From.Addr(), d.From.Port()^d.To.Port())
		if !isSTUN(d) || lost[flow] {
			return true
		}
		lost[flow] = true
		dropped++
		return false
	})
	server, client := w.peer("server", simnet.PortRestricted(), 1), w.peer("client", simnet.PortRestricted(), 2)
	w.listen(server, 1)
	w.wantPunched(w.connect(client, 1, time.Minute), 10*time.Second)
	if dropped < 6 {
		t.Errorf("only %d datagrams were lost", dropped)
	}
}

func TestHeavyLossOfSTUNFailsCleanly(t *testing.T) {
	w := newWorld(t, 1, true, simnet.Config{Seed: 4})
	w.net.SetFilter(func(d simnet.Datagram) bool { return !isSTUN(d) })
	server, client := w.peer("server", simnet.PortRestricted(), 1), w.peer("client", simnet.PortRestricted(), 2)
	w.listen(server, 1)
	if a := w.connect(client, 1, 2*time.Minute); a.echoed || a.err == nil {
		t.Error("it works without an answer")
	}
	for _, p := range []*peer{server, client} {
		closed := false
		p.host.Do(func() { p.Close(func() { closed = true }) })
		w.until("the node is closed", 10*time.Second, func() bool { return closed })
	}
	w.net.Run(30 * time.Second)
	for _, p := range []*peer{server, client} {
		if p.host.Timers() != 0 || p.host.Sockets() != 0 {
			t.Errorf("%s has %d timers and %d sockets left", p.host.Name(), p.host.Timers(), p.host.Sockets())
		}
	}
}

// server is a STUN server on a machine of its own, scripted by the test.
func (w *world) server(i int, answer func(from netip.AddrPort, request []byte) []byte) string {
	w.t.Helper()
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 3478)
	h := w.net.AddHost(addr.String(), addr.Addr())
	s, err := h.OpenSocket(addr)
	if err != nil {
		w.t.Fatal(err)
	}
	s.OnReceive(func(from netip.AddrPort, b []byte) {
		if b := answer(from, slices.Clone(b)); b != nil {
			s.Send(from, 0, b)
		}
	})
	return addr.String()
}

// says returns an answer with addr as the mapped address; it may be truncated or malformed.
func says(addr netip.AddrPort, request []byte) []byte {
	b := append([]byte{1, 1, 0, 12}, request[4:20]...)
	b = append(b, 0, 0x20, 0, 8, 0, 1, byte(addr.Port()>>8)^0x21, byte(addr.Port())^0x12)
	ip := addr.Addr().As4()
	return append(b, ip[0]^0x21, ip[1]^0x12, ip[2]^0xa4, ip[3]^0x42)
}

func honest(from netip.AddrPort, request []byte) []byte { return says(from, request) }

func liar(_ netip.AddrPort, request []byte) []byte {
	return says(netip.MustParseAddrPort("192.0.2.66:6666"), request)
}

func garbage(_ netip.AddrPort, request []byte) []byte {
	b := liar(netip.AddrPort{}, request)
	switch request[19] % 4 {
	case 0:
		return b[:24]
	case 1:
		return append(b[:2:2], 0xff, 0xff)
	case 2:
		b[2], b[3], b[23] = 0, 4, 0 // an address without a value, at the very end
		return b[:24:24]
	}
	return append(b, bytes.Repeat([]byte{0x80, 1, 0, 0}, 200)...)
}

func TestServersThatDisagreeMeanRandom(t *testing.T) {
	w := newWorld(t, 1, false, simnet.Config{Seed: 5})
	w.servers = []string{w.server(1, honest), w.server(2, honest)}
	p := w.peer("peer", simnet.SymmetricRandom(), 1)
	w.net.Run(time.Second)
	if got := p.Status().Public; got.Addr() != p.router.Addr() || got.Port() != 0 {
		t.Errorf("public address %v", got)
	}
}

func TestOneBadServerDoesNotWin(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(netip.AddrPort, []byte) []byte
		size   int
	}{
		{"a liar among three nodes", liar, 3},
		{"a liar among ten nodes", liar, 10},
		{"garbage on one node that answers itself", garbage, 1},
		{"garbage among three nodes", garbage, 3},
		{"silence on one node that answers itself", func(netip.AddrPort, []byte) []byte { return nil }, 1},
		{"silence among three nodes", func(netip.AddrPort, []byte) []byte { return nil }, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.size, tt.size == 1, simnet.Config{Seed: 6})
			w.servers = append(w.servers, w.server(66, tt.answer))
			server, client := w.peer("server", simnet.PortRestricted(), 1), w.peer("client", simnet.PortRestricted(), 2)
			w.listen(server, 1)
			for range 3 {
				// A silent server holds things up for a second, if two others have answered.
				w.wantPunched(w.connect(client, 1, time.Minute), 1500*time.Millisecond)
			}
			w.net.Run(10 * time.Minute)
			for _, p := range []*peer{server, client} {
				if got := p.Status().Public; strings.HasPrefix(got.String(), "192.0.2.66") {
					t.Errorf("%s takes the lie %v for its address", p.host.Name(), got)
				}
			}
		})
	}
}

func TestLargeDHTNeedsNoSTUNForPunching(t *testing.T) {
	w := newWorld(t, 12, true, simnet.Config{Seed: 8})
	server, client := w.peer("server", simnet.PortRestricted(), 1), w.peer("client", simnet.PortRestricted(), 2)
	w.listen(server, 1)
	before := client.probe.Stats().Probes
	w.wantPunched(w.connect(client, 1, time.Minute), time.Second)
	if n := client.probe.Stats().Probes - before; n != 0 {
		t.Errorf("%d probes while there are nodes enough to ask", n)
	}
}

func TestSuspendedNodeAnswersOnItsNewSockets(t *testing.T) {
	w := newWorld(t, 1, true, simnet.Config{Seed: 9})
	boot := w.net.HostAt(w.boots[0].Addr())
	suspended := false
	boot.Do(func() { w.nodes[0].Suspend(func() { suspended = true }) })
	w.until("the node sleeps", 10*time.Second, func() bool { return suspended })
	boot.Do(func() {
		if err := w.nodes[0].Resume(); err != nil {
			t.Fatal(err)
		}
	})
	p := w.peer("peer", simnet.SymmetricRandom(), 1)
	w.net.Run(time.Second)
	if s := p.probe.Status()[0]; s.AnsweredAt == 0 || !s.Alternate.IsValid() || p.probe.Stats().Answers < 2 {
		t.Errorf("status %+v, %+v", s, p.probe.Stats())
	}
}

func TestSameSeedIsTheSameRun(t *testing.T) {
	run := func() uint64 {
		w := newWorld(t, 1, true, simnet.Config{Seed: 10, Link: simnet.Link{Delay: 10 * time.Millisecond, Spread: 20 * time.Millisecond, Loss: 0.1}})
		server, client := w.peer("server", simnet.PortRestricted(), 1), w.peer("client", simnet.SymmetricRandom(), 2)
		w.listen(server, 1)
		w.connect(client, 1, 2*time.Minute)
		w.net.Run(10 * time.Minute)
		return w.net.Hash()
	}
	if a, b := run(), run(); a != b {
		t.Errorf("hashes %x and %x", a, b)
	}
}
