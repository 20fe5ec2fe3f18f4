package hyperdht_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simpipe"
	"github.com/dhtprom/dhtprom/adapters/simnet/simturn"
	"github.com/dhtprom/dhtprom/adapters/turn"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// turnWorld is a world with TURN servers and hosts that reach nothing else.
type turnWorld struct {
	*world
	pipes   *simpipe.Network
	servers []*simturn.Server
	at      []netip.AddrPort
}

func newTURNWorld(t *testing.T, servers int) *turnWorld {
	t.Helper()
	w := &turnWorld{world: newWorld(t, 12, simnet.Config{Seed: 44})}
	w.pipes = simpipe.New(w.net, simpipe.Config{})
	for i := range servers {
		h := w.net.AddHost(fmt.Sprint("turn", i), netip.AddrFrom4([4]byte{91, 2, 3, byte(i + 1)}))
		w.servers = append(w.servers, simturn.Start(w.net, w.pipes, h, 443, simturn.Config{Users: map[string]string{"alice": "password"}}))
		w.at = append(w.at, netip.AddrPortFrom(h.Addr(), 443))
	}
	return w
}

// relayed is a host behind a router without UDP, and its node.
func (w *turnWorld) relayed(name string, public netip.Addr) (*simnet.Host, *hyperdht.Node, *turn.Host) {
	w.t.Helper()
	h := w.net.AddRouter(name+"'s router", simnet.UDPBlocked(), netip.Addr{}).AddHost(name, public)
	var servers []turn.Server
	for _, at := range w.at {
		servers = append(servers, turn.Server{Name: at.String(), Dialer: w.pipes.Dialer(h, at), Username: "alice", Password: "password"})
	}
	var th *turn.Host
	var n *hyperdht.Node
	h.Do(func() {
		var err error
		th, err = turn.New(h, turn.Config{Servers: servers, OnUp: func(netip.AddrPort) {
			if n != nil {
				return
			}
			if n, err = hyperdht.New(th, hyperdht.Config{Bootstrap: w.bootstrap}); err != nil {
				w.t.Error(err)
			}
		}})
		if err != nil {
			w.t.Error(err)
		}
	})
	w.until(name+" is ready", time.Minute, func() bool { return n != nil && n.Ready() })
	return h, n, th
}

// A host whose datagrams a TURN server relays connects to peers behind NATs of all kinds, in both directions, without a guess of ports.
func TestRelayedHostsConnectWithAllNATs(t *testing.T) {
	for _, other := range situations {
		for _, dials := range []bool{true, false} {
			name := other.name + " dials"
			if dials {
				name = "dials " + other.name
			}
			t.Run(name, func(t *testing.T) {
				w := newTURNWorld(t, 1)
				h, n, _ := w.relayed("relayed", netip.MustParseAddr("81.2.3.1"))
				oh, on := w.settle("other", other, netip.MustParseAddr("82.2.3.1"), netip.MustParseAddr("192.168.2.10"))
				sh, sn, ch, cn := h, n, oh, on
				if dials {
					sh, sn, ch, cn = oh, on, h, n
				}
				w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
				echoes(w.world, ch, cn, 2500*time.Millisecond)
				if s := w.servers[0].Stats(); s.Wrong > 0 {
					t.Errorf("the TURN server has counted %d wrong messages", s.Wrong)
				}
				if s := n.Status(); !s.Firewalled || !s.Ephemeral {
					t.Errorf("firewalled %t, ephemeral %t", s.Firewalled, s.Ephemeral)
				}
			})
		}
	}
}

// echoes dials the server and waits for an echo.
func echoes(w *world, h *simnet.Host, n *hyperdht.Node, within time.Duration) (c *hyperdht.Connection) {
	w.t.Helper()
	echoed := false
	h.Do(func() {
		c = n.Connect(keyPair(1).Public, hyperdht.ConnectOptions{})
		c.Send([]byte("hello"))
		c.OnMessage(func([]byte) { echoed = true })
		c.OnClose(func(err error) {
			if !echoed {
				w.t.Errorf("closed: %v", err)
			}
		})
	})
	began := w.net.Now()
	w.until("the echo is back", within, func() bool { return echoed })
	w.t.Logf("after %s, %s", w.net.Now()-began, c.Path())
	return c
}

