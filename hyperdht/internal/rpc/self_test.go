package rpc

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

func TestNodeThatIsItsOwnBootstrapNodeKnowsItAndFindsTheRealOne(t *testing.T) {
	other := netip.MustParseAddrPort("10.0.0.9:49737")
	l := newLab(t, Config{Listen: us, Bootstrap: []Bootstrap{BootstrapAddr(us), BootstrapAddr(other)}})
	l.net.Run(time.Minute)
	if l.Len() != 0 || l.Host().IsValid() || !slices.Equal(l.nodes.self, []netip.AddrPort{us}) {
		t.Errorf("%d nodes known, seen at %v, own addresses %v", l.Len(), l.Host(), l.nodes.self)
	}
	if l.Stats().Requests.Responses != 0 {
		t.Errorf("%d answers from itself", l.Stats().Requests.Responses)
	}
	l.peerAt(other, empty)
	l.net.Run(2 * time.Minute)
	if l.Len() != 1 {
		t.Errorf("%d nodes known two minutes after the real bootstrap node has appeared", l.Len())
	}
}

func TestOwnAddressIsNoNode(t *testing.T) {
	l := newLab(t, Config{})
	p := l.peer(empty)
	o, done := l.outcome()
	l.do(func() {
		l.Ping(p.addr, nil, nil, nil)
		l.AddNode(l.atServer())
		l.Ping(l.atServer(), nil, nil, done)
	})
	l.net.Run(time.Second)
	if !errors.Is(o.err, ErrSelf) || o.calls != 1 {
		t.Errorf("a ping of the own address ended with %v", o.err)
	}
	if want := []netip.AddrPort{p.addr}; !slices.Equal(l.Nodes(), want) {
		t.Errorf("knows %v, want %v", l.Nodes(), want)
	}
}

// A NAT with hairpinning leads packets to its own outside address back inside: the node does not see that it asks itself
// by any address that it has.
func TestOwnAddressOutsideOfANATIsNoNode(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 3, Link: link})
	nat := simnet.FullCone()
	nat.Hairpin = true
	h := net.AddRouter("router", nat, netip.MustParseAddr("198.51.100.1")).AddHost("us", netip.MustParseAddr("192.168.1.2"))
	observer, err := net.AddHost("observer", addrOf(1)).OpenSocket(netip.AddrPortFrom(addrOf(1), 1))
	if err != nil {
		t.Fatal(err)
	}
	var outside netip.AddrPort
	observer.OnReceive(func(from netip.AddrPort, _ []byte) { outside = from })
	var e *Endpoint
	h.Do(func() {
		if e, err = New(h, Config{}); err != nil {
			t.Fatal(err)
		}
		e.ServerSocket().Send(observer.LocalAddr(), 0, []byte("hello"))
	})
	net.Run(time.Second)
	var failed error
	h.Do(func() { e.Ping(outside, nil, nil, func(_ Reply, err error) { failed = err }) })
	net.Run(time.Minute)
	if !errors.Is(failed, ErrSelf) || e.Len() != 0 || e.Stats().Requests.Responses != 0 {
		t.Errorf("a ping of %v ended with %v; %d nodes known", outside, failed, e.Len())
	}
}
