package hyperdht_test

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/forge"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// ports are n addresses of one host.
func (v *victim) ports(n int) (addrs []netip.AddrPort) {
	for i := range uint16(n) {
		addrs = append(addrs, netip.AddrPortFrom(v.addr.Addr(), v.addr.Port()+i))
	}
	return addrs
}

// A caller that names a victim's addresses makes the server send there no more than two rounds of probes.
func TestServerSendsFewProbesToUnprovenAddresses(t *testing.T) {
	for _, test := range []struct {
		name  string
		round wire.HolepunchPayload
		addrs int
		most  int
		least int
	}{
		{name: "consistent", round: wire.HolepunchPayload{Firewall: wire.FirewallConsistent}, addrs: 1, most: 2, least: 1},
		{name: "consistent, many addresses", round: wire.HolepunchPayload{Firewall: wire.FirewallConsistent}, addrs: 40, most: 16, least: 1},
		{name: "open", round: wire.HolepunchPayload{Firewall: wire.FirewallOpen}, addrs: 1, most: 2, least: 1},
		{name: "open, many addresses", round: wire.HolepunchPayload{Firewall: wire.FirewallOpen}, addrs: 40, most: 16, least: 1},
		{name: "random", round: wire.HolepunchPayload{Firewall: wire.FirewallRandom}, addrs: 1},
		{name: "unknown", round: wire.HolepunchPayload{Firewall: wire.FirewallUnknown}, addrs: 1},
		{name: "of a kind that is not known here", round: wire.HolepunchPayload{Firewall: 9}, addrs: 1},
		{name: "random, echoes another token", round: wire.HolepunchPayload{Firewall: wire.FirewallRandom, RemoteToken: &[32]byte{1}}, addrs: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 4, cone(), cone())
			l.listen(hyperdht.ListenOptions{})
			v := l.victim()
			c := l.fakeCaller()
			c.dial(callerPayload())
			round := test.round
			round.Punching, round.Addrs = true, v.ports(test.addrs)
			c.round(round)
			l.run(time.Minute)
			v.check(t, "to a host that has proven nothing", test.least, test.most)
		})
	}
}

// A caller has proven its host by the token that went there, and by no other.
func TestProofIsTheToken(t *testing.T) {
	t.Parallel()
	for name, round := range map[string]wire.HolepunchPayload{
		"no token":      {},
		"another token": {RemoteToken: &[32]byte{1}},
	} {
		l := newLab(t, 4, cone(), cone())
		l.listen(hyperdht.ListenOptions{})
		c := l.fakeCaller()
		c.dial(callerPayload())
		round.Firewall, round.Punching, round.Addrs = wire.FirewallConsistent, true, []netip.AddrPort{c.addr()}
		c.round(round)
		c.got = nil
		l.run(time.Minute)
		if len(c.got) != 2 {
			t.Errorf("%s: %d probes, want 2", name, len(c.got))
		}
	}
}

// A caller that has proven its own host has proven no other.
func TestProofIsOfOneHost(t *testing.T) {
	t.Parallel()
	l := newLab(t, 4, cone(), cone())
	l.listen(hyperdht.ListenOptions{})
	v := l.victim()
	c := l.fakeCaller()
	c.dial(callerPayload())
	first, ok := c.round(wire.HolepunchPayload{Firewall: wire.FirewallConsistent})
	if !ok || first.Token == nil {
		t.Fatal("no token through a relay that the server announced to")
	}
	c.round(wire.HolepunchPayload{
		Firewall: wire.FirewallConsistent, Punching: true, Round: 1, RemoteToken: first.Token, Addrs: []netip.AddrPort{c.addr(), v.addr},
	})
	c.got = nil
	l.run(time.Minute)
	v.check(t, "to the host that is only named", 1, 2)
	if len(c.got) != 10 {
		t.Errorf("%d probes to the proven host, want 10", len(c.got))
	}
}

// Any node can pass on a message for a caller that it invents. Only nodes that the server has announced to are believed:
// others are given no token, and what they echo proves nothing.
func TestOnlyOwnRelaysVouch(t *testing.T) {
	t.Parallel()
	l := newLab(t, 4, cone(), public())
	l.listen(hyperdht.ListenOptions{})
	v := l.victim()
	c := l.fakeCaller()
	c.dial(callerPayload())
	vouched, ok := c.vouch(wire.HolepunchPayload{Firewall: wire.FirewallConsistent}, v.addr)
	if !ok {
		t.Fatal("no answer")
	}
	if vouched.Token != nil {
		t.Error("a node that the server has not announced to is given the token of the host that it names")
	}
	own, ok := c.round(wire.HolepunchPayload{Firewall: wire.FirewallConsistent, Round: 1})
	if !ok || own.Token == nil {
		t.Fatal("no token through a relay that the server announced to")
	}
	c.vouch(wire.HolepunchPayload{
		Firewall: wire.FirewallRandom, Punching: true, Round: 2, RemoteToken: own.Token, Addrs: []netip.AddrPort{c.addr()},
	}, c.addr())
	l.run(time.Second)
	if n := l.answerer.node.Status().Peering.PunchesRandom; n != 0 {
		t.Error("a token that comes back through any node starts a random punch")
	}
	l.run(time.Minute)
	v.check(t, "to the host that was named", 0, 2)
}

