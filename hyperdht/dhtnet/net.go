package dhtnet

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/bridge"
)

const network = "hyperdht"

// Addr is a HyperDHT address: a key, and the UDP address behind it.
type Addr struct {
	Key      id.PublicKey
	AddrPort netip.AddrPort // invalid while unknown
}

// Network returns "hyperdht".
func (Addr) Network() string { return network }

// String returns the key in its canonical text form.
func (a Addr) String() string { return a.Key.String() }

// Dial connects to the server with a public key, under the node's key or opts.Keys. It returns when a packet of the server has
// decrypted, when the dial fails, when ctx ends, or when the node's host closes.
func (n *Net) Dial(ctx context.Context, key id.PublicKey, opts hyperdht.ConnectOptions) (*Conn, error) {
	type result struct {
		conn *Conn
		err  error
	}
	r, err := bridge.Call(ctx, n.loop, func(done func(result)) func() {
		c := n.node.Connect(key, opts)
		k := newConn(n.loop, c)
		c.OnOpen(func() {
			k.opened()
			done(result{conn: k})
		})
		c.OnClose(func(err error) {
			k.gone(err)
			done(result{err: err})
		})
		return func() { c.Destroy(ctx.Err()) }
	})
	if err == nil {
		err = r.err
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: Addr{Key: key}, Err: err}
	}
	return r.conn, nil
}

// Listener accepts connections under one key.
type Listener struct {
	net    *Net
	key    id.PublicKey
	server *hyperdht.Server // on the loop only

	backlog *backlog[*Conn]

	mu     sync.Mutex
	closed bool // by Close
}

// Listen announces a server under opts.Keys, or the node's if they are zero, and returns when it is announced, when ctx ends, or when
// the node or its host closes. opts.OnConnection must be nil: Accept uses it.
func (n *Net) Listen(ctx context.Context, opts hyperdht.ListenOptions) (*Listener, error) {
	return n.listen(ctx, opts, func(l *Listener, c *hyperdht.Connection) { l.add(newConn(n.loop, c)) })
}

// listen is Listen with a function that takes the connections, on the loop.
func (n *Net) listen(ctx context.Context, opts hyperdht.ListenOptions, take func(*Listener, *hyperdht.Connection)) (*Listener, error) {
	l := &Listener{net: n, backlog: newBacklog[*Conn]()}
	opts.OnConnection = func(c *hyperdht.Connection) { take(l, c) }
	closed := opts.OnClose
	refused, err := bridge.Call(ctx, n.loop, func(done func(error)) func() {
		opts.OnClose = func() {
			done(net.ErrClosed)
			l.backlog.end()
			if closed != nil {
				closed()
			}
		}
		server, err := n.node.Listen(opts, done)
		if err != nil {
			done(err)
			return nil
		}
		l.server = server
		l.key = server.PublicKey()
		return func() { server.Close(func() {}) }
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return l, nil
}

// Deciding returns a value for hyperdht.ListenOptions.AdmitLater: each caller is decided by decide, on a goroutine of its own, where it
// may ask a database or another service. The context ends after hyperdht.AdmissionPatience, when the caller is dropped in favour of
// others, and when the server closes, of which context.Cause has the error: see hyperdht.Admission.OnOver. A decision after that has no
// effect. At most 1,024 callers of a node wait; a decide that goes on after the end of its context adds to them.
func (n *Net) Deciding(decide func(context.Context, *hyperdht.Admission) bool) func(*hyperdht.Admission) {
	return func(a *hyperdht.Admission) {
		ctx, cancel := context.WithCancelCause(context.Background())
		a.OnOver(cancel)
		go func() {
			defer cancel(nil)
			ctx, stop := context.WithTimeout(ctx, hyperdht.AdmissionPatience)
			defer stop()
			answer := a.Reject
			if decide(ctx, a) {
				answer = a.Accept
			}
			n.loop.Post(answer)
		}()
	}
}

// add queues a connection for Accept. It runs on the loop.
func (l *Listener) add(k *Conn) {
	if !l.backlog.add(k) {
		k.conn.Destroy(nil)
	}
}

// Accept waits for the next connection. After Close, and once the node or its host has closed, it returns net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	k, err := l.backlog.take(context.Background(), l.net.loop)
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: network, Source: l.Addr(), Err: err}
	}
	return k, nil
}

// Refresh announces the server again, and does not wait for it: see hyperdht.Server.Refresh.
func (l *Listener) Refresh() { l.net.loop.Post(l.server.Refresh) }

// Close stops listening and waits until the server is unannounced, unless the node is closed. Accepted
// connections stay open.
func (l *Listener) Close() error {
	l.mu.Lock()
	again := l.closed
	l.closed = true
	l.mu.Unlock()
	if again {
		return &net.OpError{Op: "close", Net: network, Source: l.Addr(), Err: net.ErrClosed}
	}
	l.backlog.end()
	// On a closed host there is nothing left to unannounce.
	_ = bridge.Wait(context.Background(), l.net.loop, l.server.Close)
	return nil
}

// Addr returns an Addr with the server's key.
func (l *Listener) Addr() net.Addr { return Addr{Key: l.key} }
