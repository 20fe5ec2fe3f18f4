package hyperdht_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports/host"
)

// canFind reports whether n finds a record of keyPair(1).
func (w *world) canFind(h *simnet.Host, n *hyperdht.Node) bool {
	w.t.Helper()
	found, done := false, false
	h.Do(func() {
		n.FindPeer(keyPair(1).Public, func(hyperdht.Found) { found = true }, func(error) { done = true })
	})
	w.until("the lookup ends", time.Minute, func() bool { return done })
	return found
}

// canConnect reports whether n can reach the server under keyPair(1).
func (w *world) canConnect(h *simnet.Host, n *hyperdht.Node) bool {
	w.t.Helper()
	opened, closed := false, false
	var c *hyperdht.Connection
	h.Do(func() {
		c = n.Connect(keyPair(1).Public, hyperdht.ConnectOptions{})
		c.OnOpen(func() { opened = true })
		c.OnClose(func(error) { closed = true })
	})
	w.until("the attempt ends", time.Minute, func() bool { return opened || closed })
	h.Do(func() { c.Destroy(nil) })
	return opened
}

func TestClosedServerIsForgottenByTheDHT(t *testing.T) {
	w := newWorld(t, 10, simnet.Config{Seed: 30})
	sh, sn := w.join("server")
	ch, cn := w.join("client")
	server := w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	if !w.canFind(ch, cn) {
		t.Fatal("the server was not found while it listened")
	}
	closed := false
	sh.Do(func() { server.Close(func() { closed = true }) })
	w.until("the server is closed", 10*time.Second, func() bool { return closed })
	if w.canFind(ch, cn) {
		t.Error("the server is still found")
	}
	w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	if !w.canConnect(ch, cn) {
		t.Error("a new server under the same key cannot be reached")
	}
}

func TestListeningTwiceUnderOneKeyFails(t *testing.T) {
	w := newWorld(t, 5, simnet.Config{Seed: 31})
	sh, sn := w.join("server")
	w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	sh.Do(func() {
		_, err := sn.Listen(hyperdht.ListenOptions{Keys: keyPair(1)}, func(error) { t.Error("done was called") })
		if !errors.Is(err, hyperdht.ErrKeyPairInUse) {
			t.Errorf("got %v", err)
		}
	})
	w.net.Run(time.Second)
}

func TestServerAnnouncesAnewWhenItsRelaysDie(t *testing.T) {
	w := newWorld(t, 20, simnet.Config{Seed: 32})
	sh, sn := w.join("server")
	ch, cn := w.join("client")
	server := w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	crashed := 0
	for _, r := range server.Relays() {
		if r.Addr() != sh.Addr() { // a server that can be reached names itself first
			w.net.HostAt(r.Addr()).Crash()
			crashed++
		}
	}
	if crashed < 2 {
		t.Fatalf("announced to %v, want at least two nodes", server.Relays())
	}
	w.net.Run(30 * time.Second) // pings every three seconds, four tries of a second each
	if !w.canConnect(ch, cn) {
		t.Error("the server cannot be reached half a minute after its relays died")
	}
}

func TestSuspendedNodeComesBack(t *testing.T) {
	w := newWorld(t, 10, simnet.Config{Seed: 33})
	sh, sn := w.join("server")
	ch, cn := w.join("client")
	w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	suspended := false
	sh.Do(func() { sn.Suspend(func() { suspended = true }) })
	w.until("the server's node is suspended", 20*time.Second, func() bool { return suspended })
	if w.canFind(ch, cn) {
		t.Error("the suspended server is still found")
	}
	if s := sn.Status(); s.Local.IsValid() || s.Servers != 1 {
		t.Errorf("the suspended node's status is %+v", s)
	}
	w.net.Run(time.Hour)
	sh.Do(func() {
		if err := sn.Resume(); err != nil {
			t.Fatal(err)
		}
	})
	w.net.Run(20 * time.Second)
	if !w.canConnect(ch, cn) {
		t.Error("the resumed server cannot be reached")
	}
}

func TestServerOutlivesTheLossOfItsNetwork(t *testing.T) {
	w := newWorld(t, 10, simnet.Config{Seed: 34})
	sh, sn := w.join("server")
	ch, cn := w.join("client")
	w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	cut := true
	w.net.SetFilter(func(d simnet.Datagram) bool {
		return !cut || (d.From.Addr() != sh.Addr() && d.To.Addr() != sh.Addr())
	})
	w.net.Run(10 * time.Minute)
	cut = false
	w.net.Run(time.Minute)
	if !w.canConnect(ch, cn) {
		t.Error("the server cannot be reached a minute after its network came back")
	}
}

