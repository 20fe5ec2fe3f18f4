package dhtnet

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
)

const (
	// readBuffer is how much a Conn takes in before it makes the sender wait.
	readBuffer = 256 << 10
	// writeBuffer is how much Write leaves to the loop before it waits.
	writeBuffer = 256 << 10
	// maxChunk is the largest message that a Write is cut into; small ones keep latency low on slow links.
	maxChunk = 64 << 10
)

// Conn is a net.Conn over an encrypted HyperDHT connection. Bytes are what counts: the messages of the
// connection below are joined, and a Write may be cut into several.
type Conn struct {
	loop   Loop
	conn   *hyperdht.Connection // on the loop only
	local  Addr
	remote Addr

	read, write deadline

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

// newConn takes over a connection. It must be called on the loop.
func newConn(loop Loop, c *hyperdht.Connection) *Conn {
	k := &Conn{
		loop: loop, conn: c,
		local:    Addr{Key: c.PublicKey(), AddrPort: c.LocalAddr()},
		remote:   Addr{Key: c.RemotePublicKey(), AddrPort: c.RemoteAddr()},
		readable: make(chan struct{}), writable: make(chan struct{}),
		read: newDeadline(), write: newDeadline(),
	}
	c.OnMessage(k.receive)
	c.OnDrain(k.drain)
	c.OnEnd(func() { k.change(func() { k.ended = true }) })
	c.OnClose(k.gone)
	return k
}

// gone runs on the loop when the connection is over.
func (k *Conn) gone(err error) {
	k.change(func() {
		k.ended = true
		if k.err = err; err == nil {
			k.err = net.ErrClosed
		}
	})
}

// lost ends the connection where the host closed before the loop could end it.
func (k *Conn) lost() {
	k.mu.Lock()
	over := k.ended && k.err != nil
	k.mu.Unlock()
	if !over {
		k.gone(net.ErrClosed)
	}
}

// change alters the state under the lock and wakes everybody.
func (k *Conn) change(f func()) {
	k.mu.Lock()
	f()
	close(k.readable)
	close(k.writable)
	k.readable, k.writable = make(chan struct{}), make(chan struct{})
	k.mu.Unlock()
}

// receive runs on the loop.
func (k *Conn) receive(msg []byte) {
	if len(msg) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	k.in = append(k.in, append([]byte(nil), msg...))
	k.inBytes += len(msg)
	if k.inBytes >= readBuffer && !k.held {
		k.held = true
		k.conn.Pause()
	}
	close(k.readable)
	k.readable = make(chan struct{})
}

// Read reads what has arrived, waiting for at least one byte. It returns io.EOF after the other side's end,
// os.ErrDeadlineExceeded after the deadline and net.ErrClosed after Close.
func (k *Conn) Read(b []byte) (int, error) {
	for {
		k.mu.Lock()
		switch {
		case k.closed:
			k.mu.Unlock()
			return 0, k.opError("read", net.ErrClosed)
		case k.read.passed():
			k.mu.Unlock()
			return 0, k.opError("read", os.ErrDeadlineExceeded)
		case len(b) == 0:
			k.mu.Unlock()
			return 0, nil
		case k.inBytes > 0:
			n := k.take(b)
			k.mu.Unlock()
			return n, nil
		case k.ended:
			err := k.err
			k.mu.Unlock()
			if err == nil || errors.Is(err, net.ErrClosed) {
				return 0, io.EOF
			}
			return 0, k.opError("read", err)
		}
		wait := k.readable
		k.mu.Unlock()
		select {
		case <-wait:
		case <-k.read.wait():
		case <-k.loop.Closed():
			k.lost()
		}
	}
}

// take moves queued bytes to b and lets the sender go on when there is room again. The lock is held.
func (k *Conn) take(b []byte) int {
	n := 0
	for n < len(b) && len(k.in) > 0 {
		m := copy(b[n:], k.in[0])
		n += m
		if k.in[0] = k.in[0][m:]; len(k.in[0]) == 0 {
			k.in[0] = nil
			k.in = k.in[1:]
		}
	}
	k.inBytes -= n
	if k.held && k.inBytes <= readBuffer/2 {
		k.held = false
		k.loop.Post(k.conn.Resume)
	}
	return n
}

// Write queues b for sending, waiting while the connection is behind. Like TCP's, it does not wait for the
// other side to have received anything.
func (k *Conn) Write(b []byte) (int, error) {
	select {
	case <-k.loop.Closed():
		k.lost() // a write would be taken for sent
	default:
	}
	n := 0
	for {
		k.mu.Lock()
		switch {
		case k.closed || k.halfDone:
			k.mu.Unlock()
			return n, k.opError("write", net.ErrClosed)
		case k.err != nil:
			err := k.err
			k.mu.Unlock()
			return n, k.opError("write", err)
		case k.write.passed():
			k.mu.Unlock()
			return n, k.opError("write", os.ErrDeadlineExceeded)
		}
		for n < len(b) && k.outBytes < writeBuffer {
			chunk := append([]byte(nil), b[n:min(len(b), n+maxChunk)]...)
			k.out = append(k.out, chunk)
			k.outBytes += len(chunk)
			n += len(chunk)
		}
		if len(k.out) > 0 && !k.flushing {
			k.flushing = true
			k.loop.Post(k.flush)
		}
		wait := k.writable
		k.mu.Unlock()
		if n == len(b) {
			return n, nil
		}
		select {
		case <-wait:
		case <-k.write.wait():
		case <-k.loop.Closed():
			k.lost()
		}
	}
}

// flush runs on the loop: it hands queued chunks to the connection until that asks to wait.
func (k *Conn) flush() {
	for {
		k.mu.Lock()
		if len(k.out) == 0 || k.err != nil {
			k.out, k.outBytes = nil, 0
			k.flushing = false
			finish, closing := k.halfDone || k.closed, k.closed
			k.mu.Unlock()
			if finish {
				k.finish(closing)
			}
			return
		}
		chunk := k.out[0]
		k.out[0] = nil
		k.out = k.out[1:]
		k.outBytes -= len(chunk)
		close(k.writable)
		k.writable = make(chan struct{})
		k.mu.Unlock()
		if !k.conn.Send(chunk) && !k.conn.Closed() {
			return // drain goes on
		}
	}
}

func (k *Conn) drain() {
	k.mu.Lock()
	waiting := k.flushing
	k.mu.Unlock()
	if waiting {
		k.flush()
	}
}

// finish runs on the loop once everything written is with the connection.
func (k *Conn) finish(closing bool) {
	if closing {
		k.conn.Resume() // what still arrives is dropped, and must not keep the other side waiting
		k.conn.Close()
		return
	}
	k.conn.End()
}

// Close sends what was written, ends the connection and makes pending and later calls fail with
// net.ErrClosed. It does not wait.
func (k *Conn) Close() error {
	first := false
	k.change(func() {
		first = !k.closed
		k.closed = true
		k.in, k.inBytes = nil, 0
		if first && !k.flushing {
			k.flushing = true
			k.loop.Post(k.flush)
		}
	})
	if !first {
		return k.opError("close", net.ErrClosed)
	}
	k.read.set(time.Time{})
	k.write.set(time.Time{})
	return nil
}

// CloseWrite sends what was written and ends our direction; reading goes on.
func (k *Conn) CloseWrite() error {
	k.change(func() {
		if !k.halfDone && !k.closed && !k.flushing {
			k.flushing = true
			k.loop.Post(k.flush)
		}
		k.halfDone = true
	})
	return nil
}

// LocalAddr is our key and socket.
func (k *Conn) LocalAddr() net.Addr { return k.local }

// RemoteAddr is the other side's key and the address it was reached at first.
func (k *Conn) RemoteAddr() net.Addr { return k.remote }

// SetDeadline sets both deadlines; the zero time means none.
func (k *Conn) SetDeadline(t time.Time) error {
	k.read.set(t)
	k.write.set(t)
	return nil
}

// SetReadDeadline sets when pending and later Reads fail; the zero time means never.
func (k *Conn) SetReadDeadline(t time.Time) error {
	k.read.set(t)
	return nil
}

// SetWriteDeadline sets when pending and later Writes fail; the zero time means never.
func (k *Conn) SetWriteDeadline(t time.Time) error {
	k.write.set(t)
	return nil
}

func (k *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: network, Source: k.local, Addr: k.remote, Err: err}
}
