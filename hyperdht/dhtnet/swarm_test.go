package dhtnet_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/swarm"
)

var _ net.Conn = (*dhtnet.SwarmConn)(nil)

func startSwarm(t *testing.T, n *dhtnet.Net, cfg swarm.Config) *dhtnet.Swarm {
	t.Helper()
	s, err := n.Swarm(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// twoSwarms are two swarms of one node, of which the first serves a topic that the second has joined as a client.
func twoSwarms(t *testing.T) (a, b *dhtnet.Swarm, x, y *dhtnet.SwarmConn, served *dhtnet.Topic) {
	t.Helper()
	n, ctx := privateDHT(t), testContext(t)
	a, b = startSwarm(t, n, swarm.Config{}), startSwarm(t, n, swarm.Config{})
	served = must(a.Join(ctx, id.Target{9}, swarm.JoinOptions{Mode: swarm.ServerOnly}))(t)
	if err := errors.Join(served.Flush(ctx), a.Flush(ctx)); err != nil {
		t.Fatal(err)
	}
	must(b.Join(ctx, id.Target{9}, swarm.JoinOptions{Mode: swarm.ClientOnly}))(t)
	return a, b, must(a.Accept(ctx))(t), must(b.Accept(ctx))(t), served
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestSwarmsConnectPeersOfATopic(t *testing.T) {
	a, b, x, y, served := twoSwarms(t)
	ctx := testContext(t)
	if x.Peer.PublicKey != b.PublicKey() || y.Peer.PublicKey != a.PublicKey() || !y.Peer.Dialled || x.Peer.Dialled {
		t.Errorf("%+v and %+v", x.Peer, y.Peer)
	}
	if got := y.RemoteAddr().(dhtnet.Addr); got.Key != a.PublicKey() || !got.AddrPort.IsValid() {
		t.Errorf("remote address %+v", got)
	}
	if _, err := y.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 8)
	if n, err := x.Read(buf); err != nil || string(buf[:n]) != "hello" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	if err := errors.Join(b.Ban(ctx, a.PublicKey()), b.JoinPeer(ctx, id.PublicKey{1}), b.LeavePeer(ctx, id.PublicKey{1})); err != nil {
		t.Error(err)
	}
	y.Close()
	x.Close()
	if err := b.Do(ctx, func(s *swarm.Swarm) {
		if p, ok := s.Peer(a.PublicKey()); !ok || !p.Banned {
			t.Errorf("%+v", p)
		}
	}); err != nil {
		t.Error(err)
	}
	if err := b.Unban(ctx, a.PublicKey()); err != nil {
		t.Error(err)
	}
	if err := b.JoinPeer(ctx, a.PublicKey()); err != nil {
		t.Error(err)
	}
	must(a.Accept(ctx))(t)
	must(b.Accept(ctx))(t)
	if err := served.Leave(ctx); err != nil {
		t.Error(err)
	}
	if err := errors.Join(served.Leave(ctx), served.Refresh(ctx, swarm.JoinOptions{})); !errors.Is(err, swarm.ErrLeft) {
		t.Errorf("after Leave: %v", err)
	}
}

func TestSuspendedSwarmComesBack(t *testing.T) {
	a, b, x, _, _ := twoSwarms(t)
	ctx := testContext(t)
	if err := a.Suspend(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Read(make([]byte, 1)); !errors.Is(err, swarm.ErrSuspended) {
		t.Errorf("read: %v", err)
	}
	if err := a.Flush(ctx); !errors.Is(err, swarm.ErrSuspended) {
		t.Errorf("flush: %v", err)
	}
	if err := a.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	if err := a.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	must(b.Accept(ctx))(t)
}

func TestAcceptEndsWithItsContextItsSwarmAndItsNode(t *testing.T) {
	a, b, x, _, _ := twoSwarms(t)
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	if _, err := a.Accept(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := a.Accept(testContext(t)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("of a closed swarm: %v", err)
	}
	if _, err := x.Read(make([]byte, 1)); !errors.Is(err, swarm.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if _, err := a.Join(testContext(t), id.Target{1}, swarm.JoinOptions{}); !errors.Is(err, swarm.ErrClosed) {
		t.Errorf("join: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestSwarmIsClosedWithItsNode(t *testing.T) {
	n := privateDHT(t)
	closed := make(chan struct{})
	s := startSwarm(t, n, swarm.Config{OnClose: func() { close(closed) }})
	must(s.Join(testContext(t), id.Target{3}, swarm.JoinOptions{}))(t)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accept(testContext(t)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
	<-closed
}

func TestSwarmEndsWithItsHost(t *testing.T) {
	h := udp.New(udp.Options{})
	n, err := dhtnet.Start(testContext(t), h, hyperdht.Config{Listen: netip.MustParseAddrPort("127.0.0.1:0"), Bootstrap: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	s := startSwarm(t, n, swarm.Config{})
	time.AfterFunc(10*time.Millisecond, h.Close)
	if _, err := s.Accept(testContext(t)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	if err := s.Flush(testContext(t)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("flush: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := n.Swarm(testContext(t), swarm.Config{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("another one: %v", err)
	}
}
