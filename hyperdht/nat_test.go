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

// situation is a location of a peer, with the effect of its NAT on punching.
type situation struct {
	name   string
	nat    simnet.NAT
	random bool // every remote sees another port
	open   bool // reachable without help
}

var situations = []situation{
	{name: "open", nat: simnet.Open(), open: true},
	{name: "firewall only", nat: simnet.FirewallOnly()},
	{name: "full cone", nat: simnet.FullCone()},
	{name: "restricted cone", nat: simnet.RestrictedCone()},
	{name: "port-restricted cone", nat: simnet.PortRestricted()},
	{name: "masquerade", nat: simnet.Masquerade()},
	{name: "symmetric", nat: simnet.Symmetric(), random: true},
	{name: "symmetric, random ports", nat: simnet.SymmetricRandom(), random: true},
	{name: "masquerade random", nat: simnet.MasqueradeRandom(), random: true},
}

// settle puts a peer behind a router of its own.
func (w *world) settle(name string, s situation, public, inside netip.Addr) (*simnet.Host, *hyperdht.Node) {
	w.t.Helper()
	router, addr := public, inside
	if s.nat.Mapping == simnet.Never {
		router, addr = netip.Addr{}, public // nothing is translated
	}
	h := w.net.AddRouter(name+"'s router", s.nat, router).AddHost(name, addr)
	n := w.node(h, hyperdht.Config{})
	w.until(name+" is ready", time.Minute, n.Ready)
	return h, n
}

// TestEveryPairOfNATs connects every kind of client with every kind of server. The pairs that the reference implementation can
// connect, we connect; two random NATs meet at a relay.
func TestEveryPairOfNATs(t *testing.T) {
	for _, server := range situations {
		for _, client := range situations {
			t.Run(client.name+" to "+server.name, func(t *testing.T) {
				testPair(t, server, client, nil)
			})
			if server.random && client.random {
				t.Run(client.name+" to "+server.name+" by a relay", func(t *testing.T) {
					testPair(t, server, client, []id.PublicKey{keyPair(7).Public})
				})
			}
		}
	}
}

func testPair(t *testing.T, server, client situation, relays []id.PublicKey) {
	w := newWorld(t, 12, simnet.Config{Seed: 40})
	if relays != nil {
		rh, rn := w.join("relay")
		ready := false
		rh.Do(func() {
			if _, err := rn.ServeRelay(hyperdht.RelayConfig{Keys: keyPair(7)}, func(error) { ready = true }); err != nil {
				t.Fatal(err)
			}
		})
		w.until("the relay is announced", time.Minute, func() bool { return ready })
	}
	sh, sn := w.settle("server", server, netip.MustParseAddr("81.2.3.1"), netip.MustParseAddr("192.168.1.10"))
	ch, cn := w.settle("client", client, netip.MustParseAddr("82.2.3.1"), netip.MustParseAddr("192.168.2.10"))
	w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1), RelayThrough: relays})

	want, within := hyperdht.PathPunched, 500*time.Millisecond
	var wantErr error
	switch {
	case server.open || client.open:
		want = hyperdht.PathDirect
	case server.random && client.random && relays != nil:
		want, within = hyperdht.PathRelayed, 2*time.Second
	case server.random && client.random:
		want, wantErr = hyperdht.PathNone, hyperdht.ErrDoubleRandom
	case server.random || client.random:
		within = 35 * time.Second // by chance: 1750 probes, 20 ms apart
	}

	var c *hyperdht.Connection
	var err error
	echoed := false
	ch.Do(func() {
		c = cn.Connect(keyPair(1).Public, hyperdht.ConnectOptions{})
		c.Send([]byte("hello"))
		c.OnMessage(func([]byte) { echoed = true })
		c.OnClose(func(e error) { err = e })
	})
	w.until("it works or fails", within, func() bool { return echoed || err != nil })
	if !errors.Is(err, wantErr) || c.Path() != want {
		t.Errorf("path %v (%v), want %v (%v)", c.Path(), err, want, wantErr)
	}
}

// TestTwoHostsOfOneLANMeetOnIt connects two hosts whose router does not send its inside hosts to each other.
func TestTwoHostsOfOneLANMeetOnIt(t *testing.T) {
	w := newWorld(t, 12, simnet.Config{Seed: 41})
	home := w.net.AddRouter("home", simnet.PortRestricted(), netip.MustParseAddr("81.2.3.1"))
	join := func(name, addr string) (*simnet.Host, *hyperdht.Node) {
		h := home.AddHost(name, netip.MustParseAddr(addr))
		n := w.node(h, hyperdht.Config{})
		w.until(name+" is ready", time.Minute, n.Ready)
		return h, n
	}
	sh, sn := join("server", "192.168.1.10")
	ch, cn := join("client", "192.168.1.11")
	w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	var c *hyperdht.Connection
	echoed := false
	ch.Do(func() {
		c = cn.Connect(keyPair(1).Public, hyperdht.ConnectOptions{})
		c.Send([]byte("hello"))
		c.OnMessage(func([]byte) { echoed = true })
	})
	w.until("the echo is back", 2*time.Second, func() bool { return echoed })
	if c.Path() != hyperdht.PathLAN || c.RemoteAddr().Addr() != sh.Addr() {
		t.Errorf("path %v to %v, want the LAN", c.Path(), c.RemoteAddr())
	}
}

