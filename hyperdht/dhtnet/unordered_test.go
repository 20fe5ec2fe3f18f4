package dhtnet_test

import (
	"bytes"
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
)

// pair is a connection, at the side that has dialled and at the other.
func pair(t *testing.T) (dialled, accepted *dhtnet.Conn) {
	t.Helper()
	n := privateDHT(t)
	l := listen(t, n)
	dialled, err := n.Dial(testContext(t), l.Addr().(dhtnet.Addr).Key, hyperdht.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return dialled, c.(*dhtnet.Conn)
}

func TestUnorderedMessagesGoBesideTheStream(t *testing.T) {
	a, b := pair(t)
	ctx := testContext(t)
	for from, to := range map[*dhtnet.Conn]*dhtnet.Conn{a: b, b: a} {
		for _, msg := range []string{"beside", ""} { // of this machine, so none is lost
			if err := from.SendUnordered([]byte(msg)); err != nil {
				t.Fatal(err)
			}
			if got, err := to.ReceiveUnordered(ctx); err != nil || string(got) != msg {
				t.Errorf("%q, %v, want %q", got, err, msg)
			}
		}
		if _, err := from.Write([]byte("stream")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 100)
		if n, err := to.Read(got); err != nil || string(got[:n]) != "stream" {
			t.Errorf("%q, %v", got[:n], err)
		}
	}
}

func TestUnorderedMessagesAreDroppedWhileTooManyWait(t *testing.T) {
	a, b := pair(t)
	const sent, most = 1000, 64
	for i := range sent {
		if err := a.SendUnordered([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Write([]byte("after them")); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Read(make([]byte, 100)); err != nil || n == 0 {
		t.Fatal(err)
	}
	received := 0
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what has not arrived by now was dropped
	for {
		if _, err := b.ReceiveUnordered(ctx); err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			break
		}
		received++
	}
	if received == 0 || received > most {
		t.Errorf("%d of %d messages waited, at most %d may", received, sent, most)
	}
}

// A flood of messages that the program does not receive stops neither the loop nor the stream, and what is kept is what was sent.
func TestUnorderedFloodStopsNothing(t *testing.T) {
	a, b := pair(t)
	msg := make([]byte, 100)
	for i := range byte(200) {
		for j := range msg {
			msg[j] = i
		}
		if err := a.SendUnordered(msg); err != nil {
			t.Fatal(err)
		}
		if i%50 == 49 {
			a.Stats() // after the loop has sent them
		}
	}
	if _, err := a.Write([]byte("after them")); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Read(make([]byte, 100)); err != nil || n == 0 {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	last := -1
	for range 64 {
		got, err := b.ReceiveUnordered(ctx)
		if err != nil {
			break // the host has lost some
		}
		if int(got[0]) <= last || len(got) != len(msg) || bytes.Count(got, got[:1]) != len(msg) {
			t.Fatalf("received %v after %d", got, last)
		}
		last = int(got[0])
	}
	if last < 0 {
		t.Error("nothing was received")
	}
}

func TestUnorderedMessagesEndWithTheConnection(t *testing.T) {
	a, b := pair(t)
	failed := make(chan error, 1)
	go func() {
		_, err := b.ReceiveUnordered(testContext(t))
		failed <- err
	}()
	a.Close()
	b.CloseWrite() // so that both directions have ended
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a call that waits: %v", err)
	}
	for name, c := range map[string]*dhtnet.Conn{"closed here": a, "closed by the other side": b} {
		if err := c.SendUnordered([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: sending: %v", name, err)
		}
		if _, err := c.ReceiveUnordered(testContext(t)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: receiving: %v", name, err)
		}
	}
}

func TestBothSidesDescribeTheirConnection(t *testing.T) {
	a, b := pair(t)
	if a.HandshakeHash() != b.HandshakeHash() || a.HandshakeHash() == [64]byte{} {
		t.Errorf("handshake hashes %x and %x", a.HandshakeHash(), b.HandshakeHash())
	}
	if _, err := a.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	// Whether the dialler knows by then that it reaches the other one without a punch is a matter of time.
	if p := a.Path(); p != b.Path() || p != hyperdht.PathDirect && p != hyperdht.PathLAN && p != hyperdht.PathPunched {
		t.Errorf("path %v for one side, %v for the other", p, b.Path())
	}
	for name, c := range map[string]*dhtnet.Conn{"dialled": a, "accepted": b} {
		if s := c.Stats(); s.Sent == 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// A connection of a node without keep-alives sends them once it is asked to.
func TestKeepAliveOfAConnectionCanBeSet(t *testing.T) {
	h, server := privateNode(t)
	n, ctx, keys := dhtnet.New(h, server), testContext(t), id.KeyPairFromSeed(id.Seed{80})
	alive, announced := make(chan struct{}, 100), make(chan error, 1)
	h.Do(func() {
		if _, err := server.Listen(hyperdht.ListenOptions{Keys: keys, OnConnection: func(c *hyperdht.Connection) {
			c.SetKeepAlive(0) // empty messages are messages then
			c.OnMessage(func(b []byte) {
				if len(b) == 0 {
					alive <- struct{}{}
				}
			})
		}}, func(err error) { announced <- err }); err != nil {
			t.Error(err)
		}
	})
	if err := <-announced; err != nil {
		t.Fatal(err)
	}
	nodes, err := n.Nodes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ours := udp.New(udp.Options{})
	defer ours.Close()
	quiet, err := dhtnet.Start(ctx, ours, hyperdht.Config{
		Bootstrap: []string{}, Nodes: nodes, Listen: netip.MustParseAddrPort("127.0.0.1:0"), ConnectionKeepAlive: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := quiet.Dial(ctx, keys.Public, hyperdht.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetKeepAlive(10 * time.Millisecond)
	select {
	case <-alive:
	case <-ctx.Done():
		t.Error("no empty message has come")
	}
}
