package hyperdht_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/ports/host"
)

// What a datagram may cost the node that receives it, several times what the costliest of an undisturbed run does: 803
// steps, and 4 datagrams. That run takes 90,000 steps and sends 867 datagrams.
const (
	stepsOfAByte     = 20
	stepsOfADatagram = 4_000
	datagramsOfOne   = 16
	// dyingOfOne bounds the further ones that do not get beyond the fifth router. Where our NAT gives every remote another
	// port, a peer that has agreed on a punch makes the node open 256 of them, one peer at a time (docs/security.md).
	dyingOfOne = 256
)

// nodeWork bounds the cost of a whole run for each byte that arrives, and for the timers of four nodes and a world around
// them.
var nodeWork = cost.Bound{StepsPerByte: stepsOfAByte, Steps: 1_000_000, BytesPerByte: 100, Bytes: 16 << 20}

// attackedWorld is a small DHT, a server and a client that connect through a relay and then directly, and an attacker
// that changes what arrives. The same program gives the same run.
type attackedWorld struct {
	*world
	program []byte
	pass    int // deliveries until the next operation
	on      bool
	seen    []arrival // some of what has arrived, to be repeated
	held    []func()
	meter   *cost.Meter
	// Datagrams that were delivered, sent, and sent since the last delivery began.
	delivered, total, sent int
	dying                  int             // of those sent: they reach no node
	paths                  []hyperdht.Path // of the connection, before and after the ends can reach each other
}

// arrival is a datagram at a socket.
type arrival struct {
	to   *tap
	from netip.AddrPort
	b    []byte
}

// tappedHost is a host whose sockets an attacker controls.
type tappedHost struct {
	*simnet.Host
	world *attackedWorld
}

func (h *tappedHost) OpenSocket(local netip.AddrPort) (host.Socket, error) {
	s, err := h.Host.OpenSocket(local)
	if err != nil {
		return nil, err
	}
	return &tap{s, h.world, nil}, nil
}

// tap is a socket of a tappedHost.
type tap struct {
	host.Socket
	world   *attackedWorld
	receive func(netip.AddrPort, []byte)
}

func (t *tap) Send(to netip.AddrPort, ttl int, b []byte) {
	w := t.world
	w.total++
	if 0 < ttl && ttl < host.DefaultTTL {
		w.dying++
	} else {
		w.sent++
	}
	t.Socket.Send(to, ttl, b)
}

func (t *tap) OnReceive(f func(netip.AddrPort, []byte)) {
	t.receive = f
	t.Socket.OnReceive(func(from netip.AddrPort, b []byte) { t.world.arrived(arrival{t, from, b}) })
}

// deliver hands a datagram to its node, and judges what that costs.
func (w *attackedWorld) deliver(a arrival) {
	w.delivered++
	w.meter.Allow(len(a.b) + 1)
	began := w.meter.Steps()
	w.sent, w.dying = 0, 0
	a.to.receive(a.from, a.b)
	taken := w.meter.Steps() - began
	if taken > stepsOfADatagram+stepsOfAByte*len(a.b) {
		w.t.Fatalf("a datagram of %d bytes took %d steps: %x", len(a.b), taken, a.b)
	}
	if w.sent > datagramsOfOne || w.dying > dyingOfOne {
		w.t.Fatalf("a datagram of %d bytes made the node send %d, and %d that die: %x", len(a.b), w.sent, w.dying, a.b)
	}
}

func (w *attackedWorld) byte() (b byte) {
	if len(w.program) > 0 {
		b, w.program = w.program[0], w.program[1:]
	}
	return b
}

func (w *attackedWorld) uint16() int { return int(w.byte()) | int(w.byte())<<8 }