// TestTwoProgramsOfOneMachineMeetOnIt has two nodes on one machine, whose router does not send it what it sends to itself:
// their private address is the only way, though it is the dialling side's own, too.
func TestTwoProgramsOfOneMachineMeetOnIt(t *testing.T) {
	w := newWorld(t, 12, simnet.Config{Seed: 43})
	home := w.net.AddRouter("home", simnet.PortRestricted(), netip.MustParseAddr("81.2.3.1"))
	h := home.AddHost("machine", netip.MustParseAddr("192.168.1.10"))
	h.SetBridges(netip.MustParseAddr("172.17.0.1"))
	sn, cn := w.node(h, hyperdht.Config{}), w.node(h, hyperdht.Config{})
	w.until("both are ready", time.Minute, func() bool { return sn.Ready() && cn.Ready() })
	w.listen(h, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	var c *hyperdht.Connection
	echoed := false
	h.Do(func() {
		c = cn.Connect(keyPair(1).Public, hyperdht.ConnectOptions{})
		c.Send([]byte("hello"))
		c.OnMessage(func([]byte) { echoed = true })
	})
	w.until("the echo is back", 2*time.Second, func() bool { return echoed })
	if c.Path() != hyperdht.PathLAN {
		t.Errorf("path %v to %v, want the LAN", c.Path(), c.RemoteAddr())
	}
}

// TestOpenClientThatDialsWhileItStarts dials a server behind a random NAT before it knows that it can be reached. It finds
// that out first, so that the server connects to it, instead of the many sockets and seconds that it takes towards a
// consistent NAT.
func TestOpenClientThatDialsWhileItStarts(t *testing.T) {
	slow := simnet.Link{Delay: 5 * time.Millisecond, Spread: 100 * time.Millisecond}
	w := newWorld(t, 12, simnet.Config{Seed: 42, Link: slow})
	random := situation{nat: simnet.MasqueradeRandom()}
	sh, sn := w.settle("server", random, netip.MustParseAddr("81.2.3.1"), netip.MustParseAddr("192.168.1.10"))
	w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	ch := w.host("client")
	cn := w.node(ch, hyperdht.Config{})
	w.net.Run(170 * time.Millisecond)
	if !cn.Status().Firewalled {
		t.Fatal("the client knows already that it is reachable: dial earlier")
	}
	var c *hyperdht.Connection
	var err error
	echoed := false
	ch.Do(func() {
		c = cn.Connect(keyPair(1).Public, hyperdht.ConnectOptions{})
		c.Send([]byte("hello"))
		c.OnMessage(func([]byte) { echoed = true })
		c.OnClose(func(e error) { err = e })
	})
	w.until("it works or fails", 3*time.Second, func() bool { return echoed || err != nil })
	if err != nil || c.Path() != hyperdht.PathDirect || sn.Status().Peering.PunchesRandom != 0 {
		t.Errorf("path %v (%v), %d random punches, want none", c.Path(), err, sn.Status().Peering.PunchesRandom)
	}
}

// TestRandomPunchesTakeTurnsWhileARelayCarries has two clients behind random NATs come at once. A node punches randomly
// once at a time and rests between; the second client's connection lives on the relay until it is its turn.
func TestRandomPunchesTakeTurnsWhileARelayCarries(t *testing.T) {
	relays := []id.PublicKey{keyPair(7).Public}
	for _, server := range []situation{{name: "consistent", nat: simnet.PortRestricted()}, {name: "random", nat: simnet.SymmetricRandom(), random: true}} {
		t.Run("server "+server.name, func(t *testing.T) {
			w := newWorld(t, 12, simnet.Config{Seed: 42})
			rh, rn := w.join("relay")
			ready := false
			rh.Do(func() {
				if _, err := rn.ServeRelay(hyperdht.RelayConfig{Keys: keyPair(7)}, func(error) { ready = true }); err != nil {
					t.Fatal(err)
				}
			})
			w.until("the relay is announced", time.Minute, func() bool { return ready })
			sh, sn := w.settle("server", server, netip.MustParseAddr("81.2.3.1"), netip.MustParseAddr("192.168.1.10"))
			client := situation{name: "random", nat: simnet.SymmetricRandom(), random: true}
			if server.random {
				client = situation{name: "consistent", nat: simnet.PortRestricted()}
			}
			ah, an := w.settle("first", client, netip.MustParseAddr("82.2.3.1"), netip.MustParseAddr("192.168.2.10"))
			bh, bn := w.settle("second", client, netip.MustParseAddr("83.2.3.1"), netip.MustParseAddr("192.168.3.10"))
			w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1), RelayThrough: relays})
			var conns []*hyperdht.Connection
			echoes := 0
			for _, c := range []struct {
				h *simnet.Host
				n *hyperdht.Node
			}{{ah, an}, {bh, bn}} {
				c.h.Do(func() {
					conn := c.n.Connect(keyPair(1).Public, hyperdht.ConnectOptions{})
					conn.OnMessage(func([]byte) { echoes++ })
					conn.OnClose(func(err error) { t.Errorf("closed with %v", err) })
					conn.Send([]byte("hello"))
					conns = append(conns, conn)
				})
			}
			w.until("both work", 2*time.Second, func() bool { return echoes == 2 })
			w.until("both are punched", 4*time.Minute, func() bool {
				return conns[0].Path() == hyperdht.PathPunched && conns[1].Path() == hyperdht.PathPunched
			})
			if s := sn.Status().Peering; s.PunchesLater == 0 {
				t.Errorf("no punch had to wait: %+v", s)
			}
		})
	}
}
