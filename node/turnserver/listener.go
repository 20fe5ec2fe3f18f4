package turnserver

import (
	"container/list"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// clients are the connections of a server. Those that have not allocated wait, and one of them gives way to a newcomer where there are many:
// the oldest of the network that has most of them, so that one network cannot keep out the others.
type clients struct {
	stats *Stats
	limit int // of connections that wait

	mu       sync.Mutex
	open     map[string]*client // by both addresses, see key
	waiting  list.List          // of *client, the oldest first
	networks map[netip.Prefix]*network
	closed   bool
}

// network is a part of the internet that is counted as one client.
type network struct {
	prefix  netip.Prefix
	waiting int // connections from there
}

func newClients(stats *Stats, limit int) *clients {
	return &clients{stats: stats, limit: limit, open: map[string]*client{}, networks: map[netip.Prefix]*network{}}
}

// admit adds a connection, which waits. It returns nil after close.
func (c *clients) admit(conn net.Conn) *client {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	var leaving []*client
	for c.waiting.Len() >= c.limit {
		oldest := c.mostCrowding()
		c.forget(oldest)
		leaving = append(leaving, oldest)
	}
	added := &client{Conn: conn, of: c}
	c.open[added.key()] = added
	c.wait(added)
	c.stats.Connections.Store(int64(len(c.open)))
	c.mu.Unlock()
	for _, gone := range leaving {
		c.stats.Crowded.Add(1)
		gone.abort()
	}
	return added
}

// mostCrowding returns the connection that gives way.
func (c *clients) mostCrowding() *client {
	chosen := c.waiting.Front().Value.(*client)
	for e := c.waiting.Front(); e != nil; e = e.Next() {
		if w := e.Value.(*client); w.network.waiting > chosen.network.waiting {
			chosen = w
		}
	}
	return chosen
}

// wait puts a connection at the end of those that wait.
func (c *clients) wait(w *client) {
	if w.place != nil {
		return
	}
	prefix := networkOf(w.RemoteAddr())
	n := c.networks[prefix]
	if n == nil {
		n = &network{prefix: prefix}
		c.networks[prefix] = n
	}
	n.waiting++
	w.network, w.place = n, c.waiting.PushBack(w)
}

// leave takes a connection out of those that wait.
func (c *clients) leave(w *client) {
	if w.place == nil {
		return
	}
	c.waiting.Remove(w.place)
	if w.network.waiting--; w.network.waiting == 0 {
		delete(c.networks, w.network.prefix)
	}
	w.network, w.place = nil, nil
}

func (c *clients) forget(gone *client) {
	if at := gone.key(); c.open[at] == gone {
		delete(c.open, at)
	}
	c.leave(gone)
}

func (c *clients) remove(gone *client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(gone)
	c.stats.Connections.Store(int64(len(c.open)))
}

// networkOf returns the network of an address: what one customer of a provider has, or a few.
func networkOf(a net.Addr) netip.Prefix {
	at, err := addrPort(a)
	if err != nil {
		return netip.Prefix{}
	}
	bits := networkBits6
	if at.Addr().Is4() {
		bits = networkBits4
	}
	prefix, _ := at.Addr().WithZone("").Prefix(bits) // the bits are of its family
	return prefix
}

// key names a connection. A client may connect from one port to several listeners.
func key(remote, local net.Addr) string { return remote.String() + " " + local.String() }

// allocated notes that there is an allocation on the connection between two addresses.
func (c *clients) allocated(remote, local net.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn := c.open[key(remote, local)]; conn != nil {
		conn.allocated.Store(true)
		c.leave(conn)
		conn.postpone(silence)
	}
}

// released notes that there is none any more: the connection waits again.
func (c *clients) released(remote, local net.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn := c.open[key(remote, local)]; conn != nil {
		conn.said.Store(0)
		conn.allocated.Store(false)
		c.wait(conn)
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
		_ = conn.Close()
	}
}

// isTransient reports whether a listener that fails accepts again when others have closed their files.
func isTransient(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

var errTalkative = errors.New("the client sends much, and does not allocate")

// client is a connection of a client. It ends if it is silent, takes nothing, or says much before it allocates.
type client struct {
	net.Conn
	of        *clients
	network   *network      // guarded by of.mu, as place is
	place     *list.Element // among those that wait; nil outside
	allocated atomic.Bool
	said      atomic.Int64 // bytes from the client while it waits
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
	switch {
	case n <= 0:
	case c.allocated.Load():
		c.postpone(silence)
	case c.said.Add(int64(n)) > waitingBytes:
		return 0, errTalkative
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

// abort closes a connection without a last word, for which TLS would wait.
func (c *client) abort() {
	if secure, ok := c.Conn.(interface{ NetConn() net.Conn }); ok {
		_ = secure.NetConn().Close()
		return // and Close follows when Read fails
	}
	_ = c.Close()
}
