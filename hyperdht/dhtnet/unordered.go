package dhtnet

import (
	"bytes"
	"context"
	"net"
	"sync"

	"github.com/dhtprom/dhtprom/hyperdht"
)

// maxUnordered bounds the unordered messages of a Conn that wait for the program, and likewise those that wait for the loop; further
// ones are dropped. A message has up to 2,004 bytes.
const maxUnordered = 64

// unordered holds the unordered messages of a connection, on their way between its loop and goroutines.
type unordered struct {
	received chan []byte
	sending  struct {
		sync.Mutex
		messages [][]byte
		posted   bool
	}
	over    chan struct{} // closed at the end of the connection
	endOnce sync.Once
}

// init sets the handler of a connection. It must be called on the loop.
func (u *unordered) init(c *hyperdht.Connection) {
	u.received, u.over = make(chan []byte, maxUnordered), make(chan struct{})
	c.OnUnordered(func(b []byte) {
		select {
		case u.received <- bytes.Clone(b):
		default:
		}
	})
}

// ended reports whether the connection has ended.
func (u *unordered) ended() bool {
	select {
	case <-u.over:
		return true
	default:
		return false
	}
}

func (u *unordered) end() { u.endOnce.Do(func() { close(u.over) }) }

// SendUnordered sends a message beside the stream of bytes. It may arrive before bytes that were written earlier, late, twice or not
// at all, and is encrypted and authenticated as they are. Up to 1,128 bytes fit a datagram on every path; above 2,004 bytes it is dropped,
// as it is while 64 others wait for the node's loop. SendUnordered does not wait. It fails once the connection has ended.
func (c *Conn) SendUnordered(msg []byte) error {
	if c.unordered.ended() {
		return c.opError("write", net.ErrClosed)
	}
	s := &c.sending
	s.Lock()
	defer s.Unlock()
	if len(s.messages) < maxUnordered {
		s.messages = append(s.messages, bytes.Clone(msg))
	}
	if !s.posted {
		s.posted = true
		c.loop.Post(c.flushUnordered)
	}
	return nil
}

// flushUnordered runs on the loop.
func (c *Conn) flushUnordered() {
	s := &c.sending
	s.Lock()
	messages := s.messages
	s.messages, s.posted = nil, false
	s.Unlock()
	for _, m := range messages {
		c.conn.SendUnordered(m)
	}
}

// ReceiveUnordered waits for an unordered message of the other side, and returns net.ErrClosed after the end of the connection. Up
// to 64 messages wait for it; while there are so many, further ones are dropped.
func (c *Conn) ReceiveUnordered(ctx context.Context) ([]byte, error) {
	select {
	case m := <-c.received: // also after the end
		return m, nil
	default:
	}
	select {
	case m := <-c.received:
		return m, nil
	case <-ctx.Done():
		return nil, c.opError("read", ctx.Err())
	case <-c.over:
	case <-c.loop.Closed():
	}
	return nil, c.opError("read", net.ErrClosed)
}
