package hyperdht

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/ports/host"
)

// ConnectionPool keeps one connection for each remote key, whichever side has dialled (hyperdht lib/connection-pool.js). It lives on its
// node's loop. Connections enter by Connect, and by Add as the OnConnection of servers.
//
// Where both sides dial, two connections to a key meet. Each side keeps the one that the side with the smaller public key has dialled, so
// that the same one is left on both; the other one ends with ErrDuplicateConnection. A second connection that the same side has dialled
// replaces the first: that side has lost it. A connection that came in counts once it has opened, that is, once the peer has shown that
// it holds its key. The reference implementation counts it from the handshake, which an attacker may have recorded.
type ConnectionPool struct {
	node         *Node
	onConnection func(*Connection)
	open         map[id.PublicKey]*Connection
	dials        map[id.PublicKey]*pooledDial
}

// pooledDial is a dial of a pool, with the calls of Connect that wait for it. Where it has failed because the peer keeps a connection
// that it dials itself, they wait for that for a while.
type pooledDial struct {
	conn    *Connection
	waiting []*pooledCall
	grace   host.Timer // nil before the failure
}

// smaller reports whether our key is the smaller one of a connection's two.
func (e *ends) smaller() bool { return bytes.Compare(e.local[:], e.remote[:]) < 0 }

// pooledCall is a call of Connect.
type pooledCall struct{ done func(*Connection, error) }

// NewConnectionPool returns an empty pool. onConnection runs for each connection that enters it, when it has opened: handlers that are
// set there miss no message of the stream. It runs again for a connection that replaces another.
func (n *Node) NewConnectionPool(onConnection func(*Connection)) *ConnectionPool {
	return &ConnectionPool{
		node: n, onConnection: onConnection,
		open: make(map[id.PublicKey]*Connection), dials: make(map[id.PublicKey]*pooledDial),
	}
}

// Get returns the open connection to a key, nil for none.
func (p *ConnectionPool) Get(remote id.PublicKey) *Connection { return p.open[remote] }

// Has reports whether there is an open connection to a key, or a dial of the pool.
func (p *ConnectionPool) Has(remote id.PublicKey) bool {
	return p.open[remote] != nil || p.dials[remote] != nil
}

// Connections lists the open connections, by remote key.
func (p *ConnectionPool) Connections() []*Connection {
	return slices.SortedFunc(maps.Values(p.open), func(a, b *Connection) int { return bytes.Compare(a.remote[:], b.remote[:]) })
}

// Remove takes a connection out of the pool, such as one that the application ends: it stays open, and the next Connect dials. A closed
// connection is removed by itself.
func (p *ConnectionPool) Remove(c *Connection) {
	if p.open[c.remote] == c {
		delete(p.open, c.remote)
	}
}

// Connecting returns the number of keys that are being dialled.
func (p *ConnectionPool) Connecting() int { return len(p.dials) }

// Connect calls done with the connection to a key, in a later turn: the one of the pool, that of a dial under way, or that of a new dial,
// to which alone opts apply. done gets an error if the dial fails, unless the peer has connected to a server of the pool meanwhile; where
// the peer has ended the dial, as it does in favour of its own, up to three seconds later. If onConnection destroys or closes the
// connection, it gets the cause; ErrConnectionClosed if that is nil. A connection that the application closes, whichever Connect it is
// from, is not returned by later calls. done may be nil. cancel makes done not run, and ends the dial if no other call waits for it.
func (p *ConnectionPool) Connect(remote id.PublicKey, opts ConnectOptions, done func(*Connection, error)) (cancel func()) {
	w := &pooledCall{done}
	if c := p.open[remote]; c != nil && !c.leaving() {
		p.node.host.Defer(func() {
			if now := p.open[remote]; now != nil {
				c = now // another one has replaced it
			}
			w.answer(c)
		})
		return w.leave
	}
	d := p.dials[remote]
	if d == nil {
		d = &pooledDial{conn: p.node.Connect(remote, opts)}
		p.dials[remote] = d
		d.conn.OnOpen(func() { p.opened(d.conn) })
		d.conn.OnClose(func(err error) { p.failed(d, err) })
	}
	d.waiting = append(d.waiting, w)
	return func() {
		w.leave()
		if d.leave(w) == 0 && p.dials[remote] == d {
			p.drop(d)
			d.conn.Destroy(ErrCanceled)
		}
	}
}

func (pc *pooledCall) leave() { pc.done = nil }

// answer runs the done of a call, unless it was cancelled or has run, with a connection that is open or has ended.
func (pc *pooledCall) answer(c *Connection) {
	if c.leaving() {
		pc.fail(c.reason())
	} else {
		pc.end(c, nil)
	}
}

func (pc *pooledCall) fail(err error) { pc.end(nil, err) }

func (pc *pooledCall) end(c *Connection, err error) {
	if done := pc.done; done != nil {
		pc.done = nil
		done(c, err)
	}
}

// leave removes a call, and returns the number of those that are left.
func (d *pooledDial) leave(w *pooledCall) int {
	d.waiting = slices.DeleteFunc(d.waiting, func(other *pooledCall) bool { return other == w })
	return len(d.waiting)
}

// end runs the done of all calls that wait.
func (d *pooledDial) end(answer func(*pooledCall)) {
	waiting := d.waiting
	d.waiting = nil
	for _, w := range waiting {
		answer(w)
	}
}

// Add takes a connection that came in. It serves as ListenOptions.OnConnection of any number of servers.
func (p *ConnectionPool) Add(c *Connection) {
	if c.open {
		p.opened(c)
		return
	}
	c.OnOpen(func() { p.opened(c) })
}

// failed handles the end of a dial that has not opened.
func (p *ConnectionPool) failed(d *pooledDial, err error) {
	if p.dials[d.conn.remote] != d {
		return // another connection is in its place
	}
	give := func() {
		p.drop(d)
		d.end(func(w *pooledCall) { w.fail(cmp.Or(err, ErrConnectionClosed)) })
	}
	ended := errors.Is(err, udx.ErrReset) || errors.Is(err, udx.ErrClosed) // by the peer; the latter before its answer was here
	if ended && !d.conn.smaller() {
		d.grace = p.node.host.AfterFunc(duplicateGrace, give)
		return
	}
	give()
}

// drop removes a dial.
func (p *ConnectionPool) drop(d *pooledDial) {
	delete(p.dials, d.conn.remote)
	if d.grace != nil {
		d.grace.Stop()
	}
}

// opened takes an open connection into the pool, in place of another one, or ends it.
func (p *ConnectionPool) opened(c *Connection) {
	d := p.dials[c.remote]
	existing := p.open[c.remote]
	switch {
	case d != nil:
		existing = d.conn
	case existing != nil && existing.leaving():
		existing = nil // it ends by itself
	}
	if existing != nil && existing != c && !existing.closed && !replaces(c, existing) {
		c.Destroy(ErrDuplicateConnection)
		return
	}
	if d != nil {
		p.drop(d)
	}
	if existing != nil && existing != c {
		existing.Destroy(ErrDuplicateConnection)
	}
	p.open[c.remote] = c
	c.onGone = func() { p.Remove(c) }
	c.OnOpen(nil)
	c.OnClose(nil)
	p.onConnection(c)
	if d != nil {
		d.end(func(w *pooledCall) { w.answer(c) })
	}
}

// replaces reports whether a connection is kept in place of an existing one to the same key.
func replaces(c, existing *Connection) bool {
	return c.initiator == existing.initiator || c.initiator == c.smaller()
}