// arrived decides what becomes of a datagram that has arrived.
func (w *attackedWorld) arrived(a arrival) {
	if len(w.seen) < 1000 {
		w.seen = append(w.seen, arrival{a.to, a.from, bytes.Clone(a.b)})
	}
	if !w.on || len(w.program) == 0 {
		w.deliver(a)
		return
	}
	if w.pass > 0 {
		w.pass--
		w.deliver(a)
		return
	}
	op := w.byte()
	w.pass = int(w.byte())
	switch op % 12 {
	case 0: // lost
	case 1:
		for range int(w.byte()%16) + 2 {
			w.deliver(a)
		}
	case 2:
		w.deliver(w.changed(a))
	case 3: // changed, and then as it was
		w.deliver(w.changed(a))
		w.deliver(a)
	case 4:
		a.b = a.b[:w.uint16()%(len(a.b)+1)]
		w.deliver(a)
	case 5:
		more := make([]byte, w.byte())
		a.b = append(bytes.Clone(a.b), more...)
		w.deliver(a)
	case 6: // later
		a.b = bytes.Clone(a.b)
		w.held = append(w.held, func() { w.deliver(a) })
	case 7:
		w.deliver(a)
		held := w.held
		w.held = nil
		for _, f := range held {
			f()
		}
	case 8: // what has arrived before, again, from here or from there
		w.deliver(a)
		for range int(w.byte()%16) + 1 {
			old := w.seen[w.uint16()%len(w.seen)]
			if old.to != a.to && old.to.LocalAddr() != a.to.LocalAddr() {
				old.to = a.to
			}
			if w.byte()&1 != 0 {
				old.from = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, w.byte()}), 1234)
			}
			w.deliver(w.changed(old))
		}
	case 9: // the same from elsewhere
		a.from = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, w.byte()}), uint16(w.uint16()))
		w.deliver(a)
	case 10: // half of one, half of another
		other := w.seen[w.uint16()%len(w.seen)].b
		at := w.uint16() % (len(a.b) + 1)
		a.b = append(bytes.Clone(a.b[:at]), other[min(at, len(other)):]...)
		w.deliver(a)
	case 11:
		w.deliver(a)
		raw := make([]byte, w.byte())
		for i := range raw {
			raw[i] = w.byte()
		}
		w.deliver(arrival{a.to, a.from, raw})
	}
}

// changed returns a datagram with a few bytes changed as the program says.
func (w *attackedWorld) changed(a arrival) arrival {
	a.b = bytes.Clone(a.b)
	for range w.byte() % 4 {
		at := w.uint16()
		if len(a.b) == 0 {
			break
		}
		switch i := at % len(a.b); {
		case i+4 <= len(a.b) && at&0x8000 != 0:
			v := binary.LittleEndian.Uint32(a.b[i:])
			binary.LittleEndian.PutUint32(a.b[i:], v+uint32(w.uint16())<<(w.byte()%17))
		default:
			a.b[i] ^= w.byte()
		}
	}
	return a
}

// tapped adds a node on a host whose sockets the attacker controls.
func (w *attackedWorld) tapped(name string, cfg hyperdht.Config) (*simnet.Host, *hyperdht.Node) {
	h := w.host(name)
	var n *hyperdht.Node
	h.Do(func() {
		var err error
		if n, err = hyperdht.New(&tappedHost{h, w}, cfg); err != nil {
			w.t.Fatal(err)
		}
	})
	w.nodes = append(w.nodes, n)
	return h, n
}

// play runs the story: nodes join, a server is announced, a client connects to it through a relay, both find the direct
// path, and the client leaves. The program changes what arrives meanwhile; then everything is as it should be, and the
// server has to work again.
func (w *attackedWorld) play() {
	w.on = true
	bh := w.host("boot")
	addr := netip.AddrPortFrom(bh.Addr(), 49737)
	w.bootstrap = []string{addr.String()}
	bh.Do(func() {
		n, err := hyperdht.New(&tappedHost{bh, w}, hyperdht.Config{Bootstrap: []string{}, PublicAddr: addr})
		if err != nil {
			w.t.Fatal(err)
		}
		w.nodes = append(w.nodes, n)
	})
	rh, rn := w.tapped("relay", hyperdht.Config{Bootstrap: w.bootstrap, Mode: hyperdht.Persistent, Reachable: true})
	sh, sn := w.tapped("server", hyperdht.Config{Bootstrap: w.bootstrap, NoQuickFirewall: true})
	ch, cn := w.tapped("client", hyperdht.Config{Bootstrap: w.bootstrap, NoQuickFirewall: true})
	hosts := []*simnet.Host{bh, rh, sh, ch}
	w.net.Block(sh, ch)
	w.net.Block(ch, sh)
	w.net.Run(3 * time.Second)
	rh.Do(func() {
		if _, err := rn.ServeRelay(hyperdht.RelayConfig{Keys: keyPair(7)}, func(error) {}); err != nil {
			w.t.Fatal(err)
		}
	})
	relays := []id.PublicKey{keyPair(7).Public}
	sh.Do(func() {
		_, err := sn.Listen(hyperdht.ListenOptions{Keys: keyPair(1), RelayThrough: relays, OnConnection: func(c *hyperdht.Connection) {
			c.OnMessage(func(b []byte) { c.Send(b) })
			c.OnEnd(c.End)
		}}, func(error) {})
		if err != nil {
			w.t.Fatal(err)
		}
	})
	w.net.Run(3 * time.Second)
	var c *hyperdht.Connection
	ch.Do(func() {
		c = cn.Connect(keyPair(1).Public, hyperdht.ConnectOptions{RelayThrough: relays})
		c.Send(make([]byte, 20_000))
	})
	w.net.Run(4 * time.Second)
	w.paths = append(w.paths, c.Path())
	w.net.Unblock(sh, ch)
	w.net.Unblock(ch, sh)
	w.net.Run(6 * time.Second)
	w.paths = append(w.paths, c.Path())
	ch.Do(c.End)
	w.net.Run(time.Second)

	w.on = false
	w.checkSizes()
	w.net.Run(2 * time.Minute)
	if !w.echoes(ch, cn) {
		w.t.Error("the server cannot be reached two minutes after the attack")
	}
	w.net.Run(time.Minute)
	w.checkSizes()
	for i, n := range w.nodes {
		hosts[i].Do(func() { n.Close(func() {}) })
	}
	w.net.Run(30 * time.Second)
	for _, h := range hosts {
		if h.Timers()+h.Sockets() > 0 {
			w.t.Errorf("%s is closed and has %d timers and %d sockets", h.Name(), h.Timers(), h.Sockets())
		}
	}
}

