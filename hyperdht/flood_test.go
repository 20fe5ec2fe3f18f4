package hyperdht_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/forge"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// flooded is the server of floods.
var flooded = keyPair(1)

// forged are handshakes with the server of floods, each under a fresh key. Floods in different worlds send the same ones:
// making one costs as much as reading it.
var forged struct {
	sync.Mutex
	random   *rand.ChaCha8
	messages [][]byte
}

// handshake returns the handshake with an index.
func (f *flood) handshake(index int) []byte {
	forged.Lock()
	defer forged.Unlock()
	if forged.random == nil {
		forged.random = rand.NewChaCha8([32]byte{1})
	}
	for len(forged.messages) <= index {
		message, err := forge.NewMessage(flooded.Public, forged.random)
		if err != nil {
			f.w.t.Fatal(err)
		}
		forged.messages = append(forged.messages, message)
	}
	return forged.messages[index]
}

// flood sends handshakes under fresh keys and never follows one up.
type flood struct {
	w      *world
	random *rand.ChaCha8
	socks  []host.Socket
	hosts  []*simnet.Host
	sent   int
}

func (w *world) newFlood(senders int) *flood {
	f := &flood{w: w, random: rand.NewChaCha8([32]byte{2})}
	for i := range senders {
		h := w.net.AddHost(fmt.Sprintf("sender-%d", i), netip.AddrFrom4([4]byte{101, 64, byte(i), 1}))
		h.Do(func() {
			sock, err := h.OpenSocket(netip.AddrPort{})
			if err != nil {
				w.t.Fatal(err)
			}
			f.socks, f.hosts = append(f.socks, sock), append(f.hosts, h)
		})
	}
	return f
}

// send sends one handshake, from each sender in turn. A valid caller is named as a relay names it.
func (f *flood) send(to, caller netip.AddrPort) {
	i := f.sent % len(f.socks)
	message := f.handshake(f.sent)
	f.sent++
	b := forge.Handshake{Server: flooded.Public, Message: message, Peer: caller}.Append(nil, to, uint16(f.sent))
	f.hosts[i].Do(func() { f.socks[i].Send(to, 0, b) })
}

// invented returns an unused address.
func (f *flood) invented() netip.AddrPort {
	v := f.random.Uint64()
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(20 + v%60), byte(v >> 8), byte(v >> 16), byte(v >> 24)}), 1024+uint16(v>>32)%60000)
}

