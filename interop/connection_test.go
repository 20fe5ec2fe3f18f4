package interop_test

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"slices"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// wire is a connection of the Go implementation whose events can be awaited.
type wire struct {
	t         testing.TB
	n         *goNode
	c         *hyperdht.Connection
	opened    chan struct{}
	messages  chan []byte
	unordered chan []byte
	ended     chan struct{}
	closed    chan error
}

// maxQueued bounds the messages of a wire that are not awaited yet.
const maxQueued = 100

// watch sets the handlers of a connection; it must run on the loop.
func watch(n *goNode, c *hyperdht.Connection) *wire {
	w := &wire{
		t: n.t, n: n, c: c, opened: make(chan struct{}), messages: make(chan []byte, maxQueued),
		unordered: make(chan []byte, maxQueued), ended: make(chan struct{}), closed: make(chan error, 1),
	}
	c.OnOpen(func() { close(w.opened) })
	c.OnMessage(func(b []byte) { w.messages <- bytes.Clone(b) })
	c.OnUnordered(func(b []byte) { w.unordered <- bytes.Clone(b) })
	c.OnEnd(func() { close(w.ended) })
	c.OnClose(func(err error) { w.closed <- err })
	return w
}

// dial starts to connect.
func (n *goNode) dial(to id.PublicKey, opts hyperdht.ConnectOptions) *wire {
	var w *wire
	n.do(func() { w = watch(n, n.Connect(to, opts)) })
	return w
}

// connect is dial, and waits for an open connection.
func (n *goNode) connect(to id.PublicKey, opts hyperdht.ConnectOptions) *wire {
	n.t.Helper()
	w := n.dial(to, opts)
	select {
	case err := <-w.closed:
		n.t.Fatalf("connecting: %v", err)
	default:
	}
	await(n.t, "a connection opens", w.openedOrClosed())
	select {
	case <-w.opened:
	default:
		n.t.Fatalf("connecting: %v", <-w.closed)
	}
	return w
}

func (w *wire) openedOrClosed() <-chan struct{} {
	either := make(chan struct{})
	go func() {
		defer close(either)
		select {
		case <-w.opened:
		case err := <-w.closed:
			w.closed <- err
		}
	}()
	return either
}

// path returns the current path of the connection's packets.
func (w *wire) path() (path hyperdht.Path) {
	w.n.do(func() { path = w.c.Path() })
	return path
}

func (w *wire) send(text string)          { w.n.do(func() { w.c.Send([]byte(text)) }) }
func (w *wire) sendUnordered(text string) { w.n.do(func() { w.c.SendUnordered([]byte(text)) }) }
func (w *wire) end()                      { w.n.do(w.c.End) }
func (w *wire) destroy()                  { w.n.do(func() { w.c.Destroy(nil) }) }

// serve listens under a key and returns every connection.
func (n *goNode) serve(opts hyperdht.ListenOptions) (*hyperdht.Server, <-chan *wire) {
	n.t.Helper()
	incoming := make(chan *wire, maxQueued)
	opts.OnConnection = func(c *hyperdht.Connection) { incoming <- watch(n, c) }
	return n.listen(opts), incoming
}

// serveEcho listens under a key and echoes everything.
func (n *goNode) serveEcho(opts hyperdht.ListenOptions) *hyperdht.Server {
	n.t.Helper()
	opts.OnConnection = func(c *hyperdht.Connection) {
		c.OnMessage(func(b []byte) {
			if !c.Send(b) {
				c.Pause()
			}
		})
		c.OnDrain(c.Resume)
		c.OnUnordered(c.SendUnordered)
		c.OnEnd(c.End)
	}
	return n.listen(opts)
}

func (n *goNode) listen(opts hyperdht.ListenOptions) *hyperdht.Server {
	n.t.Helper()
	var s *hyperdht.Server
	var err error
	announced := make(chan error, 1)
	n.do(func() { s, err = n.Listen(opts, func(err error) { announced <- err }) })
	if err != nil {
		n.t.Fatal(err)
	}
	if err := await(n.t, "a server is announced", announced); err != nil {
		n.t.Fatal(err)
	}
	return s
}

// echoed sends size bytes and reads their echo, all at once, and fails the test if it differs.
func (w *wire) echoed(size int) {
	w.t.Helper()
	const chunk = 60_000
	out, in := sha256.New(), sha256.New()
	sent, received := 0, 0
	done := make(chan bool, 1)
	w.n.do(func() {
		w.c.OnMessage(func(b []byte) {
			in.Write(b)
			if received += len(b); received >= size {
				done <- true
			}
		})
		w.c.OnClose(func(err error) {
			w.closed <- err
			done <- false
		})
		fill := func() {
			for sent < size {
				b := pattern(min(chunk, size-sent), sent)
				sent += len(b)
				out.Write(b)
				if !w.c.Send(b) {
					return
				}
			}
		}
		w.c.OnDrain(fill)
		fill()
	})
	if whole := await(w.t, "the echo", done); !whole {
		w.t.Fatalf("closed after %d bytes of %d: %v", received, size, <-w.closed)
	}
	w.n.do(func() {
		if !sameSum(out, in) || received != size {
			w.t.Errorf("%d bytes went out and %d others came back", sent, received)
		}
	})
}

func sameSum(a, b hash.Hash) bool { return slices.Equal(a.Sum(nil), b.Sum(nil)) }

// pattern returns n bytes of a long text with a long period.
func pattern(n, start int) []byte {
	b := make([]byte, n)
	for i := range b {
		at := start + i
		b[i] = byte(at*31 + at>>8 + at>>16)
	}
	return b
}
