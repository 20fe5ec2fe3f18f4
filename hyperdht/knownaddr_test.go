package hyperdht_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// knownWorld is a DHT, a server on a public address, and a client behind a NAT that can send to that address only while it is cut off.
type knownWorld struct {
	*world
	sh, ch *simnet.Host
	sn, cn *hyperdht.Node
	cut    bool
	sent   int // datagrams of the client to others than the server
}

func newKnownWorld(t *testing.T, seed uint64) *knownWorld {
	w := &knownWorld{world: newWorld(t, 6, simnet.Config{Seed: seed})}
	w.net.SetName("scraper.example", netip.MustParseAddr("100.128.0.200"))
	w.sh = w.net.AddHost("server", netip.MustParseAddr("100.128.0.200"))
	w.sn = w.node(w.sh, hyperdht.Config{Listen: netip.MustParseAddrPort("0.0.0.0:443")})
	w.sh.Do(func() {
		if err := w.sn.SetPublicAddr(netip.AddrPortFrom(w.sh.Addr(), 443)); err != nil {
			t.Fatal(err)
		}
	})
	w.until("the server is ready", time.Minute, w.sn.Ready)
	w.listen(w.sh, w.sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	public := netip.MustParseAddr("198.51.100.1")
	w.net.SetFilter(func(d simnet.Datagram) bool {
		if d.From.Addr() == public && d.To.Addr() != w.sh.Addr() {
			w.sent++
		}
		return !w.cut || d.From.Addr() != public && d.To.Addr() != public || d.To.Addr() == w.sh.Addr() || d.From.Addr() == w.sh.Addr()
	})
	w.ch = w.net.AddRouter("router", simnet.SymmetricRandom(), public).AddHost("client", netip.MustParseAddr("10.0.0.2"))
	return w
}

func (w *knownWorld) start() { w.cn = w.node(w.ch, hyperdht.Config{}) }

var atServer = []hyperdht.HostPort{{Host: "100.128.0.200", Port: 443}}

// dial connects and returns the time until the connection is open, or its error.
func (w *knownWorld) dial(opts hyperdht.ConnectOptions) (took time.Duration, path hyperdht.Path, err error) {
	w.t.Helper()
	begun, over := w.net.Now(), false
	var c *hyperdht.Connection
	w.ch.Do(func() {
		c = w.cn.Connect(keyPair(1).Public, opts)
		c.OnOpen(func() { over, took, path = true, w.net.Now()-begun, c.Path() })
		c.OnClose(func(e error) {
			if !over {
				over, err = true, e
			}
		})
	})
	w.until("the dial ends", time.Minute, func() bool { return over })
	w.ch.Do(func() { c.Destroy(nil) })
	return took, path, err
}

func TestKnownAddressIsDialledWithoutTheDHT(t *testing.T) {
	w := newKnownWorld(t, 170)
	w.cut = true
	w.start()
	took, path, err := w.dial(hyperdht.ConnectOptions{Addrs: atServer})
	if err != nil || path != hyperdht.PathDirect || took > 250*time.Millisecond || w.cn.Ready() {
		t.Errorf("open after %v by the path %v: %v; ready %v", took, path, err, w.cn.Ready())
	}
	w.net.Run(30 * time.Second)
	if s := w.cn.Status(); !s.Silent || s.Public.Addr() != netip.MustParseAddr("198.51.100.1") {
		t.Errorf("status %+v", s)
	}
	w.start() // one that remembers nothing
	if _, _, err := w.dial(hyperdht.ConnectOptions{}); !errors.Is(err, hyperdht.ErrNoDHTNode) {
		t.Errorf("without the address: %v", err)
	}
	for what, addrs := range map[string][]hyperdht.HostPort{
		"a dead address": {{Host: "100.128.0.200", Port: 444}}, "an unknown name": {{Host: "nowhere.example", Port: 443}}, "an IPv6 address": {{Host: "2001:db8::1", Port: 443}},
	} {
		if _, _, err := w.dial(hyperdht.ConnectOptions{Addrs: addrs}); !errors.Is(err, hyperdht.ErrNoDHTNode) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if took, _, err := w.dial(hyperdht.ConnectOptions{Addrs: []hyperdht.HostPort{{Host: "scraper.example", Port: 443}}}); err != nil || took > 500*time.Millisecond {
		t.Errorf("by name: %v, %v", took, err)
	}
}

func TestDHTIsNotAskedWhereTheKnownAddressAnswers(t *testing.T) {
	w := newKnownWorld(t, 171)
	w.start()
	w.until("the client is ready", time.Minute, w.cn.Ready)
	w.net.Run(time.Second)
	before, queries := w.sent, w.cn.Status().RPC.Queries.Total
	took, path, err := w.dial(hyperdht.ConnectOptions{Addrs: atServer})
	if err != nil || path != hyperdht.PathDirect || took > 250*time.Millisecond {
		t.Errorf("open after %v by the path %v: %v", took, path, err)
	}
	if n := w.cn.Status().RPC.Queries.Total - queries; n != 0 || w.sent != before {
		t.Errorf("%d queries, %d datagrams to others", n, w.sent-before)
	}
}

func TestServerThatLeftItsKnownAddressIsFoundByTheDHT(t *testing.T) {
	w := newKnownWorld(t, 172)
	w.start()
	w.until("the client is ready", time.Minute, w.cn.Ready)
	usual, _, err := w.dial(hyperdht.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for what, addrs := range map[string][]hyperdht.HostPort{
		"nothing there":   {{Host: "100.128.0.200", Port: 444}},
		"another node":    {{Host: "100.128.0.1", Port: 49737}},
		"an unknown name": {{Host: "nowhere.example", Port: 443}},
		"both":            {{Host: "nowhere.example", Port: 443}, {Host: "100.128.0.200", Port: 444}},
	} {
		took, _, err := w.dial(hyperdht.ConnectOptions{Addrs: addrs})
		if err != nil || took > usual+time.Second {
			t.Errorf("%s: open after %v instead of %v: %v", what, took, usual, err)
		}
	}
}

// A rule of paths that allows relays only hides the caller's address from the server.
func TestKnownAddressIsNotDialledByCallersThatUseRelaysOnly(t *testing.T) {
	w := newKnownWorld(t, 173)
	w.start()
	w.until("the client is ready", time.Minute, w.cn.Ready)
	toServer := 0
	w.net.SetFilter(func(d simnet.Datagram) bool {
		if d.From.Addr() == netip.MustParseAddr("198.51.100.1") && d.To.Addr() == w.sh.Addr() {
			toServer++
		}
		return true
	})
	if _, _, err := w.dial(hyperdht.ConnectOptions{Addrs: atServer, Paths: hyperdht.RelayOnly}); err == nil || toServer != 0 {
		t.Errorf("%v, %d datagrams to the server", err, toServer)
	}
}

func TestRelayIsDialledAtItsKnownAddress(t *testing.T) {
	w := newKnownWorld(t, 174)
	announced := false
	w.sh.Do(func() {
		if _, err := w.sn.ServeRelay(hyperdht.RelayConfig{Keys: keyPair(7)}, func(error) { announced = true }); err != nil {
			t.Fatal(err)
		}
	})
	w.until("the relay is announced", 20*time.Second, func() bool { return announced })
	h := w.host("answerer")
	n := w.node(h, hyperdht.Config{})
	w.until("the answerer is ready", time.Minute, n.Ready)
	w.listen(h, n, hyperdht.ListenOptions{Keys: keyPair(2)})
	w.cn = w.node(w.ch, hyperdht.Config{RelayAddrs: map[id.PublicKey][]hyperdht.HostPort{keyPair(7).Public: atServer}})
	w.until("the client is ready", time.Minute, w.cn.Ready)
	lookups := w.cn.Status().RPC.Queries.Total
	open := false
	w.ch.Do(func() {
		c := w.cn.Connect(keyPair(2).Public, hyperdht.ConnectOptions{RelayThrough: []id.PublicKey{keyPair(7).Public}, Paths: hyperdht.RelayOnly})
		c.OnOpen(func() { open = true })
	})
	w.until("the connection is open", 20*time.Second, func() bool { return open })
	if n := w.cn.Status().RPC.Queries.Total - lookups; n != 1 {
		t.Errorf("%d lookups, and one was for the answerer", n)
	}
}
