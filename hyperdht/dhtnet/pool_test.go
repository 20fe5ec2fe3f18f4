package dhtnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// pooled is a pool with a listener under the key that it dials with.
type pooled struct {
	*dhtnet.Pool
	*dhtnet.Listener
	keys id.KeyPair
}

func newPooled(t *testing.T, n *dhtnet.Net, seed byte) *pooled {
	t.Helper()
	p := &pooled{Pool: n.NewPool(), keys: id.KeyPairFromSeed(id.Seed{seed})}
	var err error
	if p.Listener, err = p.Listen(testContext(t), hyperdht.ListenOptions{Keys: p.keys}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Listener.Close() })
	return p
}

func (p *pooled) dial(t *testing.T, to *pooled) *dhtnet.Conn {
	t.Helper()
	c, err := p.Dial(testContext(t), to.keys.Public, hyperdht.ConnectOptions{Keys: &p.keys})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPoolSharesOneConnBetweenDialsAndListener(t *testing.T) {
	n := privateDHT(t)
	a, b := newPooled(t, n, 90), newPooled(t, n, 91)
	c := a.dial(t, b)
	accepted, err := b.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if again := a.dial(t, b); again != c {
		t.Error("a second Dial returns another Conn")
	}
	if back := b.dial(t, a); back != accepted {
		t.Error("the other side's Dial returns another Conn than its Accept")
	}
	for _, p := range []*pooled{a, b} {
		if conns, err := p.Conns(testContext(t)); err != nil || len(conns) != 1 {
			t.Errorf("%v, %v", conns, err)
		}
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got, err := io.ReadAll(accepted); string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if again := a.dial(t, b); again == c { // though the other side has not ended it
		t.Error("Dial returns a Conn that was closed")
	}
}

func TestPoolsThatDialEachOtherKeepTheSameConn(t *testing.T) {
	n := privateDHT(t)
	a, b := newPooled(t, n, 92), newPooled(t, n, 93)
	type dialled struct {
		c   *dhtnet.Conn
		err error
	}
	results := make(chan dialled, 2)
	ctx := testContext(t)
	for from, to := range map[*pooled]*pooled{a: b, b: a} {
		go func() {
			c, err := from.Dial(ctx, to.keys.Public, hyperdht.ConnectOptions{Keys: &from.keys})
			results <- dialled{c, err}
		}()
	}
	for range 2 {
		if r := <-results; r.err != nil {
			t.Error(r.err)
		}
	}
	// A connection that is on its way replaces the one that was first; then both pools have one, and it is the same.
	ac, bc := a.dial(t, b), b.dial(t, a)
	for ac.HandshakeHash() != bc.HandshakeHash() {
		ended := make(chan struct{}, 2)
		for _, c := range []*dhtnet.Conn{ac, bc} {
			go func() {
				_, _ = io.Copy(io.Discard, c)
				ended <- struct{}{}
			}()
		}
		<-ended // the duplicate
		ac, bc = a.dial(t, b), b.dial(t, a)
	}
}

func TestPoolDialEndsWithItsContextAndFails(t *testing.T) {
	n := privateDHT(t)
	p := n.NewPool()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Dial(ctx, id.PublicKey{1}, hyperdht.ConnectOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := p.Dial(testContext(t), id.KeyPairFromSeed(id.Seed{94}).Public, hyperdht.ConnectOptions{}); !errors.Is(err, hyperdht.ErrPeerNotFound) {
		t.Errorf("%v", err)
	}
	n.Close()
	if _, err := p.Dial(testContext(t), id.PublicKey{1}, hyperdht.ConnectOptions{}); !errors.Is(err, hyperdht.ErrClosed) {
		t.Errorf("on a closed node: %v", err)
	}
	if _, err := p.Conns(testContext(t)); !errors.Is(err, hyperdht.ErrClosed) {
		t.Errorf("on a closed node: %v", err)
	}
}

// A Dial whose context ends in the moment of its result is counted out once: the next one gets its connection.
func TestPoolDialThatEndsWithItsResult(t *testing.T) {
	n := privateDHT(t)
	a, b := newPooled(t, n, 97), newPooled(t, n, 98)
	c := a.dial(t, b)
	for range 8 {
		got, err := a.Dial(newLateContext(), b.keys.Public, hyperdht.ConnectOptions{Keys: &a.keys})
		if got != c && !errors.Is(err, context.Canceled) {
			t.Errorf("%v, %v", got, err)
		}
	}
	c.Close()
	if again := a.dial(t, b); again == c {
		t.Error("a closed Conn is returned")
	}
}

func TestPoolWithoutListenerAcceptsNothing(t *testing.T) {
	n := privateDHT(t)
	a, b := newPooled(t, n, 95), newPooled(t, n, 96)
	c := a.dial(t, b)
	if _, err := b.Accept(); err != nil {
		t.Fatal(err)
	}
	if err := b.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Errorf("a connection of before: %v", err)
	}
}
