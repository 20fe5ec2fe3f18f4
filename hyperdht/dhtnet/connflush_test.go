package dhtnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/udp"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/dhtnet"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// connected returns both ends of a connection.
func connected(t *testing.T, n *dhtnet.Net) (dialled, accepted *dhtnet.Conn) {
	t.Helper()
	l := listen(t, n)
	t.Cleanup(func() { l.Close() })
	dialled = must(n.Dial(testContext(t), l.Addr().(dhtnet.Addr).Key, hyperdht.ConnectOptions{}))(t)
	accepted = must(l.Accept())(t).(*dhtnet.Conn)
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	return dialled, accepted
}

// Flush waits for the peer, and not longer: bytes that were written are there though the peer's program has read none.
func TestConnFlushWaitsForThePeer(t *testing.T) {
	n := privateDHT(t)
	a, b := connected(t, n)
	for _, size := range []int{0, 1, 100_000} { // below what a peer takes that does not read
		if _, err := a.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if err := a.Flush(testContext(t)); err != nil {
			t.Fatal(err)
		}
		unsent := 0
		if err := n.Do(testContext(t), func(*hyperdht.Node) { unsent = dhtnet.Unsent(a) }); err != nil || unsent > 4<<10 { // an empty ring
			t.Errorf("%d bytes are under way after the flush, %v", unsent, err)
		}
	}
	if _, err := io.ReadFull(b, make([]byte, 100_001)); err != nil {
		t.Error(err)
	}
}

// However much is written, a flush ends when the peer has it.
func TestConnFlushOfMuch(t *testing.T) {
	n := privateDHT(t)
	a, b := connected(t, n)
	const size = 8 << 20
	read := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, b, size)
		read <- err
	}()
	if _, err := a.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Flush(testContext(t)), <-read); err != nil {
		t.Error(err)
	}
	unsent := 0
	if err := n.Do(testContext(t), func(*hyperdht.Node) { unsent = dhtnet.Unsent(a) }); err != nil || unsent > 4<<10 { // an empty ring
		t.Errorf("%d bytes are under way after the flush, %v", unsent, err)
	}
}

// stuck is a connection whose peer has vanished, so that nothing is acknowledged, with more written than it takes.
func stuck(t *testing.T) (*dhtnet.Net, *dhtnet.Conn) {
	t.Helper()
	n := privateDHT(t)
	var bootstrap []string
	if err := n.Do(testContext(t), func(n *hyperdht.Node) {
		for _, at := range n.Nodes() {
			bootstrap = append(bootstrap, at.String())
		}
	}); err != nil {
		t.Fatal(err)
	}
	h := udp.New(udp.Options{})
	peer := must(dhtnet.Start(testContext(t), h, hyperdht.Config{Bootstrap: bootstrap, Listen: netip.MustParseAddrPort("127.0.0.1:0")}))(t)
	l := must(peer.Listen(testContext(t), hyperdht.ListenOptions{Keys: id.KeyPairFromSeed(id.Seed{85})}))(t)
	c := must(n.Dial(testContext(t), l.Addr().(dhtnet.Addr).Key, hyperdht.ConnectOptions{}))(t)
	h.Close()
	go func() { _, _ = c.Write(make([]byte, 8<<20)) }() // fails in the end
	last := uint64(0)
	for stuck := false; !stuck; {
		if err := n.Do(testContext(t), func(*hyperdht.Node) {
			passed, left := dhtnet.Passed(c)
			stuck = left && passed > 0 && passed == last // what is left was there in the turn before
			last = passed
		}); err != nil {
			t.Fatal(err)
		}
	}
	return n, c
}

// flushes returns the number of flushes that wait until the connection takes bytes.
func flushes(t *testing.T, n *dhtnet.Net, c *dhtnet.Conn) (waiting int) {
	t.Helper()
	if err := n.Do(testContext(t), func(*hyperdht.Node) { waiting = dhtnet.Flushes(c) }); err != nil {
		t.Fatal(err)
	}
	return waiting
}

func TestConnFlushEndsWithItsContext(t *testing.T) {
	n, c := stuck(t)
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		flushed := make(chan error, 1)
		go func() { flushed <- c.Flush(ctx) }()
		for flushes(t, n, c) == 0 {
		}
		cancel()
		if err := <-flushed; !errors.Is(err, context.Canceled) {
			t.Fatalf("%v", err)
		}
		if waiting := flushes(t, n, c); waiting != 0 {
			t.Fatalf("%d flushes wait after their contexts", waiting)
		}
	}
}

func TestConnFlushEndsWithTheConnection(t *testing.T) {
	n, c := stuck(t)
	flushed := make(chan error, 2)
	for range 2 {
		go func() { flushed <- c.Flush(testContext(t)) }()
	}
	for flushes(t, n, c) < 2 {
	}
	mine := errors.New("mine")
	if err := n.Do(testContext(t), func(*hyperdht.Node) { dhtnet.Destroy(c, mine) }); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-flushed; !errors.Is(err, mine) {
			t.Errorf("destroyed: %v", err)
		}
	}
	if err := c.Flush(testContext(t)); !errors.Is(err, mine) {
		t.Errorf("later: %v", err)
	}

	a, b := connected(t, n)
	if _, err := a.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.CloseWrite(), a.Flush(testContext(t))); err != nil {
		t.Errorf("after CloseWrite: %v", err)
	}
	if got, err := io.ReadAll(b); string(got) != "last words" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(a); err != nil {
		t.Fatal(err)
	}
	if err := a.Flush(testContext(t)); err != nil {
		t.Errorf("after the end of both sides: %v", err)
	}
	if err := b.Flush(testContext(t)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
