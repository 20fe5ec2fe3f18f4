package pipes

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/pipe"
)

// conduit implements [pipe.Pipe] on a connection. Fields without a comment belong to the loop.
type conduit struct {
	loop   host.Loop
	conn   net.Conn
	remote netip.AddrPort

	handlers pipe.Handlers
	handled  bool
	closed   bool   // by this side, or OnClose was called
	held     func() // what arrived before there was a handler

	mu      sync.Mutex // guards what follows, for the writer
	pending []byte
	sending int // bytes that the writer has taken and not sent
	ending  bool
	kick    chan struct{}

	open context.Context // ends with the writer
	end  context.CancelFunc
}

// newPipe returns the pipe over a connection and starts its goroutines.
func newPipe(loop host.Loop, conn net.Conn) *conduit {
	c := &conduit{loop: loop, conn: conn, kick: make(chan struct{}, 1)}
	c.open, c.end = context.WithCancel(context.Background())
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		at := a.AddrPort()
		c.remote = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	}
	go c.read()
	go c.write()
	return c
}

// RemoteAddr implements [pipe.Pipe].
func (c *conduit) RemoteAddr() netip.AddrPort { return c.remote }

// Handle implements [pipe.Pipe].
func (c *conduit) Handle(h pipe.Handlers) {
	c.handlers, c.handled = h, true
	if f := c.held; f != nil {
		c.held = nil
		c.loop.Post(f)
	}
}

// deliver runs f now if there are handlers, and otherwise when there are.
func (c *conduit) deliver(f func()) {
	if c.handled {
		f()
		return
	}
	c.held = f
}

// read hands over what arrives, until the end. It has two buffers, because the turn that takes one may go on while it reads again.
func (c *conduit) read() {
	b, other := make([]byte, readSize), make([]byte, readSize)
	for {
		b, other = other, b
		n, err := c.conn.Read(b)
		if n > 0 && c.hand(b[:n]) != nil {
			return // closed before there was a handler, or with its loop
		}
		if err != nil {
			c.report(err)
			return
		}
	}
}

// hand passes received bytes to the handler, and waits for it.
func (c *conduit) hand(b []byte) error {
	return bridge.Wait(c.open, c.loop, func(done func()) {
		c.deliver(func() {
			if !c.closed && c.handlers.OnReceive != nil {
				c.handlers.OnReceive(b)
			}
			done()
		})
	})
}

// report reports the end of the pipe.
func (c *conduit) report(err error) {
	if errors.Is(err, io.EOF) {
		err = nil
	}
	c.loop.Post(func() {
		c.deliver(func() {
			if c.closed {
				return
			}
			onClose := c.handlers.OnClose
			c.Close()
			if onClose != nil {
				onClose(err)
			}
		})
	})
}

// Write implements [pipe.Pipe].
func (c *conduit) Write(b []byte) {
	if c.closed || len(b) == 0 {
		return
	}
	c.mu.Lock()
	c.pending = append(c.pending, b...)
	c.mu.Unlock()
	c.wake()
}

func (c *conduit) wake() {
	select {
	case c.kick <- struct{}{}:
	default: // it will look
	}
}

// Buffered implements [pipe.Pipe].
func (c *conduit) Buffered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending) + c.sending
}

// write sends what is pending, until the pipe is closed or its loop is.
func (c *conduit) write() {
	defer c.end()
	defer c.conn.Close()
	var b []byte
	for {
		c.sent()
		select {
		case <-c.kick:
		case <-c.loop.Closed():
			return
		}
		var ending bool
		b, ending = c.take(b)
		if ending {
			_ = c.conn.SetWriteDeadline(time.Now().Add(closeTimeout))
		}
		if _, err := c.conn.Write(b); err != nil && len(b) > 0 {
			c.report(err)
			return
		}
		if ending {
			return
		}
	}
}

// take returns what is pending, and gives back the memory of what was sent, which is used in turn.
func (c *conduit) take(sent []byte) (b []byte, ending bool) {
	if cap(sent) > keepMemory {
		sent = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b, c.pending = c.pending, sent[:0]
	c.sending = len(b)
	return b, c.ending
}

// sent notes that the writer has sent what it has taken.
func (c *conduit) sent() {
	c.mu.Lock()
	c.sending = 0
	c.mu.Unlock()
}

// Close implements [pipe.Pipe].
func (c *conduit) Close() {
	if c.closed {
		return
	}
	c.closed = true
	c.handlers = pipe.Handlers{}
	c.mu.Lock()
	c.ending = true
	c.mu.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(closeTimeout)) // of a write under way
	c.wake()
}

var _ pipe.Pipe = (*conduit)(nil)