// checkSizes holds what the nodes keep against their own bounds.
func (w *attackedWorld) checkSizes() {
	for i, n := range w.nodes {
		n.Sizes(func(what string, held, most int) {
			if most == hyperdht.Unbounded {
				return // the story itself decides on connections
			}
			if held > most {
				w.t.Errorf("node %d holds %d %s, at most %d are allowed", i, held, what, most)
			}
		})
	}
}

// echoes reports whether a new connection carries a message there and back within a minute.
func (w *attackedWorld) echoes(h *simnet.Host, n *hyperdht.Node) bool {
	got := false
	var c *hyperdht.Connection
	h.Do(func() {
		c = n.Connect(keyPair(1).Public, hyperdht.ConnectOptions{})
		c.OnMessage(func([]byte) { got = true })
		c.Send([]byte("hello"))
	})
	w.net.RunUntil(func() bool { return got }, time.Minute)
	h.Do(c.End)
	return got
}

func playAttacked(t *testing.T, program []byte) (w *attackedWorld) {
	cost.Repeat(t, func() {
		net := simnet.New(simnet.Config{Seed: 1, Scribble: true, Link: simnet.Link{Delay: 10 * time.Millisecond, Spread: 5 * time.Millisecond}})
		w = &attackedWorld{world: &world{t: t, net: net}, program: program}
		w.meter = cost.Start(t, nodeWork)
		defer w.meter.Stop()
		w.play()
	})
	return w
}

// An attack on a story that goes nowhere finds nothing.
func TestStoryOfFuzzNodeIsRelayedAndThenDirect(t *testing.T) {
	want := []hyperdht.Path{hyperdht.PathRelayed, hyperdht.PathPunched}
	if w := playAttacked(t, nil); !slices.Equal(w.paths, want) || w.delivered < 500 {
		t.Errorf("the paths are %v, want %v; %d datagrams", w.paths, want, w.delivered)
	}
}

// FuzzNode lets a program change, repeat, delay, lose and make up the datagrams of a whole run of four nodes: joining,
// announcing, handshake, relay, hole punching, stream. No node may panic, do or send more than a datagram is worth, hold
// more than its bounds or stay unusable.
func FuzzNode(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{1, 5, 2, 3, 9, 2, 1, 40, 0, 7}, 10))
	f.Add(bytes.Repeat([]byte{8, 20, 3, 1, 0, 1, 7, 2, 60, 0, 255, 10, 9, 30, 0, 20, 0}, 6))
	f.Add(bytes.Repeat([]byte{6, 3, 6, 3, 7, 3, 5, 10, 200, 4, 10, 9, 0}, 8))
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 2048 {
			return
		}
		w := playAttacked(t, program)
		if w.total > 4000+4*w.delivered {
			t.Errorf("%d datagrams were sent, and %d delivered", w.total, w.delivered)
		}
	})
}