func TestFiveMegabytesCrossALossyLink(t *testing.T) {
	w := newWorld(t, 10, simnet.Config{Seed: 35})
	sh, sn := w.join("server")
	ch, cn := w.join("client")
	w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	w.net.SetLinks(sh, ch, simnet.Link{Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.05, Reorder: 0.01, Duplicate: 0.01})
	const size = 5 << 20
	sum, received := 0, 0
	ch.Do(func() {
		c := cn.Connect(keyPair(1).Public, hyperdht.ConnectOptions{})
		msg := make([]byte, size)
		for i := range msg {
			msg[i] = byte(i % 251)
		}
		c.OnMessage(func(b []byte) {
			received += len(b)
			for i, x := range b {
				if x != byte(i%251) {
					sum++
				}
			}
		})
		c.Send(msg)
	})
	w.until("all is back", 5*time.Minute, func() bool { return received == size })
	if sum != 0 {
		t.Errorf("%d bytes are wrong", sum)
	}
}

func TestSameSeedSameRun(t *testing.T) {
	run := func(seed uint64) uint64 {
		w := newWorld(t, 15, simnet.Config{Seed: seed, Link: simnet.Link{Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.05}})
		sh, sn := w.join("server")
		ch, cn := w.join("client")
		w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
		w.canConnect(ch, cn)
		w.net.Run(10 * time.Minute)
		return w.net.Hash()
	}
	a, b, other := run(36), run(36), run(37)
	if a != b {
		t.Errorf("two runs of one seed ended in %x and %x", a, b)
	}
	if a == other {
		t.Error("another seed made the same run")
	}
}

func TestSilentPeerIsGivenUpWithinFifteenSeconds(t *testing.T) {
	w := newWorld(t, 8, simnet.Config{Seed: 38})
	sh, sn := w.join("server")
	ch, cn := w.join("client")
	w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	opened, closed := false, error(nil)
	ch.Do(func() {
		c := cn.Connect(keyPair(1).Public, hyperdht.ConnectOptions{})
		c.OnOpen(func() { opened = true })
		c.OnClose(func(err error) { closed = err })
	})
	w.until("the connection is open", 10*time.Second, func() bool { return opened })
	w.net.Run(7 * time.Minute) // a healthy idle connection lives on
	if closed != nil {
		t.Fatalf("an idle connection ended with %v", closed)
	}
	w.net.Partition([]*simnet.Host{sh}, []*simnet.Host{ch})
	w.net.Run(11 * time.Second)
	w.net.Heal()
	w.net.Run(time.Minute)
	if closed != nil {
		t.Fatalf("eleven seconds of silence ended it with %v", closed)
	}
	crashed := w.net.Now()
	sh.Crash()
	w.until("the client has noticed", 16*time.Second, func() bool { return closed != nil })
	if noticed := w.net.Now() - crashed; noticed < 10*time.Second || !errors.Is(closed, hyperdht.ErrPeerSilent) {
		t.Errorf("closed after %v with %v", noticed, closed)
	}
}

func TestServerAnnouncesAnewWhenItsNATForgets(t *testing.T) {
	w := newWorld(t, 12, simnet.Config{Seed: 39})
	home := w.net.AddRouter("home", simnet.PortRestricted(), netip.MustParseAddr("81.2.3.1"))
	sh := home.AddHost("server", netip.MustParseAddr("192.168.1.10"))
	sn := w.node(sh, hyperdht.Config{})
	w.until("the server's node is ready", time.Minute, sn.Ready)
	ch, cn := w.join("client")
	w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	for range 3 {
		w.net.Run(time.Minute)
		home.SetAddr(home.Addr().Next()) // the provider gives the line another address
		w.net.Run(15 * time.Second)
		if !w.canConnect(ch, cn) {
			t.Fatalf("the server cannot be reached 15 s after it moved to %v", home.Addr())
		}
	}
}

// TestPrivateDHTThatStartsAllAtOnce is the situation after a power cut: when server and client enter, the network has one
// node, and what they need to know of their NATs takes more. Those come moments later.
func TestPrivateDHTThatStartsAllAtOnce(t *testing.T) {
	for seed := range uint64(20) {
		w := &world{t: t, net: simnet.New(simnet.Config{Seed: 200 + seed, Link: simnet.Link{Delay: 200 * time.Microsecond, Jitter: 100 * time.Microsecond}})}
		boot := w.host("boot")
		addr := netip.AddrPortFrom(boot.Addr(), 49737)
		w.bootstrap = []string{addr.String()}
		w.node(boot, hyperdht.Config{Bootstrap: []string{}, PublicAddr: addr})
		sh, ch := w.host("server"), w.host("client")
		sn, cn := w.node(sh, hyperdht.Config{NoQuickFirewall: true}), w.node(ch, hyperdht.Config{NoQuickFirewall: true})
		for i := range 5 {
			w.node(w.host(fmt.Sprint("node", i)), hyperdht.Config{Mode: hyperdht.Persistent, Reachable: true})
		}
		w.until("server and client are ready", 30*time.Second, func() bool { return sn.Ready() && cn.Ready() })
		w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
		connected := false
		var try func()
		try = func() {
			opened := false
			c := cn.Connect(keyPair(1).Public, hyperdht.ConnectOptions{NoLocal: true})
			c.OnOpen(func() { opened, connected = true, true })
			c.OnClose(func(error) {
				if !opened {
					ch.AfterFunc(time.Second, try)
				}
			})
		}
		ch.Do(try)
		if !w.net.RunUntil(func() bool { return connected }, 20*time.Second) {
			t.Errorf("seed %d: no connection in 20 s; server knows %d nodes, client %d", 200+seed, sn.Status().Nodes, cn.Status().Nodes)
		}
	}
}

