package dhtnet

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
)

const (
	// readBuffer is the number of unread bytes from which a Conn makes the sender wait.
	readBuffer = 256 << 10
	// writeBuffer is the number of bytes queued for the loop from which Write waits.
	writeBuffer = 256 << 10
	// maxChunk is the largest message that a Write is cut into; small ones keep latency low on slow links.
	maxChunk = 64 << 10
)

// Conn is a net.Conn over an encrypted HyperDHT connection. It is a stream of bytes: the messages of the
// underlying connection are joined, and a Write may be split into several.
type Conn struct {
	loop host.Loop
	conn *hyperdht.Connection // on the loop only
	ends

	read, write deadline
	unordered

	flushes flushes

	mu       sync.Mutex
	in       [][]byte // received, not read
	inBytes  int
	held     bool // the sender was asked to wait
	ended    bool // the other side has ended
	out      [][]byte
	outBytes int
	flushing bool // a flush is posted or waits for a drain
	closed   bool // by Close
	halfDone bool // by CloseWrite
	err      error
	readable chan struct{} // closed and replaced on every change that a reader waits for
	writable chan struct{}
}

// ends describes the two sides of a connection.
type ends struct {
	local, remote Addr
	hash          [64]byte // of the handshake
}

func endsOf(c *hyperdht.Connection) ends {
	return ends{
		local:  Addr{Key: c.PublicKey(), AddrPort: c.LocalAddr()},
		remote: Addr{Key: c.RemotePublicKey(), AddrPort: c.RemoteAddr()},
		hash:   c.HandshakeHash(),
	}
}

// newConn takes over a connection. It must be called on the loop.
func newConn(loop host.Loop, c *hyperdht.Connection) *Conn {
	k := &Conn{
		loop: loop, conn: c, ends: endsOf(c),
		readable: make(chan struct{}), writable: make(chan struct{}),
		read: newDeadline(), write: newDeadline(),
	}
	k.unordered.init(c)
	c.OnMessage(k.receive)
	c.OnDrain(k.drain)
	c.OnEnd(func() { k.change(func() { k.ended = true }) })
	c.OnClose(k.gone)
	return k
}

// opened runs on the loop when a dialled connection has opened.
func (c *Conn) opened() { c.ends = endsOf(c.conn) }

// gone runs on the loop when the connection has closed.
func (c *Conn) gone(err error) {
	c.flushes.over()
	c.fail(err)
}

// fail makes pending and later calls fail.
func (c *Conn) fail(err error) {
	c.unordered.end()
	c.change(func() {
		c.ended = true
		if c.err = err; err == nil {
			c.err = net.ErrClosed
		}
	})
}

// lost ends the connection where the host closed before the loop could end it.
func (c *Conn) lost() {
	c.mu.Lock()
	over := c.ended && c.err != nil
	c.mu.Unlock()
	if !over {
		c.fail(net.ErrClosed)
	}
}

// change alters the state under the lock and wakes all waiting calls.
func (c *Conn) change(f func()) {
	c.mu.Lock()
	f()
	close(c.readable)
	close(c.writable)
	c.readable, c.writable = make(chan struct{}), make(chan struct{})
	c.mu.Unlock()
}

// receive runs on the loop.
func (c *Conn) receive(msg []byte) {
	if len(msg) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.in = append(c.in, append([]byte(nil), msg...))
	c.inBytes += len(msg)
	if c.inBytes >= readBuffer && !c.held {
		c.held = true
		c.conn.Pause()
	}
	close(c.readable)
	c.readable = make(chan struct{})
}

// Read reads what has arrived, waiting for at least one byte. It returns io.EOF after the other side's end,
// os.ErrDeadlineExceeded after the deadline and net.ErrClosed after Close.
func (c *Conn) Read(b []byte) (int, error) {
	for {
		c.mu.Lock()
		switch {
		case c.closed:
			c.mu.Unlock()
			return 0, c.opError("read", net.ErrClosed)
		case c.read.passed():
			c.mu.Unlock()
			return 0, c.opError("read", os.ErrDeadlineExceeded)
		case len(b) == 0:
			c.mu.Unlock()
			return 0, nil
		case c.inBytes > 0:
			n := c.take(b)
			c.mu.Unlock()
			return n, nil
		case c.ended:
			err := c.err
			c.mu.Unlock()
			if err == nil || errors.Is(err, net.ErrClosed) {
				return 0, io.EOF
			}
			return 0, c.opError("read", err)
		}
		wait := c.readable
		c.mu.Unlock()
		select {
		case <-wait:
		case <-c.read.wait():
		case <-c.loop.Closed():
			c.lost()
		}
	}
}

// take moves queued bytes to b and lets the sender go on when there is room again. The lock is held.
func (c *Conn) take(b []byte) int {
	n := 0
	for n < len(b) && len(c.in) > 0 {
		m := copy(b[n:], c.in[0])
		n += m
		if c.in[0] = c.in[0][m:]; len(c.in[0]) == 0 {
			c.in[0] = nil
			c.in = c.in[1:]
		}
	}
	c.inBytes -= n
	if c.held && c.inBytes <= readBuffer/2 {
		c.held = false
		c.loop.Post(c.conn.Resume)
	}
	return n
}

