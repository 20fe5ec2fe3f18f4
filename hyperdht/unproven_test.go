package hyperdht_test

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/forge"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/ports/host"
)

// beginning is a frame of 16 MiB without its last 100 bytes.
func beginning() []byte {
	const body = 1<<24 - 1
	return append([]byte{0xff, 0xff, 0xff}, make([]byte, body-100)...)
}

func keysOf(n byte) id.KeyPair { return id.KeyPairFromSeed(id.Seed{n}) }

// pair is a server's node that is reachable, and a stranger's on another host.
type pair struct {
	t                *testing.T
	net              *simnet.Net
	sh, ch           *simnet.Host
	server, stranger *hyperdht.Node
	at               netip.AddrPort
	conns            []*hyperdht.Connection // the server's
}

func newPair(t *testing.T, opts hyperdht.ListenOptions) *pair {
	p := &pair{t: t, net: simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: 5 * time.Millisecond}})}
	p.sh = p.net.AddHost("server", netip.MustParseAddr("100.128.0.1"))
	p.ch = p.net.AddHost("stranger", netip.MustParseAddr("100.128.0.2"))
	p.at = netip.AddrPortFrom(p.sh.Addr(), 49737)
	opts.Keys = keysOf(1)
	use := opts.OnConnection
	opts.OnConnection = func(c *hyperdht.Connection) {
		p.conns = append(p.conns, c)
		if use != nil {
			use(c)
		}
	}
	p.sh.Do(func() {
		p.server = node(t, p.sh, hyperdht.Config{Bootstrap: []string{}, PublicAddr: p.at})
		listen(t, p.server, opts)
	})
	p.ch.Do(func() {
		p.stranger = node(t, p.ch, hyperdht.Config{Bootstrap: []string{p.at.String()}, Mode: hyperdht.Ephemeral, NoQuickFirewall: true})
	})
	p.net.Run(5 * time.Second)
	return p
}

// dial connects as stranger number n.
func (p *pair) dial(n int, onOpen func(*hyperdht.Connection)) *hyperdht.Connection {
	return dial(p.stranger, p.at, n, onOpen)
}

func dial(from *hyperdht.Node, at netip.AddrPort, n int, onOpen func(*hyperdht.Connection)) *hyperdht.Connection {
	keys := id.KeyPairFromSeed(id.Seed{2, byte(n), byte(n >> 8)})
	c := from.Connect(keysOf(1).Public, hyperdht.ConnectOptions{Keys: &keys, RelayAddrs: []netip.AddrPort{at}})
	c.OnOpen(func() { onOpen(c) })
	return c
}

func listen(t *testing.T, n *hyperdht.Node, opts hyperdht.ListenOptions) {
	if _, err := n.Listen(opts, func(error) {}); err != nil {
		t.Fatal(err)
	}
}

// size is one figure of what a node holds.
func size(n *hyperdht.Node, of string) (held int) {
	n.Sizes(func(what string, h, most int) {
		if what == of {
			held = h
		}
	})
	return held
}

func TestUnprovenPeersHoldLittle(t *testing.T) {
	p := newPair(t, hyperdht.ListenOptions{KeepLimited: true})
	for i := range 32 {
		p.ch.Do(func() { p.dial(i, func(c *hyperdht.Connection) { c.WriteRaw(beginning()[:200_000]) }) })
	}
	most := 0
	for range 1000 {
		p.net.Run(time.Millisecond)
		most = max(most, size(p.server, "bytes held for one unproven peer"))
	}
	if most == 0 || most > stream.MaxConfined {
		t.Errorf("one peer makes the server hold %d bytes", most)
	}
	if n := p.server.Status().Peering.UnprovenTooLong; n != 32 {
		t.Errorf("%d of 32 connections were closed because of their frame's length", n)
	}
	if n := size(p.server, "bytes held for unproven peers"); n != 0 {
		t.Errorf("%d bytes are held at the end", n)
	}
}

// A frame of a length that is allowed, and everything behind a packet that is missing.
func TestUnprovenPeerWithAGapHoldsLittle(t *testing.T) {
	p := newPair(t, hyperdht.ListenOptions{KeepLimited: true})
	open, sent := false, 0
	p.net.SetFilter(func(d simnet.Datagram) bool {
		if !open || d.To.Addr() != p.sh.Addr() || len(d.Payload) < 1000 {
			return true
		}
		sent++
		return sent != 3 // and its repetitions come, but late
	})
	p.ch.Do(func() {
		p.dial(0, func(c *hyperdht.Connection) {
			open = true
			for range 100 {
				c.Send(make([]byte, 10_000))
			}
		})
	})
	most := 0
	for range 1000 {
		p.net.Run(time.Millisecond)
		most = max(most, size(p.server, "bytes held for one unproven peer"))
	}
	if most < 20_000 || most > stream.MaxConfined {
		t.Errorf("one peer makes the server hold %d bytes", most)
	}
}

