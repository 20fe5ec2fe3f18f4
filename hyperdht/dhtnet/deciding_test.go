package dhtnet_test

import (
	"context"
	"errors"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

func TestDecisionsAreMadeOnGoroutines(t *testing.T) {
	n, ctx := privateDHT(t), testContext(t)
	friend, stranger := id.KeyPairFromSeed(id.Seed{81}), id.KeyPairFromSeed(id.Seed{82})
	asked := make(chan id.PublicKey, 10)
	l, err := n.Listen(ctx, hyperdht.ListenOptions{
		Keys: id.KeyPairFromSeed(id.Seed{83}),
		AdmitLater: n.Deciding(func(ctx context.Context, a *hyperdht.Admission) bool {
			if _, err := n.Status(ctx); err != nil { // which waits for the loop
				t.Error(err)
			}
			asked <- a.Remote
			return a.Remote == friend.Public
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	key := l.Addr().(dhtnet.Addr).Key
	c, err := n.Dial(ctx, key, hyperdht.ConnectOptions{Keys: &friend})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := <-asked; got != friend.Public {
		t.Errorf("asked for %v", got)
	}
	failed := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, err := n.Dial(ctx, key, hyperdht.ConnectOptions{Keys: &stranger})
		failed <- err
	}()
	if got := <-asked; got != stranger.Public {
		t.Errorf("asked for %v", got)
	}
	cancel() // its dial would take seconds to fail
	if err := <-failed; err == nil {
		t.Error("a stranger was admitted")
	}
}

// A decision that no caller waits for any more is given up, with the cause.
func TestDecisionEndsWithItsCaller(t *testing.T) {
	n, ctx := privateDHT(t), testContext(t)
	asked, causes := make(chan struct{}), make(chan error, 1)
	l, err := n.Listen(ctx, hyperdht.ListenOptions{
		Keys: id.KeyPairFromSeed(id.Seed{84}),
		AdmitLater: n.Deciding(func(ctx context.Context, _ *hyperdht.Admission) bool {
			close(asked)
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return true
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	dialling, cancel := context.WithCancel(ctx)
	failed := make(chan error, 1)
	go func() {
		_, err := n.Dial(dialling, l.Addr().(dhtnet.Addr).Key, hyperdht.ConnectOptions{})
		failed <- err
	}()
	<-asked
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-causes; !errors.Is(err, hyperdht.ErrConnectionClosed) {
		t.Errorf("the context has ended with %v", err)
	}
	cancel()
	if err := <-failed; err == nil {
		t.Error("the caller was admitted")
	}
}
