package hyperdht_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// dialled connects to keyPair(1) and returns the path once it is open.
func (w *world) dialled(h *simnet.Host, n *hyperdht.Node) (path hyperdht.Path, addr netip.AddrPort) {
	w.t.Helper()
	open := false
	var c *hyperdht.Connection
	h.Do(func() {
		c = n.Connect(keyPair(1).Public, hyperdht.ConnectOptions{})
		c.OnOpen(func() { open = true })
	})
	w.until("the connection is open", 20*time.Second, func() bool { return open })
	path, addr = c.Path(), c.RemoteAddr()
	h.Do(func() { c.Destroy(nil) })
	return path, addr
}

func TestNodeIsReachedAtItsPublicAddressWhileItIsKnown(t *testing.T) {
	w := newWorld(t, 6, simnet.Config{Seed: 160})
	sh := w.host("server")
	sn := w.node(sh, hyperdht.Config{NoQuickFirewall: true})
	w.until("the server is ready", time.Minute, sn.Ready)
	w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	ch, cn := w.settle("client", situation{nat: simnet.SymmetricRandom()}, netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("10.0.0.2"))
	if path, _ := w.dialled(ch, cn); path != hyperdht.PathPunched {
		t.Errorf("a firewalled server is reached by the path %v", path)
	}
	var moves []hyperdht.Move
	var seen []netip.AddrPort
	remove := func() {}
	sh.Do(func() {
		remove = sn.OnMoved(func(m hyperdht.Move) { moves = append(moves, m) })
		sn.OnMoved(func(hyperdht.Move) { t.Error("a removed handler runs") })()
	})
	set := func(addr netip.AddrPort) {
		sh.Do(func() {
			if err := sn.SetPublicAddr(addr); err != nil {
				t.Fatal(err)
			}
		})
	}
	public := sn.Status().Local
	public = netip.AddrPortFrom(sh.Addr(), public.Port())
	set(public)
	if s, kind := sn.Status(), sn.NAT().Kind; s.Firewalled || s.Public != public || kind != hyperdht.NATOpen {
		t.Errorf("status %+v, NAT %v", s, kind)
	}
	w.net.Run(5 * time.Second)
	for range 2 {
		path, addr := w.dialled(ch, cn)
		if path != hyperdht.PathDirect {
			t.Errorf("reached by the path %v", path)
		}
		seen = append(seen, addr)
		w.net.Run(time.Minute)
	}
	if !slices.Equal(seen, []netip.AddrPort{public, public}) || !slices.Equal(moves, []hyperdht.Move{hyperdht.MoveIntoReach}) {
		t.Errorf("reached at %v, moves %v", seen, moves)
	}
	set(netip.AddrPort{})
	if s := sn.Status(); !s.Firewalled || !s.Ephemeral {
		t.Errorf("still reachable after the address was withdrawn: %+v", s)
	}
	w.net.Run(5 * time.Second)
	if s := sn.Status(); s.Public.Addr() != sh.Addr() || s.Public == public {
		t.Errorf("others see %v", s.Public)
	}
	ch, cn = w.settle("other client", situation{nat: simnet.SymmetricRandom()}, netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("10.0.0.3"))
	if path, _ := w.dialled(ch, cn); path != hyperdht.PathPunched || !slices.Equal(moves, []hyperdht.Move{hyperdht.MoveIntoReach, hyperdht.MoveElsewhere}) {
		t.Errorf("reached by the path %v, moves %v", path, moves)
	}
	sh.Do(remove)
	set(public)
	w.net.Run(5 * time.Second)
	if len(moves) != 2 {
		t.Errorf("moves %v, although the handler was removed before the last", moves)
	}
}

// A port that is forwarded has another number at the router, and other nodes see neither of them.
func TestPublicAddressIsNamedWhateverOthersSee(t *testing.T) {
	w := newWorld(t, 6, simnet.Config{Seed: 161})
	sh, sn := w.host("server"), (*hyperdht.Node)(nil)
	forwarded := netip.MustParseAddrPort("198.51.100.9:443")
	sn = w.node(sh, hyperdht.Config{})
	sh.Do(func() {
		if err := sn.SetPublicAddr(forwarded); err != nil {
			t.Fatal(err)
		}
	})
	w.until("the server is ready", time.Minute, sn.Ready)
	server := w.listen(sh, sn, hyperdht.ListenOptions{Keys: keyPair(1)})
	w.net.Run(time.Hour)
	if s := sn.Status(); s.Public != forwarded || s.Firewalled || !s.Ephemeral {
		t.Errorf("status %+v", s)
	}
	if relays := server.Relays(); len(relays) == 0 || relays[0] != forwarded {
		t.Errorf("announced as led to by %v", relays)
	}
	for _, s := range sn.NAT().Samples {
		if s.Seen.Addr() != sh.Addr() {
			t.Errorf("seen at %v", s.Seen)
		}
	}
	moved := 0
	sh.Do(func() {
		sn.OnMoved(func(hyperdht.Move) { moved++ })
		if err := sn.SetPublicAddr(netip.AddrPortFrom(forwarded.Addr(), 53)); err != nil {
			t.Fatal(err)
		}
	})
	w.net.Run(10 * time.Second)
	if relays := server.Relays(); moved != 1 || relays[0].Port() != 53 {
		t.Errorf("another port: %d moves, announced as led to by %v", moved, relays)
	}
}

func TestNodeWithAPublicAddressBecomesPersistent(t *testing.T) {
	w := newWorld(t, 6, simnet.Config{Seed: 162})
	sh := w.host("server")
	sn := w.node(sh, hyperdht.Config{NoQuickFirewall: true})
	sh.Do(func() {
		if err := sn.SetPublicAddr(netip.AddrPortFrom(sh.Addr(), sn.Status().Local.Port())); err != nil {
			t.Fatal(err)
		}
	})
	w.net.Run(40 * time.Minute)
	if sn.Status().Ephemeral {
		t.Error("it is ephemeral")
	}
	sh.Do(func() {
		if err := sn.SetPublicAddr(netip.AddrPort{}); err != nil {
			t.Fatal(err)
		}
	})
	if s := sn.Status(); !s.Ephemeral || !s.Firewalled {
		t.Errorf("without the address: %+v", s)
	}
}

func TestPublicAddressMustBeUsable(t *testing.T) {
	w := newWorld(t, 1, simnet.Config{Seed: 163})
	h := w.host("node")
	n := w.node(h, hyperdht.Config{})
	boot := w.net.HostAt(w.nodes[0].Status().Public.Addr())
	for _, text := range []string{"0.0.0.0:1", "203.0.113.7:0", "[2001:db8::1]:1"} {
		h.Do(func() {
			if n.SetPublicAddr(netip.MustParseAddrPort(text)) == nil || n.Status().Public.IsValid() {
				t.Errorf("%s was accepted", text)
			}
		})
	}
	boot.Do(func() {
		if w.nodes[0].SetPublicAddr(netip.MustParseAddrPort("203.0.113.7:1")) == nil {
			t.Error("a preset address was changed")
		}
	})
	closed := false
	h.Do(func() { n.Close(func() { closed = true }) })
	w.until("the node is closed", 10*time.Second, func() bool { return closed })
	h.Do(func() {
		if err := n.SetPublicAddr(netip.MustParseAddrPort("203.0.113.7:1")); err != nil {
			t.Errorf("on a closed node: %v", err)
		}
	})
}
