package dhtnet_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

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
