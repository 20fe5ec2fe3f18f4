package turnserver

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// clients are the connections of a server.
type clients struct {
	stats *Stats
	limit int // of connections

	mu     sync.Mutex
	open   map[string]*client // by both addresses, see key
	closed bool
}

// admit adds a connection, and reports whether there is room.
func (c *clients) admit(conn net.Conn) *client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.open) >= c.limit {
		return nil
	}
	added := &client{Conn: conn, of: c}
	c.open[added.key()] = added
	c.stats.Connections.Store(int64(len(c.open)))
	return added
}

func (c *clients) remove(gone *client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := gone.key(); c.open[at] == gone {
		delete(c.open, at)
	}
	c.stats.Connections.Store(int64(len(c.open)))
}

// key names a connection. A client may connect from one port to several listeners.
func key(remote, local net.Addr) string { return remote.String() + " " + local.String() }

// allocated notes that there is an allocation on the connection between two addresses.
func (c *clients) allocated(remote, local net.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn := c.open[key(remote, local)]; conn != nil {
		conn.allocated.Store(true)
		conn.postpone(silence)
	}
}

// released notes that there is none any more, so that the connection does not take the place of others.
func (c *clients) released(remote, local net.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn := c.open[key(remote, local)]; conn != nil {
		conn.allocated.Store(false)
		conn.expire(time.Now().Add(allocateTimeout))
	}
}

// close closes all connections, which pion's server leaves open.
func (c *clients) close() {
	c.mu.Lock()
	c.closed = true
	open := make([]*client, 0, len(c.open))
	for _, conn := range c.open {
		open = append(open, conn)
	}
	c.mu.Unlock()
	for _, conn := range open {
		_ = conn.Close()
	}
}

// listener limits the connections of a listener.
type listener struct {
	net.Listener
	clients *clients
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if isTransient(err) { // pion's server never accepts again after an error
			time.Sleep(acceptPause)
			continue
		}
		if err != nil {
			return nil, err
		}
		if c := l.clients.admit(conn); c != nil {
			c.postpone(allocateTimeout)
			return c, nil
		}
		l.clients.stats.Crowded.Add(1)
		_ = conn.Close()
	}
}

// isTransient reports whether a listener that fails accepts again when others have closed their files.
func isTransient(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// client is a connection of a client. It ends if it is silent, or takes nothing.
type client struct {
	net.Conn
	of        *clients
	allocated atomic.Bool
	deadline  atomic.Int64 // of reads, in nanoseconds of Unix time
	once      sync.Once
}

// postpone sets the deadline of reads, unless it is about that already.
func (c *client) postpone(by time.Duration) {
	now := time.Now()
	to := now.Add(by)
	if last := c.deadline.Load(); to.UnixNano()-last < int64(deadlineStep) && last-now.UnixNano() > 0 {
		return
	}
	c.expire(to)
}

// expire sets the deadline of reads.
func (c *client) expire(at time.Time) {
	c.deadline.Store(at.UnixNano())
	_ = c.SetReadDeadline(at)
}

func (c *client) key() string { return key(c.RemoteAddr(), c.LocalAddr()) }

// Read implements net.Conn.
func (c *client) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.allocated.Load() {
		c.postpone(silence)
	}
	return n, err
}

// Write implements net.Conn.
func (c *client) Write(b []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
	n, err := c.Conn.Write(b)
	if err != nil {
		_ = c.Close() // a part of a message leaves the rest unreadable
	}
	return n, err
}

// Close implements net.Conn.
func (c *client) Close() error {
	c.once.Do(func() { c.of.remove(c) })
	return c.Conn.Close()
}
