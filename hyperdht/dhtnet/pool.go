package dhtnet

import (
	"context"
	"net"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/bridge"
)

// Pool keeps one Conn for each remote key, whichever side has dialled, by the rule of hyperdht.ConnectionPool: where both sides dial, the
// same connection is left on both, and the other Conn fails with hyperdht.ErrDuplicateConnection.
//
// A Conn that this side has dialled, or for which a Dial waits, is returned by Dial, any other by Accept of the Listener that it came
// to. Later Dials of its key return the same Conn, until it is closed: its users share it, and agree on its bytes.
type Pool struct {
	net  *Net
	pool *hyperdht.ConnectionPool

	// on the loop only
	conns     map[id.PublicKey]*Conn
	dials     map[id.PublicKey]int
	listeners map[id.PublicKey]*Listener // by their own keys
}

// NewPool returns an empty pool.
func (n *Net) NewPool() *Pool {
	p := &Pool{net: n, conns: map[id.PublicKey]*Conn{}, dials: map[id.PublicKey]int{}, listeners: map[id.PublicKey]*Listener{}}
	p.pool = n.node.NewConnectionPool(p.entered)
	return p
}

// entered takes a connection of the pool. It runs on the loop.
func (p *Pool) entered(c *hyperdht.Connection) {
	k, remote := newConn(p.net.loop, c), c.RemotePublicKey()
	p.conns[remote] = k
	c.OnClose(func(err error) {
		if p.conns[remote] == k {
			delete(p.conns, remote)
		}
		k.gone(err)
	})
	l := p.listeners[c.PublicKey()]
	switch {
	case p.dials[remote] > 0:
	case l != nil && !c.IsInitiator():
		l.add(k)
	default:
		c.Destroy(nil) // its listener is closed
	}
}

// Dial returns the Conn of a key: that of the pool, or a new one, to which alone opts apply. It waits as Net.Dial does, and returns
// the connection that the other side has dialled if that comes first.
func (p *Pool) Dial(ctx context.Context, key id.PublicKey, opts hyperdht.ConnectOptions) (*Conn, error) {
	o, err := bridge.Call(ctx, p.net.loop, func(done func(outcome[*Conn])) func() {
		if k := p.conns[key]; k != nil && k.ending() {
			p.pool.Remove(k.conn)
			delete(p.conns, key)
		}
		p.dials[key]++
		waiting := true
		leave := func() {
			if !waiting {
				return
			}
			waiting = false
			if p.dials[key]--; p.dials[key] == 0 {
				delete(p.dials, key)
			}
		}
		cancel := p.pool.Connect(key, opts, func(_ *hyperdht.Connection, err error) {
			leave()
			done(outcome[*Conn]{p.conns[key], err})
		})
		return func() {
			leave()
			cancel()
		}
	})
	if err == nil {
		err = o.err
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: Addr{Key: key}, Err: err}
	}
	return o.value, nil
}

// Listen is Net.Listen for connections of the pool.
func (p *Pool) Listen(ctx context.Context, opts hyperdht.ListenOptions) (*Listener, error) {
	var key id.PublicKey // once a connection has come
	closed := opts.OnClose
	opts.OnClose = func() {
		delete(p.listeners, key)
		if closed != nil {
			closed()
		}
	}
	return p.net.listen(ctx, opts, func(l *Listener, c *hyperdht.Connection) {
		key = l.key
		p.listeners[key] = l
		p.pool.Add(c)
	})
}

// Conns lists the open connections, by remote key.
func (p *Pool) Conns(ctx context.Context) ([]*Conn, error) {
	return onNode(ctx, p.net, "list connections", func(*hyperdht.Node) ([]*Conn, error) {
		var all []*Conn
		for _, c := range p.pool.Connections() {
			all = append(all, p.conns[c.RemotePublicKey()])
		}
		return all, nil
	})
}
