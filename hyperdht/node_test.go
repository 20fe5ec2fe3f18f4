package hyperdht_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// world is a private DHT on a simulated internet.
type world struct {
	t         *testing.T
	net       *simnet.Net
	hosts     int
	bootstrap []string
	nodes     []*hyperdht.Node
	opened    []opened
}

// newWorld starts size persistent nodes and waits until all know the network.
func newWorld(t *testing.T, size int, cfg simnet.Config) *world {
	t.Helper()
	if cfg.Link == (simnet.Link{}) {
		cfg.Link = simnet.Link{Delay: 10 * time.Millisecond, Spread: 20 * time.Millisecond}
	}
	cfg.Scribble = true
	w := &world{t: t, net: simnet.New(cfg)}
	first := w.host("boot")
	addr := netip.AddrPortFrom(first.Addr(), 49737)
	w.bootstrap = []string{addr.String()}
	w.nodes = append(w.nodes, w.node(first, hyperdht.Config{Bootstrap: []string{}, PublicAddr: addr}))
	for len(w.nodes) < size {
		h := w.host(fmt.Sprintf("node%d", len(w.nodes)))
		n := w.node(h, hyperdht.Config{Mode: hyperdht.Persistent, Reachable: true})
		w.nodes = append(w.nodes, n)
	}
	w.until("all nodes are persistent", time.Minute, func() bool {
		for _, n := range w.nodes {
			if s := n.Status(); !s.Ready || s.Ephemeral {
				return false
			}
		}
		return true
	})
	return w
}

func (w *world) host(name string) *simnet.Host {
	w.hosts++
	return w.net.AddHost(name, netip.AddrFrom4([4]byte{100, 128, byte(w.hosts >> 8), byte(w.hosts)}))
}

func (w *world) node(h *simnet.Host, cfg hyperdht.Config) *hyperdht.Node {
	w.t.Helper()
	if cfg.Bootstrap == nil {
		cfg.Bootstrap = w.bootstrap
	}
	var n *hyperdht.Node
	h.Do(func() {
		var err error
		if n, err = hyperdht.New(tapped{h, w}, cfg); err != nil {
			w.t.Fatal(err)
		}
	})
	return n
}

// join adds an ordinary peer: ephemeral, and firewalled until it learns better.
func (w *world) join(name string) (*simnet.Host, *hyperdht.Node) {
	w.t.Helper()
	h := w.host(name)
	n := w.node(h, hyperdht.Config{})
	w.until(name+" is ready", time.Minute, n.Ready)
	return h, n
}

func (w *world) until(what string, within time.Duration, cond func() bool) {
	w.t.Helper()
	if !w.net.RunUntil(cond, within) {
		w.t.Fatalf("not within %v: %s", within, what)
	}
}

func keyPair(b byte) id.KeyPair {
	return id.KeyPairFromSeed(id.Seed(bytes.Repeat([]byte{b}, 32)))
}

// listen starts an echo server on n and waits until it is announced.
func (w *world) listen(h *simnet.Host, n *hyperdht.Node, opts hyperdht.ListenOptions) *hyperdht.Server {
	w.t.Helper()
	if opts.OnConnection == nil {
		opts.OnConnection = func(c *hyperdht.Connection) {
			c.OnMessage(func(b []byte) { c.Send(b) })
			c.OnEnd(c.End)
		}
	}
	var s *hyperdht.Server
	announced := false
	h.Do(func() {
		var err error
		s, err = n.Listen(opts, func(error) { announced = true })
		if err != nil {
			w.t.Fatal(err)
		}
	})
	w.until("the server is announced", 20*time.Second, func() bool { return announced })
	return s
}

func TestConnectionEchoesMessagesInOrder(t *testing.T) {
	w := newWorld(t, 10, simnet.Config{Seed: 1})
	sh, sn := w.join("server")
	ch, cn := w.join("client")
	server := w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})

	var got []string
	opened, closed := false, false
	var closeErr error
	ch.Do(func() {
		c := cn.Connect(server.PublicKey(), hyperdht.ConnectOptions{})
		for i := range 20 {
			c.Send(fmt.Appendf(nil, "message %d", i))
		}
		c.OnOpen(func() { opened = true })
		c.OnMessage(func(b []byte) {
			got = append(got, string(b))
			if len(got) == 20 {
				c.End()
			}
		})
		c.OnClose(func(err error) { closed, closeErr = true, err })
	})
	w.until("the connection has ended", time.Minute, func() bool { return closed })
	if closeErr != nil {
		t.Fatalf("closed with %v", closeErr)
	}
	if !opened || len(got) != 20 || got[19] != "message 19" {
		t.Fatalf("opened %v, got %q", opened, got)
	}
}

func TestConnectingToAnUnknownKeyFails(t *testing.T) {
	w := newWorld(t, 5, simnet.Config{Seed: 2})
	ch, cn := w.join("client")
	var closeErr error
	ch.Do(func() {
		c := cn.Connect(keyPair(9).Public, hyperdht.ConnectOptions{})
		c.OnClose(func(err error) { closeErr = err })
	})
	w.until("the connection fails", time.Minute, func() bool { return closeErr != nil })
	if !errors.Is(closeErr, hyperdht.ErrPeerNotFound) {
		t.Fatalf("failed with %v", closeErr)
	}
}

func TestFirewallAnswersStrangersWithSilence(t *testing.T) {
	w := newWorld(t, 8, simnet.Config{Seed: 3})
	sh, sn := w.join("server")
	ch, cn := w.join("stranger")
	var asked id.PublicKey
	server := w.listen(sh, sn, hyperdht.ListenOptions{
		Keys: keyPair(1),
		Admit: func(remote id.PublicKey, _ *hyperdht.HandshakePayload, from netip.AddrPort) bool {
			asked = remote
			return false
		},
		OnConnection: func(*hyperdht.Connection) { t.Error("a stranger was admitted") },
	})
	var closeErr error
	ch.Do(func() {
		c := cn.Connect(server.PublicKey(), hyperdht.ConnectOptions{})
		c.OnClose(func(err error) { closeErr = err })
	})
	w.until("the stranger gives up", time.Minute, func() bool { return closeErr != nil })
	if !errors.Is(closeErr, hyperdht.ErrPeerConnectionFailed) {
		t.Errorf("failed with %v", closeErr)
	}
	if asked != cn.PublicKey() {
		t.Errorf("the firewall was asked for %v, want %v", asked, cn.PublicKey())
	}
}