// A server, whose relay may be its own, makes the dialler send as little to addresses that have proven nothing.
func TestDiallerSendsFewProbesToUnprovenAddresses(t *testing.T) {
	for _, test := range []struct {
		name        string
		answer      wire.HolepunchPayload
		addrs       int
		least, most int
	}{
		{name: "consistent", answer: wire.HolepunchPayload{Firewall: wire.FirewallConsistent}, addrs: 1, least: 1, most: 2},
		{name: "consistent, many addresses", answer: wire.HolepunchPayload{Firewall: wire.FirewallConsistent}, addrs: 40, least: 1, most: 16},
		{name: "consistent, echoes another token", answer: wire.HolepunchPayload{Firewall: wire.FirewallConsistent, RemoteToken: &[32]byte{1}}, addrs: 1, least: 1, most: 2},
		{name: "open", answer: wire.HolepunchPayload{Firewall: wire.FirewallOpen}, addrs: 1, least: 1, most: 2},
		{name: "random", answer: wire.HolepunchPayload{Firewall: wire.FirewallRandom}, addrs: 1},
		{name: "random, echoes another token", answer: wire.HolepunchPayload{Firewall: wire.FirewallRandom, RemoteToken: &[32]byte{1}}, addrs: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 4, cone(), open())
			v := l.victim()
			f := l.fakeServer(v.addr)
			f.punch = func(m wire.HolepunchPayload) []wire.HolepunchPayload {
				a := test.answer
				a.Punching, a.Token, a.Addrs = m.Punching, &[32]byte{2}, v.ports(test.addrs)
				return []wire.HolepunchPayload{a}
			}
			l.dial(hyperdht.ConnectOptions{RelayAddrs: []netip.AddrPort{f.addr()}})
			l.run(time.Minute)
			v.check(t, "to a host that has proven nothing", test.least, test.most)
		})
	}
}

// A server that is its own relay reads the token that was sent for the host that it names, and can echo it. Its dialler guesses
// ports of that host then, once in all, and not again for a while, however often it dials, and whichever peer.
func TestServerThatIsItsOwnRelayGetsOneRoundOfGuesses(t *testing.T) {
	t.Parallel()
	l := newLab(t, 4, cone(), open())
	v := l.victim()
	f := l.fakeServer(v.addr)
	f.punch = func(m wire.HolepunchPayload) []wire.HolepunchPayload {
		return []wire.HolepunchPayload{{
			Firewall: wire.FirewallRandom, Punching: m.Punching, Token: &[32]byte{2}, RemoteToken: m.Token, Addrs: v.ports(40),
		}}
	}
	probes, size := 0, 0
	l.net.SetFilter(func(d simnet.Datagram) bool {
		if d.To.Addr() == v.addr.Addr() {
			probes, size = probes+1, max(size, len(d.Payload))
			return false
		}
		return true
	})
	for range 3 {
		l.dial(hyperdht.ConnectOptions{RelayAddrs: []netip.AddrPort{f.addr()}})
		l.run(time.Second)
	}
	l.run(30 * time.Second)
	if probes < 1000 || probes > 1750+10 || size != 1 {
		t.Errorf("%d probes of %d bytes at most to a host that a server has named which is its own relay", probes, size)
	}
}

// An answer counts only where it comes from the node that was asked, even if its content is the server's.
func TestAnswersComeFromTheNodeThatWasAsked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		elsewhere func(f *fakeServer, sock host.Socket)
		want      string
	}{
		{"the handshake's", func(f *fakeServer, sock host.Socket) { f.handshakeSock = sock }, `unanswered node=stranger error="rpc: request timed out"`},
		{"a round's", func(f *fakeServer, sock host.Socket) { f.roundSock = sock }, `punch-failed error="rpc: request timed out"`},
	} {
		l := newLab(t, 4, public(), open())
		f := l.fakeServer(netip.MustParseAddrPort("100.128.9.9:1234"))
		f.punch = func(m wire.HolepunchPayload) []wire.HolepunchPayload {
			return []wire.HolepunchPayload{{Firewall: wire.FirewallConsistent, Token: &[32]byte{2}, Punching: m.Punching}}
		}
		f.host.Do(func() {
			sock, err := f.host.OpenSocket(netip.AddrPort{})
			if err != nil {
				t.Fatal(err)
			}
			test.elsewhere(f, sock)
		})
		l.begin()
		l.dial(hyperdht.ConnectOptions{RelayAddrs: []netip.AddrPort{f.addr()}})
		l.run(time.Minute)
		if text := l.finish(); !strings.Contains(text, test.want) {
			t.Errorf("%s answer is taken from another socket:\n%s", test.name, text)
		}
	}
}