func TestTwoRelayedHostsConnect(t *testing.T) {
	for servers := range 2 {
		w := newTURNWorld(t, servers+1)
		sh, sn, _ := w.relayed("server", netip.MustParseAddr("81.2.3.1"))
		w.at = append(w.at[1:], w.at[0]) // the other one first, if there is one
		ch, cn, _ := w.relayed("client", netip.MustParseAddr("82.2.3.1"))
		w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
		if c := echoes(w.world, ch, cn, 2*time.Second); c.Path() == hyperdht.PathLAN {
			t.Error("two hosts of one TURN server are taken for one network")
		}
	}
}

// The server fails, and the other one relays: the node is at another address, and is found there. Those that dial it while its records are
// old wait for the relays of the DHT to notice.
func TestRelayedNodeMovesToTheNextServer(t *testing.T) {
	w := newTURNWorld(t, 2)
	h, n, th := w.relayed("relayed", netip.MustParseAddr("81.2.3.1"))
	oh, on := w.settle("other", situations[0], netip.MustParseAddr("82.2.3.1"), netip.MustParseAddr("192.168.2.10"))
	w.listen(h, n, hyperdht.ListenOptions{Keys: keyPair(1)})
	echoes(w.world, oh, on, 2*time.Second)
	first := th.Status().Relayed
	began := w.net.Now()
	w.servers[0].Kill()
	w.until("the second relays", 2*time.Second, func() bool { return th.Status().Server != "" && th.Status().Relayed != first })
	w.until("the node has moved", 10*time.Second, func() bool { return n.Status().Public.Addr() == th.Status().Relayed.Addr() })
	w.t.Logf("moved after %s", w.net.Now()-began)
	w.net.Run(10*time.Second - (w.net.Now() - began))
	echoes(w.world, oh, on, 3*time.Second)
}

// Permissions, channels and the allocation outlast a quarter of an hour with a connection that is used now and then.
func TestRelayedConnectionLasts(t *testing.T) {
	w := newTURNWorld(t, 1)
	w.servers[0].SetConfig(func(c *simturn.Config) { c.NonceAge = time.Minute })
	h, n, th := w.relayed("relayed", netip.MustParseAddr("81.2.3.1"))
	oh, on := w.settle("other", situations[3], netip.MustParseAddr("82.2.3.1"), netip.MustParseAddr("192.168.2.10"))
	w.listen(h, n, hyperdht.ListenOptions{Keys: keyPair(1)})
	c := echoes(w.world, oh, on, 2*time.Second)
	echoed := 0
	c.OnMessage(func([]byte) { echoed++ })
	for range 15 {
		oh.Do(func() { c.Send([]byte("a minute later")) })
		w.net.Run(time.Minute)
	}
	if s := th.Stats(); echoed != 15 || s.Losses > 0 || s.Allocations != 1 || w.servers[0].Stats().Wrong > 0 {
		t.Errorf("%d of 15 echoes, %+v", echoed, s)
	}
}

// A pipe that nothing arrives over any more is replaced by the next server's.
func TestRelayedNodeNoticesAStalledPipe(t *testing.T) {
	w := newTURNWorld(t, 2)
	h, n, th := w.relayed("relayed", netip.MustParseAddr("81.2.3.1"))
	w.listen(h, n, hyperdht.ListenOptions{Keys: keyPair(1)})
	began := w.net.Now()
	w.net.Block(w.net.HostAt(w.at[0].Addr()), h)
	w.until("the second relays", 10*time.Second, func() bool { return th.Stats().Allocations == 2 })
	w.t.Logf("after %s", w.net.Now()-began)
	oh, on := w.settle("other", situations[0], netip.MustParseAddr("82.2.3.1"), netip.MustParseAddr("192.168.2.10"))
	w.net.Run(20 * time.Second)
	echoes(w.world, oh, on, 3*time.Second)
}
