package hyperdht_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/forge"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/ports/host"
)

// A server that does not punch waits for direct packets of a relayed caller. The caller counts among those under way until
// that wait ends, and the connection stays.
func TestSearchForABetterPathThanTheRelayEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t, 4, cone(), cone())
	l.relay(hyperdht.RelayConfig{})
	l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay, NeverPunch: true})
	l.apart()
	c := l.dial(hyperdht.ConnectOptions{})
	for _, test := range []struct {
		wait           time.Duration
		callers, after int
	}{{25 * time.Minute, 1, 1}, {10 * time.Minute, 0, 0}} {
		l.run(test.wait)
		if n, s := size(l.answerer.node, "callers"), size(l.answerer.node, "sessions of callers"); n != test.callers || s != test.after {
			t.Errorf("after %v: %d callers, %d sessions", test.wait, n, s)
		}
		if c.Path() != hyperdht.PathRelayed || c.Closed() {
			t.Errorf("after %v: the connection is gone", test.wait)
		}
	}
}

// computing is the time that the first message of a dial may take until it is sent.
const computing = 50 * time.Millisecond

// Nodes that say they know the server and lead it to one another, each a little nearer, and pass no handshake on, keep a dial for
// five minutes.
func TestDialsEndWhateverNodesName(t *testing.T) {
	t.Parallel()
	l := newLab(t, 4, cone(), open())
	target := keysOf(answererKey).Public.Target()
	h := l.net.AddHost("liar", netip.AddrFrom4([4]byte{100, 128, 3, 2}))
	var nodes []netip.AddrPort
	for port := range uint16(400) {
		nodes = append(nodes, netip.AddrPortFrom(h.Addr(), 1000+port))
	}
	slices.SortFunc(nodes, func(x, y netip.AddrPort) int { return id.Closer(target, id.NodeIDOf(y), id.NodeIDOf(x)) })
	handshakes := 0
	for i, at := range nodes {
		sock, err := h.OpenSocket(at)
		if err != nil {
			t.Fatal(err)
		}
		node, record := id.NodeIDOf(at), wire.Peer{PublicKey: keysOf(answererKey).Public}.Append(nil)
		sock.OnReceive(func(from netip.AddrPort, b []byte) {
			m, err := wire.ParseRequest(b)
			switch {
			case err != nil:
			case m.Command == wire.CmdFindPeer:
				sock.Send(from, 0, wire.Response{
					TID: m.TID, To: from, ID: &node, Value: record, Closer: nodes[i+1 : min(i+4, len(nodes))],
				}.Append(nil))
			case m.Command == wire.CmdPeerHandshake:
				handshakes++
			}
		})
	}
	c := l.dial(hyperdht.ConnectOptions{RelayAddrs: nodes[:1]})
	var why error
	began, took := l.net.Now(), time.Duration(0)
	l.dialler.host.Do(func() { c.OnClose(func(err error) { why, took = err, l.net.Now()-began }) })
	l.run(10 * time.Minute)
	if why != hyperdht.ErrPeerConnectionFailed || took.Truncate(computing) != 5*time.Minute || handshakes < 500 {
		t.Errorf("after %v and %d handshakes: %v", took, handshakes, why)
	}
	if s := l.holds(l.dialler); s != nothing {
		t.Errorf("the dialler holds%s", s)
	}
}

// A server that always wants a punch to be tried later, over a relay that has paired and carries nothing, does not keep a dial.
func TestDialsEndWhateverTheServerAnswers(t *testing.T) {
	t.Parallel()
	l := newLab(t, 4, cone(), open())
	l.fakeRelay(func(m wire.RelayPair, ch *mux.Channel, _ *hyperdht.Connection) {
		m.ID = 99
		ch.Send(0, m.Append(nil))
	})
	f := l.fakeServer(netip.MustParseAddrPort("100.128.9.9:1234"))
	f.payload.RelayThrough = &wire.RelayThrough{Key: throughRelay[0], Token: [32]byte{1}}
	rounds := 0
	f.punch = func(m wire.HolepunchPayload) []wire.HolepunchPayload {
		a := wire.HolepunchPayload{Firewall: wire.FirewallConsistent, Token: &[32]byte{2}, Addrs: []netip.AddrPort{f.peer}}
		if m.Punching {
			rounds++
			a.Error = wire.ErrorTryLater
		}
		return []wire.HolepunchPayload{a}
	}
	c := l.dial(hyperdht.ConnectOptions{RelayAddrs: []netip.AddrPort{f.addr()}})
	var why error
	l.dialler.host.Do(func() { c.OnClose(func(err error) { why = err }) })
	l.run(14 * time.Second)
	if c.Closed() || rounds == 0 || c.Path() != hyperdht.PathRelayed {
		t.Fatalf("the dial is over after %d rounds, over %v: %v", rounds, c.Path(), why)
	}
	l.run(6 * time.Second)
	if s := l.holds(l.dialler); why != hyperdht.ErrUnopened || s != nothing {
		t.Errorf("closed by %v, the dialler holds%s", why, s)
	}
}

// Handshakes wait to be read for four seconds, and then are dropped, even if the turns of others always come first.
func TestHandshakesWaitForFourSeconds(t *testing.T) {
	t.Parallel()
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
	var hosts []*simnet.Host
	var socks []host.Socket
	for i := range 61 {
		h := net.AddHost(fmt.Sprint("caller ", i), netip.AddrFrom4([4]byte{100, byte(129 + i), 0, 1}))
		h.Do(func() {
			s, err := h.OpenSocket(netip.AddrPort{})
			if err != nil {
				t.Fatal(err)
			}
			socks = append(socks, s)
		})
		hosts = append(hosts, h)
	}
	send := func(caller, handshakes int) {
		hosts[caller].Do(func() {
			for range handshakes {
				m, err := forge.NewMessage(keysOf(answererKey).Public, random)
				if err != nil {
					t.Fatal(err)
				}
				socks[caller].Send(at, 0, forge.Handshake{Server: keysOf(answererKey).Public, Message: m}.Append(nil, at, 1))
			}
		})
	}
	send(1, 500) // the burst of all paces
	net.Run(100 * time.Millisecond)
	send(0, 200)
	waiting, next := 0, 0
	for i := range 42 { // 500 a second of others
		for range 50 {
			send(1+next%60, 1)
			next++
		}
		net.Run(100 * time.Millisecond)
		if waiting = size(n, "callers that wait"); i > 2 && i < 39 && waiting < 50 {
			t.Fatalf("only %d wait after %d00 ms", waiting, i+1)
		}
	}
	if waiting > 50 { // that came last
		t.Errorf("%d wait, some of them for more than four seconds", waiting)
	}
}
