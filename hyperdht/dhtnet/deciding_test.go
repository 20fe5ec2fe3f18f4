package dhtnet_test

import (
	"context"
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
