package hyperdht_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/forge"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

// flood sends handshakes under fresh keys and never follows one up.
type flood struct {
	w      *world
	server id.PublicKey
	random *rand.ChaCha8
	socks  []host.Socket
	hosts  []*simnet.Host
	sent   int
}

func (w *world) newFlood(server id.PublicKey, senders int) *flood {
	f := &flood{w: w, server: server, random: rand.NewChaCha8([32]byte{1})}
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
	f.sent++
	message, err := forge.NewMessage(f.server, f.random)
	if err != nil {
		f.w.t.Fatal(err)
	}
	b := forge.Handshake{Server: f.server, Message: message, Peer: caller}.Append(nil, to, uint16(f.sent))
	f.hosts[i].Do(func() { f.socks[i].Send(to, 0, b) })
}

// invented is an address that nobody has.
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
			w := newWorld(t, 8, simnet.Config{Seed: 70})
			router := w.net.AddRouter("server's router", simnet.FullCone(), netip.AddrFrom4([4]byte{81, 2, 3, 1}))
			sh := router.AddHost("server", netip.AddrFrom4([4]byte{192, 168, 7, 2}))
			sn := w.node(sh, hyperdht.Config{})
			w.until("the server is ready", time.Minute, sn.Ready)
			server := w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
			var clients []*simnet.Host
			var nodes []*hyperdht.Node
			for i := range 6 {
				r := w.net.AddRouter(fmt.Sprintf("router-%d", i), simnet.PortRestricted(), netip.AddrFrom4([4]byte{82, byte(i), 3, 1}))
				h := r.AddHost(fmt.Sprintf("client-%d", i), netip.AddrFrom4([4]byte{192, 168, 7, 2}))
				n := w.node(h, hyperdht.Config{})
				w.until("a client is ready", time.Minute, n.Ready)
				clients, nodes = append(clients, h), append(nodes, n)
			}

			f := w.newFlood(server.PublicKey(), test.senders)
			over := false
			var next func()
			next = func() {
				if !over {
					test.attack(f, server.Relays(), sn.Status().Public)
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