// Strangers send 600 handshakes a second, and honest peers connect as if nothing was.
func TestHonestPeersConnectBesideFloodsOfHandshakes(t *testing.T) {
	type attack = func(f *flood, relays []netip.AddrPort, server netip.AddrPort)
	throughRelays := func(f *flood, relays []netip.AddrPort, _ netip.AddrPort) {
		f.send(relays[f.sent%len(relays)], netip.AddrPort{})
	}
	for _, test := range []struct {
		name    string
		senders int
		attack  attack
	}{
		{"from one sender through the relays", 1, throughRelays},
		{"from a hundred senders through the relays", 100, throughRelays},
		{"from one sender that invents callers", 1, func(f *flood, _ []netip.AddrPort, server netip.AddrPort) {
			f.send(server, f.invented())
		}},
		{"from a hundred senders that invent callers", 100, func(f *flood, _ []netip.AddrPort, server netip.AddrPort) {
			f.send(server, f.invented())
		}},
		{"from one sender whose invented callers come through the relays", 1, func(f *flood, relays []netip.AddrPort, _ netip.AddrPort) {
			f.send(relays[f.sent%len(relays)], f.invented())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 8, simnet.Config{Seed: 70})
			router := w.net.AddRouter("server's router", simnet.FullCone(), netip.AddrFrom4([4]byte{81, 2, 3, 1}))
			sh := router.AddHost("server", netip.AddrFrom4([4]byte{192, 168, 7, 2}))
			sn := w.node(sh, hyperdht.Config{})
			w.until("the server is ready", time.Minute, sn.Ready)
			server := w.listen(sh, sn, hyperdht.ListenOptions{Keys: flooded})
			var clients []*simnet.Host
			var nodes []*hyperdht.Node
			for i := range 6 {
				r := w.net.AddRouter(fmt.Sprintf("router-%d", i), simnet.PortRestricted(), netip.AddrFrom4([4]byte{82, byte(i), 3, 1}))
				h := r.AddHost(fmt.Sprintf("client-%d", i), netip.AddrFrom4([4]byte{192, 168, 7, 2}))
				n := w.node(h, hyperdht.Config{})
				w.until("a client is ready", time.Minute, n.Ready)
				clients, nodes = append(clients, h), append(nodes, n)
			}

			f := w.newFlood(test.senders)
			at := sn.Status().Public
			over := false
			var next func()
			next = func() {
				if !over {
					test.attack(f, server.Relays(), at)
					w.net.AfterFunc(time.Second/600, next)
				}
			}
			next()
			dialled, opened := 0, 0
			for range 5 * 8 { // 5 s, eight dials a second
				i := dialled % len(clients)
				dialled++
				clients[i].Do(func() {
					keys := id.KeyPairFromSeed(id.Seed{2, byte(dialled)})
					c := nodes[i].Connect(server.PublicKey(), hyperdht.ConnectOptions{Keys: &keys})
					c.OnOpen(func() { opened++ })
				})
				w.net.Run(125 * time.Millisecond)
			}
			w.net.Run(3 * time.Second)
			over = true
			if opened != dialled {
				t.Errorf("%d of %d dials opened", opened, dialled)
			}
			// What the flood costs: its burst and its pace, or what all together may have.
			stats := sn.Status().Peering
			if read := int(stats.HandshakesRead); read < f.sent && stats.Refused == (hyperdht.Refused{}) || read > 512+8*512+dialled {
				t.Errorf("%d of %d handshakes were read, refused: %+v", read, f.sent, stats.Refused)
			}
		})
	}
}

// opened is a socket that a node has opened.
type opened struct {
	host *simnet.Host
	sock host.Socket
}

// tapped is a host whose node's sockets a test can send from: an attacker runs a node as it likes.
type tapped struct {
	*simnet.Host
	w *world
}

func (t tapped) OpenSocket(local netip.AddrPort) (host.Socket, error) {
	s, err := t.Host.OpenSocket(local)
	if err == nil {
		t.w.opened = append(t.w.opened, opened{t.Host, s})
	}
	return s, err
}

// as is a flood from the node at an address.
func (w *world) as(node netip.AddrPort) *flood {
	w.t.Helper()
	for _, o := range w.opened {
		if o.host.Addr() == node.Addr() && o.sock.LocalAddr().Port() == node.Port() {
			return &flood{w: w, random: rand.NewChaCha8([32]byte{2}), socks: []host.Socket{o.sock}, hosts: []*simnet.Host{o.host}}
		}
	}
	w.t.Fatalf("no socket at %v", node)
	return nil
}

