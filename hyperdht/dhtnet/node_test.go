package dhtnet_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

func TestSavedNodesAndFoundNodesLeadToAServer(t *testing.T) {
	n, ctx := privateDHT(t), testContext(t)
	l := listen(t, n)
	key := l.Addr().(dhtnet.Addr).Key
	saved, err := n.Nodes(ctx)
	if err != nil || len(saved) < 3 {
		t.Fatalf("%v, %v", saved, err)
	}
	h := udp.New(udp.Options{})
	defer h.Close()
	later, err := dhtnet.Start(ctx, h, hyperdht.Config{Bootstrap: []string{}, Nodes: saved, Listen: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	found, err := later.FindPeer(ctx, key)
	if err != nil || len(found) == 0 || found[0].Peers[0].PublicKey != key {
		t.Fatalf("%+v, %v", found, err)
	}
	c, err := later.Dial(ctx, key, hyperdht.ConnectOptions{RelayAddrs: []netip.AddrPort{found[0].From}})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if found, err := later.FindPeer(ctx, id.PublicKey{1}); err != nil || len(found) != 0 {
		t.Errorf("a server that is not there: %v, %v", found, err)
	}
}

func TestAddedNodesAreListed(t *testing.T) {
	ctx, h := testContext(t), udp.New(udp.Options{})
	defer h.Close()
	n, err := dhtnet.Start(ctx, h, hyperdht.Config{Bootstrap: []string{}, Listen: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	added := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1001"), netip.MustParseAddrPort("127.0.0.1:1002")}
	if err := n.AddNode(ctx, added...); err != nil {
		t.Fatal(err)
	}
	nodes, err := n.Nodes(ctx)
	if err != nil || !slices.Contains(nodes, added[0]) || !slices.Contains(nodes, added[1]) {
		t.Errorf("%v, %v", nodes, err)
	}
	if s, err := n.Status(ctx); err != nil || !s.Ready || s.Nodes != len(nodes) {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestSuspendedNodesComeBack(t *testing.T) {
	n, ctx := privateDHT(t), testContext(t)
	l := listen(t, n)
	key := l.Addr().(dhtnet.Addr).Key
	c, err := n.Dial(ctx, key, hyperdht.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Suspend(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); !errors.Is(err, hyperdht.ErrSuspended) {
		t.Errorf("a connection of before: %v", err)
	}
	if _, err := n.Dial(ctx, key, hyperdht.ConnectOptions{}); !errors.Is(err, hyperdht.ErrSuspended) {
		t.Errorf("a dial of a suspended node: %v", err)
	}
	if s, err := n.Status(ctx); err != nil || s.Local.IsValid() {
		t.Errorf("suspended: %+v, %v", s, err)
	}
	if err := n.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	if c, err = n.Dial(ctx, key, hyperdht.ConnectOptions{}); err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestCallsOfAClosedNodeFail(t *testing.T) {
	n := privateDHT(t)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(ctx context.Context) error{
		"Status":  func(ctx context.Context) error { _, err := n.Status(ctx); return err },
		"Nodes":   func(ctx context.Context) error { _, err := n.Nodes(ctx); return err },
		"AddNode": func(ctx context.Context) error { return n.AddNode(ctx) },
		"Suspend": n.Suspend,
		"Resume":  n.Resume,
	} {
		if err := call(testContext(t)); !errors.Is(err, hyperdht.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s after the end of its context: %v", name, err)
		}
	}
}