// Trust opens frames and windows, at once and for everything behind the message that earned it.
func TestTrustLiftsTheLimits(t *testing.T) {
	got := 0
	p := newPair(t, hyperdht.ListenOptions{KeepLimited: true, OnConnection: func(c *hyperdht.Connection) {
		c.OnMessage(func(b []byte) {
			c.Trust()
			got += len(b)
		})
	}})
	p.ch.Do(func() {
		p.dial(0, func(c *hyperdht.Connection) {
			c.Send([]byte("secret"))
			c.Send(make([]byte, 1<<20))
		})
	})
	p.net.Run(2 * time.Second)
	if got != 6+1<<20 {
		t.Errorf("%d bytes arrived", got)
	}
	if n := size(p.server, "bytes held for unproven peers"); n != 0 {
		t.Errorf("a trusted peer counts %d bytes among the unproven", n)
	}
}

// A peer that reads nothing of what it makes the server answer.
func TestUnprovenPeerThatDoesNotReadIsDropped(t *testing.T) {
	p := newPair(t, hyperdht.ListenOptions{KeepLimited: true})
	var conn *hyperdht.Connection
	p.ch.Do(func() { conn = p.dial(0, func(c *hyperdht.Connection) { c.Send([]byte("hello")) }) })
	p.net.Run(time.Second)
	if conn == nil || len(p.conns) != 1 {
		t.Fatalf("%d connections", len(p.conns))
	}
	p.net.Block(p.sh, p.ch)
	var why error
	most := 0
	p.sh.Do(func() { p.conns[0].OnClose(func(err error) { why = err }) })
	for range 100 {
		p.sh.Do(func() { p.conns[0].Send(make([]byte, 1000)) })
		p.net.Run(10 * time.Millisecond)
		most = max(most, size(p.server, "bytes held for one unproven peer"))
	}
	if why != stream.ErrOverLimit || most > stream.MaxConfined {
		t.Errorf("closed with %v, held %d bytes", why, most)
	}
}

// The same attack on real sockets, by what the heap holds. Each frame that was accepted would take 4 MiB at least.
func TestBeginningsOfLongFramesTakeNoMemory(t *testing.T) {
	const strangers = 24
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	here, there := udp.New(udp.Options{}), udp.New(udp.Options{})
	defer here.Close()
	defer there.Close()
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	at := make(chan netip.AddrPort)
	here.Post(func() {
		n := node(t, here, hyperdht.Config{Bootstrap: []string{}, Listen: loopback, Mode: hyperdht.Persistent, Reachable: true})
		listen(t, n, hyperdht.ListenOptions{Keys: keysOf(1), KeepLimited: true, OnConnection: func(*hyperdht.Connection) {}})
		at <- n.Status().Local
	})
	to := <-at
	before := heap()
	frame := beginning()[:4<<20]
	over := make(chan struct{}, 2*strangers)
	there.Post(func() {
		n := node(t, there, hyperdht.Config{Bootstrap: []string{}, Listen: loopback, Mode: hyperdht.Ephemeral, NoQuickFirewall: true})
		for i := range strangers {
			c := dial(n, to, i, func(c *hyperdht.Connection) { c.WriteRaw(frame) })
			first := true // of acceptance and end
			end := func() {
				if first {
					first = false
					over <- struct{}{}
				}
			}
			c.OnDrain(end)
			c.OnClose(func(error) { end() })
		}
	})
	for range strangers {
		<-over
	}
	if grown := heap() - before; grown > 32<<20 {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
	runtime.KeepAlive(frame)
}

// Retransmissions of a handshake are recognised for ten seconds. What is kept for that must not hold the connection that the
// caller had: a flood fills this memory with callers whose connections were ended at once.
func TestRememberedCallersHoldNoConnections(t *testing.T) {
	const callers = 64
	var conns []weak.Pointer[hyperdht.Connection]
	p := newPair(t, hyperdht.ListenOptions{KeepLimited: true})
	p.sh.Do(func() {
		listen(t, p.server, hyperdht.ListenOptions{Keys: keysOf(3), OnConnection: func(c *hyperdht.Connection) {
			conns = append(conns, weak.Make(c))
			c.Destroy(nil)
		}})
	})
	random := rand.NewChaCha8([32]byte{1})
	p.ch.Do(func() {
		sock, err := p.ch.OpenSocket(netip.AddrPort{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range callers {
			m, err := forge.NewMessage(keysOf(3).Public, random)
			if err != nil {
				t.Fatal(err)
			}
			sock.Send(p.at, 0, forge.Handshake{Server: keysOf(3).Public, Message: m}.Append(nil, p.at, uint16(i)))
		}
	})
	p.net.Run(8 * time.Second) // until the timers have run out that were stopped
	runtime.GC()
	held := 0
	for _, c := range conns {
		if c.Value() != nil {
			held++
		}
	}
	if n := size(p.server, "callers that are remembered"); len(conns) != callers || n != callers || held != 0 {
		t.Errorf("%d connections, %d callers are remembered, %d connections held", len(conns), n, held)
	}
	runtime.KeepAlive(p)
}

func node(t *testing.T, h host.Host, cfg hyperdht.Config) *hyperdht.Node {
	n, err := hyperdht.New(h, cfg)
	if err != nil {
		panic(err)
	}
	t.Cleanup(func() { n.Faults(0, func(what string) { t.Error(what) }) })
	return n
}