func TestServerKeepsItsRelaysThroughAnOutage(t *testing.T) {
	w := newWorld(t, 10, simnet.Config{Seed: 35})
	sh, sn := w.join("server")
	ch, cn := w.join("client")
	server := w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	w.net.SetFilter(func(d simnet.Datagram) bool { return d.From.Addr() != sh.Addr() && d.To.Addr() != sh.Addr() })
	for range 60 {
		w.net.Run(time.Second)
		if len(server.Relays()) < 2 {
			t.Fatalf("announced to %v in an outage", server.Relays())
		}
	}
	w.net.SetFilter(nil)
	w.net.Run(15 * time.Second)
	if !w.canConnect(ch, cn) {
		t.Error("the server cannot be reached 15 s after an outage of a minute")
	}
}

// For a while the server reaches one node of its private DHT, which is the only one to have its record then.
func TestServerIsAnnouncedInFullSoonAfterAPartialOutage(t *testing.T) {
	w := newWorld(t, 6, simnet.Config{Seed: 36})
	sh, sn := w.join("server")
	server := w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	w.net.Run(30 * time.Minute)          // cycles follow each other after five minutes now
	reached := server.Relays()[1].Addr() // the first one is its own
	w.net.SetFilter(func(d simnet.Datagram) bool {
		other := d.To.Addr()
		if other == sh.Addr() {
			other = d.From.Addr()
		} else if d.From.Addr() != sh.Addr() {
			return true
		}
		return other == reached
	})
	if !w.net.RunUntil(func() bool { return len(server.Relays()) == 2 }, 20*time.Second) {
		t.Fatalf("announced to %v in a partial outage", server.Relays())
	}
	w.net.SetFilter(nil)
	if !w.net.RunUntil(func() bool { return len(server.Relays()) == 3 }, 30*time.Second) {
		t.Errorf("announced to %v 30 s after the outage", server.Relays())
	}
}

// All that the server sends is lost for a while, so that a caller repeats its first message. It has one stream for all answers, and two
// connections of the server would send on it, with different keys.
func TestServerAnswersARepeatedFirstMessageWithTheSameConnection(t *testing.T) {
	const slow = 3500 * time.Millisecond // the lookup of the caller goes on as long
	for lost := time.Second; lost <= 20*time.Second; lost += time.Second {
		w := newWorld(t, 6, simnet.Config{Seed: 37})
		sh, sn := w.join("server")
		ch, cn := w.join("client")
		server := w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
		unopened, both := 0, 0 // connections of the server
		w.net.SetObserver(func(h *simnet.Host, e host.Event) {
			a, ok := e.(hyperdht.AttemptEvent)
			switch {
			case !ok || h != sh:
			case a.Step == hyperdht.AttemptPath:
				unopened++
				both = max(both, unopened)
			case a.Step == hyperdht.AttemptOpen, a.Step == hyperdht.AttemptClosed:
				unopened--
			}
		})
		began := w.net.Now()
		w.net.SetFilter(func(d simnet.Datagram) bool {
			since := w.net.Now() - began
			return (since > lost || d.From.Addr() != sh.Addr()) && (since > slow || d.To.Addr() != ch.Addr())
		})
		open := false
		ch.Do(func() {
			c := cn.Connect(server.PublicKey(), hyperdht.ConnectOptions{Addrs: []hyperdht.HostPort{{Host: sh.Addr().String(), Port: 49637}}})
			c.OnOpen(func() { open = true })
			c.OnClose(func(error) { open = false })
		})
		w.net.Run(40 * time.Second)
		if both != 1 {
			t.Errorf("answers lost for %v: %d connections of the server for one caller", lost, both)
		}
		if !open && lost <= 10*time.Second {
			t.Errorf("answers lost for %v: no connection, although the caller still repeated its message", lost)
		}
	}
}