// An attacker can run a node near a server's key, to which the server then announces, and of which it cannot tell whether the
// callers that it names exist. One of three relays invents callers, or names those that are there, twice as often as a server
// reads handshakes. Honest peers connect through the other two, and through that one, which forwards what they send.
func TestOneMaliciousRelayDoesNotBlockCallers(t *testing.T) {
	for _, test := range []struct {
		name   string
		caller func(f *flood, clients []netip.AddrPort) netip.AddrPort
	}{
		{"that invents callers", func(f *flood, _ []netip.AddrPort) netip.AddrPort { return f.invented() }},
		{"that names the callers that are there", func(f *flood, clients []netip.AddrPort) netip.AddrPort {
			return clients[f.sent%len(clients)]
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 8, simnet.Config{Seed: 71})
			router := w.net.AddRouter("server's router", simnet.FullCone(), netip.AddrFrom4([4]byte{81, 2, 3, 1}))
			sh := router.AddHost("server", netip.AddrFrom4([4]byte{192, 168, 7, 2}))
			sn := w.node(sh, hyperdht.Config{})
			w.until("the server is ready", time.Minute, sn.Ready)
			server := w.listen(sh, sn, hyperdht.ListenOptions{Keys: flooded})
			var clients []*simnet.Host
			var nodes []*hyperdht.Node
			var addrs []netip.AddrPort
			for i := range 6 {
				r := w.net.AddRouter(fmt.Sprintf("router-%d", i), simnet.PortRestricted(), netip.AddrFrom4([4]byte{82, byte(i), 3, 1}))
				h := r.AddHost(fmt.Sprintf("client-%d", i), netip.AddrFrom4([4]byte{192, 168, 7, 2}))
				n := w.node(h, hyperdht.Config{})
				w.until("a client is ready", time.Minute, n.Ready)
				clients, nodes, addrs = append(clients, h), append(nodes, n), append(addrs, n.Status().Public)
			}
			f := w.as(server.Relays()[len(server.Relays())-1])
			at := sn.Status().Public
			over := false
			var next func()
			next = func() {
				if !over {
					f.send(at, test.caller(f, addrs))
					w.net.AfterFunc(time.Millisecond, next)
				}
			}
			next()
			w.net.Run(4 * time.Second) // until paces, queue and room are used up
			dialled, opened := 0, 0
			slowest := time.Duration(0)
			for range 3 * 8 { // 3 s, eight dials a second
				i := dialled % len(clients)
				dialled++
				began := w.net.Now()
				clients[i].Do(func() {
					keys := id.KeyPairFromSeed(id.Seed{2, byte(dialled)})
					c := nodes[i].Connect(server.PublicKey(), hyperdht.ConnectOptions{Keys: &keys})
					c.OnOpen(func() {
						opened++
						slowest = max(slowest, w.net.Now()-began)
					})
				})
				w.net.Run(125 * time.Millisecond)
			}
			w.net.Run(3 * time.Second)
			over = true
			if opened != dialled || slowest > time.Second {
				t.Errorf("%d of %d dials opened, the slowest after %v; %+v", opened, dialled, slowest, sn.Status().Peering.Refused)
			}
		})
	}
}

// Requests of the DHT in the name of a server's relays, whose addresses are public and forge, use up what is answered
// to them. Handshakes that these relays forward are not counted with those, and go through.
func TestForgedRequestsOfRelaysDoNotBlockCallers(t *testing.T) {
	w := newWorld(t, 8, simnet.Config{Seed: 72})
	router := w.net.AddRouter("server's router", simnet.FullCone(), netip.AddrFrom4([4]byte{81, 2, 3, 1}))
	sh := router.AddHost("server", netip.AddrFrom4([4]byte{192, 168, 7, 2}))
	sn := w.node(sh, hyperdht.Config{})
	w.until("the server is ready", time.Minute, sn.Ready)
	server := w.listen(sh, sn, hyperdht.ListenOptions{Keys: flooded})
	r := w.net.AddRouter("router", simnet.PortRestricted(), netip.AddrFrom4([4]byte{82, 0, 3, 1}))
	ch := r.AddHost("client", netip.AddrFrom4([4]byte{192, 168, 7, 2}))
	cn := w.node(ch, hyperdht.Config{})
	w.until("a client is ready", time.Minute, cn.Ready)
	over := false
	for _, relay := range server.Relays() {
		f := w.as(relay)
		target := id.Target{1}
		to := sn.Status().Public
		b := wire.Request{To: to, Internal: true, Command: wire.CmdFindNode, Target: &target}.Append(nil)
		var next func()
		next = func() {
			if !over {
				f.hosts[0].Do(func() { f.socks[0].Send(to, 0, b) })
				w.net.AfterFunc(time.Second/4000, next)
			}
		}
		next()
	}
	w.net.Run(4 * time.Second)
	dialled, opened := 0, 0
	for range 24 {
		dialled++
		ch.Do(func() {
			keys := id.KeyPairFromSeed(id.Seed{2, byte(dialled)})
			cn.Connect(server.PublicKey(), hyperdht.ConnectOptions{Keys: &keys}).OnOpen(func() { opened++ })
		})
		w.net.Run(125 * time.Millisecond)
	}
	w.net.Run(3 * time.Second)
	over = true
	if opened != dialled {
		t.Errorf("%d of %d dials opened; %d datagrams were beyond the pace", opened, dialled, sn.Status().RPC.Dropped.Limited)
	}
}