// Write queues b for sending, waiting while the connection is behind. Like TCP's, it does not wait for the
// other side to have received anything: Flush does.
func (c *Conn) Write(b []byte) (int, error) {
	select {
	case <-c.loop.Closed():
		c.lost() // a write would be taken for sent
	default:
	}
	n := 0
	for {
		c.mu.Lock()
		switch {
		case c.closed || c.halfDone:
			c.mu.Unlock()
			return n, c.opError("write", net.ErrClosed)
		case c.err != nil:
			err := c.err
			c.mu.Unlock()
			return n, c.opError("write", err)
		case c.write.passed():
			c.mu.Unlock()
			return n, c.opError("write", os.ErrDeadlineExceeded)
		}
		for n < len(b) && c.outBytes < writeBuffer {
			chunk := append([]byte(nil), b[n:min(len(b), n+maxChunk)]...)
			c.out = append(c.out, chunk)
			c.outBytes += len(chunk)
			c.flushes.written += uint64(len(chunk))
			n += len(chunk)
		}
		if len(c.out) > 0 && !c.flushing {
			c.flushing = true
			c.loop.Post(c.flush)
		}
		wait := c.writable
		c.mu.Unlock()
		if n == len(b) {
			return n, nil
		}
		select {
		case <-wait:
		case <-c.write.wait():
		case <-c.loop.Closed():
			c.lost()
		}
	}
}

// flush runs on the loop: it hands queued chunks to the connection until that asks to wait.
func (c *Conn) flush() {
	for {
		c.mu.Lock()
		if len(c.out) == 0 || c.err != nil {
			c.out, c.outBytes = nil, 0
			c.flushing = false
			finish, closing := c.halfDone || c.closed, c.closed
			c.mu.Unlock()
			if finish {
				c.finish(closing)
			}
			return
		}
		chunk := c.out[0]
		c.out[0] = nil
		c.out = c.out[1:]
		c.outBytes -= len(chunk)
		close(c.writable)
		c.writable = make(chan struct{})
		c.mu.Unlock()
		more := c.conn.Send(chunk)
		c.flushes.pass(len(chunk))
		if !more && !c.conn.Closed() {
			return // drain goes on
		}
	}
}

func (c *Conn) drain() {
	c.mu.Lock()
	waiting := c.flushing
	c.mu.Unlock()
	if waiting {
		c.flush()
	}
}

// ending reports whether the program has ended our direction.
func (c *Conn) ending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed || c.halfDone
}

// finish runs on the loop once everything written is with the connection.
func (c *Conn) finish(closing bool) {
	if closing {
		c.conn.Resume() // what still arrives is dropped, and must not keep the other side waiting
		c.conn.Close()
		return
	}
	c.conn.End()
}

// Close sends what was written, ends the connection and makes pending and later calls fail with
// net.ErrClosed; a pending Flush goes on. It does not wait: Flush does, before it.
func (c *Conn) Close() error {
	first := false
	c.change(func() {
		first = !c.closed
		c.closed = true
		c.in, c.inBytes = nil, 0
		if first && !c.flushing {
			c.flushing = true
			c.loop.Post(c.flush)
		}
	})
	if !first {
		return c.opError("close", net.ErrClosed)
	}
	c.unordered.end()
	c.read.set(time.Time{})
	c.write.set(time.Time{})
	return nil
}

// CloseWrite sends what was written and ends our direction; reading goes on.
func (c *Conn) CloseWrite() error {
	c.change(func() {
		if !c.halfDone && !c.closed && !c.flushing {
			c.flushing = true
			c.loop.Post(c.flush)
		}
		c.halfDone = true
	})
	return nil
}

// HandshakeHash returns a secret that identifies this connection to its two sides alone: what is signed or authenticated together with it
// is bound to the connection.
func (c *Conn) HandshakeHash() [64]byte { return c.hash }

// SetKeepAlive sets the interval of silence after which an empty packet is sent; 0 is never. The default is that of
// hyperdht.Config.ConnectionKeepAlive. A peer that is silent for three intervals is taken for gone, and the connection fails with
// hyperdht.ErrPeerSilent.
func (c *Conn) SetKeepAlive(d time.Duration) {
	c.loop.Post(func() { c.conn.SetKeepAlive(d) })
}

// Path returns the kind of path that the packets take now. A relayed connection may move to a better one. It must not be called on the
// loop, as Stats.
func (c *Conn) Path() hyperdht.Path {
	path, _ := bridge.Do(context.Background(), c.loop, c.conn.Path) // PathNone on a closed host
	return path
}

// Stats returns measurements: the round-trip time, packets sent and sent again. They are zero before the first measurement and after
// the end of the connection.
func (c *Conn) Stats() hyperdht.ConnectionStats {
	stats, _ := bridge.Do(context.Background(), c.loop, c.conn.Stats) // zero on a closed host
	return stats
}

// LocalAddr returns an Addr with the local key and socket address.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns an Addr with the other side's key and the address of the first path.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines; the zero time means none.
func (c *Conn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}

// SetReadDeadline sets the deadline of pending and later Reads; the zero time means none.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.read.set(t)
	return nil
}

// SetWriteDeadline sets the deadline of pending and later Writes; the zero time means none.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.write.set(t)
	return nil
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: network, Source: c.local, Addr: c.remote, Err: err}
}
