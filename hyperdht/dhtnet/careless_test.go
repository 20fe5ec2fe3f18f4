package dhtnet_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/swarm"
)

// A swarm that does nothing learns of the end of its node, too.
func TestIdleSwarmIsClosedWithItsNode(t *testing.T) {
	n := privateDHT(t)
	s := startSwarm(t, n, swarm.Config{})
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accept(testContext(t)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// lateContext ends while the loop runs the call that it was given to.
type lateContext struct {
	context.Context
	asked atomic.Bool
	done  chan struct{}
}

func newLateContext() *lateContext {
	return &lateContext{Context: context.Background(), done: make(chan struct{})}
}

func (c *lateContext) Done() <-chan struct{} { return c.done }

func (c *lateContext) Err() error {
	if c.asked.CompareAndSwap(false, true) { // by the loop, which goes on
		close(c.done)
		return nil
	}
	return context.Canceled
}

// Where a context ends while the loop makes a swarm or joins a topic, either both are there or neither is.
func TestContextThatEndsWithTheResultLeavesNothing(t *testing.T) {
	n := privateDHT(t)
	for range 8 { // a result that is there at the same moment may be returned
		closed := make(chan struct{})
		s, err := n.Swarm(newLateContext(), swarm.Config{OnClose: func() { close(closed) }})
		if err != nil {
			<-closed
			s = startSwarm(t, n, swarm.Config{})
		}
		topic, err := s.Join(newLateContext(), id.Target{5}, swarm.JoinOptions{Mode: swarm.ClientOnly})
		if err := s.Do(testContext(t), func(s *swarm.Swarm) {
			if _, joined := s.Topic(id.Target{5}); joined != (topic != nil) {
				t.Errorf("Join: %v, joined: %v", err, joined)
			}
		}); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Each call on a closed host, of which nothing runs any more, returns an error.
func TestSwarmCallsOnAClosedHostFail(t *testing.T) {
	h := udp.New(udp.Options{})
	var node *hyperdht.Node
	var err error
	h.Do(func() {
		node, err = hyperdht.New(h, hyperdht.Config{Bootstrap: []string{}, Listen: netip.MustParseAddrPort("127.0.0.1:0")})
	})
	if err != nil {
		t.Fatal(err)
	}
	s := startSwarm(t, dhtnet.New(h, node), swarm.Config{})
	ctx := testContext(t)
	topic := must(s.Join(ctx, id.Target{5}, swarm.JoinOptions{Mode: swarm.ClientOnly}))(t)
	h.Close()
	for name, call := range map[string]func() error{
		"Join":          func() error { _, err := s.Join(ctx, id.Target{6}, swarm.JoinOptions{}); return err },
		"JoinPeer":      func() error { return s.JoinPeer(ctx, id.PublicKey{1}) },
		"LeavePeer":     func() error { return s.LeavePeer(ctx, id.PublicKey{1}) },
		"Ban":           func() error { return s.Ban(ctx, id.PublicKey{1}) },
		"Unban":         func() error { return s.Unban(ctx, id.PublicKey{1}) },
		"Flush":         func() error { return s.Flush(ctx) },
		"Suspend":       func() error { return s.Suspend(ctx) },
		"Resume":        func() error { return s.Resume(ctx) },
		"Topic.Flush":   func() error { return topic.Flush(ctx) },
		"Topic.Refresh": func() error { return topic.Refresh(ctx, swarm.JoinOptions{}) },
		"Topic.Leave":   func() error { return topic.Leave(ctx) },
	} {
		if err := call(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestListenReportsAKeyInUse(t *testing.T) {
	n := privateDHT(t)
	l := listen(t, n)
	defer l.Close()
	if _, err := n.Listen(testContext(t), hyperdht.ListenOptions{Keys: id.KeyPairFromSeed(id.Seed{serial})}); !errors.Is(err, hyperdht.ErrKeyPairInUse) {
		t.Errorf("%v", err)
	}
}

func TestConnIsClosedOnce(t *testing.T) {
	a, _ := pair(t)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := a.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the second time: %v", err)
	}
}