// A caller that never follows up counts, and its handshake is remembered, for as long as its connection waits.
func TestCallerCountsUntilItsConnectionEnds(t *testing.T) {
	t.Parallel()
	net := simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: hop}})
	sh, h := net.AddHost("server", netip.MustParseAddr("100.128.0.1")), net.AddHost("caller", netip.MustParseAddr("100.129.0.1"))
	at := netip.AddrPortFrom(sh.Addr(), mainPort)
	var n *hyperdht.Node
	sh.Do(func() {
		n = node(t, sh, hyperdht.Config{Bootstrap: []string{}, PublicAddr: at, Listen: at})
		listen(t, n, hyperdht.ListenOptions{Keys: keysOf(answererKey), HideLocalAddrs: true, OnConnection: func(*hyperdht.Connection) {}})
	})
	net.Run(time.Second)
	h.Do(func() {
		sock, err := h.OpenSocket(netip.AddrPort{})
		if err != nil {
			t.Fatal(err)
		}
		m, err := forge.NewMessage(keysOf(answererKey).Public, rand.NewChaCha8([32]byte{1}))
		if err != nil {
			t.Fatal(err)
		}
		sock.Send(at, 0, forge.Handshake{Server: keysOf(answererKey).Public, Message: m}.Append(nil, at, 1))
	})
	waited, sessions := time.Duration(0), 0
	for range 300 {
		net.Run(100 * time.Millisecond)
		if size(n, "connections") > 0 {
			waited += 100 * time.Millisecond
			sessions += size(n, "sessions of callers")
		}
		if connections, callers := size(n, "connections"), size(n, "callers"); callers != connections {
			t.Fatalf("after %v: %d connections, %d callers", waited, connections, callers)
		}
	}
	if waited < 11*time.Second || sessions != int(waited/(100*time.Millisecond)) {
		t.Errorf("the connection waited for %v, the handshake for %d00ms", waited, sessions)
	}
}

// However many callers there are that never follow up, from however many sockets, a server holds a bounded number.
func TestCallersAreBounded(t *testing.T) {
	t.Parallel()
	const hosts, callers = 3, 350 // of each: more than may be held in all
	net := simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: hop}})
	sh := net.AddHost("server", netip.MustParseAddr("100.128.0.1"))
	at := netip.AddrPortFrom(sh.Addr(), mainPort)
	var n *hyperdht.Node
	sh.Do(func() {
		n = node(t, sh, hyperdht.Config{Bootstrap: []string{}, PublicAddr: at, Listen: at})
		listen(t, n, hyperdht.ListenOptions{Keys: keysOf(answererKey), HideLocalAddrs: true, OnConnection: func(*hyperdht.Connection) {}})
	})
	net.Run(time.Second)
	random := rand.NewChaCha8([32]byte{1})
	most := 0
	watch := func() {
		n.Sizes(func(what string, held, bound int) {
			if bound != hyperdht.Unbounded && held > bound {
				t.Errorf("%d %s, %d are the most", held, what, bound)
			}
			if what == "callers" {
				most = max(most, held)
			}
		})
	}
	for i := range hosts {
		h := net.AddHost(string(rune('a'+i)), netip.AddrFrom4([4]byte{100, byte(129 + i), 0, 1}))
		h.Do(func() {
			sock, err := h.OpenSocket(netip.AddrPort{})
			if err != nil {
				t.Fatal(err)
			}
			for j := range callers {
				m, err := forge.NewMessage(keysOf(answererKey).Public, random)
				if err != nil {
					t.Fatal(err)
				}
				sock.Send(at, 0, forge.Handshake{Server: keysOf(answererKey).Public, Message: m}.Append(nil, at, uint16(j)))
			}
		})
		for range 10 {
			net.Run(100 * time.Millisecond)
			watch()
		}
	}
	if s := n.Status().Peering; s.Refused.Share != hosts*callers-1024 || most != 1024 {
		t.Errorf("%d callers at most, refused %+v", most, s.Refused)
	}
	net.Run(time.Minute)
	n.Sizes(func(what string, held, _ int) {
		if held > 0 && (what == "callers" || what == "sessions of callers" || what == "connections") {
			t.Errorf("%d %s are left", held, what)
		}
	})
}
