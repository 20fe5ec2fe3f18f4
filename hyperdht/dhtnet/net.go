package dhtnet

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

const network = "hyperdht"

// Loop runs closures on the loop that a node lives on; adapters/udp's Host is one.
type Loop interface {
	Post(f func())
}

// Addr is a HyperDHT address: a key, and the UDP address behind it.
type Addr struct {
	Key      id.PublicKey
	AddrPort netip.AddrPort
}

// Network is "hyperdht".
func (Addr) Network() string { return network }

// String is the key in its canonical text form.
func (a Addr) String() string { return a.Key.String() }

// Net dials and listens with one node.
type Net struct {
	loop Loop
	node *hyperdht.Node
}

// New returns the blocking face of a node that lives on loop.
func New(loop Loop, node *hyperdht.Node) *Net { return &Net{loop: loop, node: node} }

// Dial connects to a key. It returns when the other side has proven that it is there, or when ctx ends.
func (n *Net) Dial(ctx context.Context, key id.PublicKey, opts hyperdht.ConnectOptions) (*Conn, error) {
	type result struct {
		conn *Conn
		err  error
	}
	done := make(chan result, 1)
	var c *hyperdht.Connection // on the loop only
	n.loop.Post(func() {
		if ctx.Err() != nil {
			return
		}
		c = n.node.Connect(key, opts)
		k := newConn(n.loop, c)
		c.OnOpen(func() {
			k.local.AddrPort, k.remote.AddrPort = c.LocalAddr(), c.RemoteAddr()
			done <- result{conn: k}
		})
		c.OnClose(func(err error) {
			k.gone(err)
			select {
			case done <- result{err: err}:
			default:
			}
		})
	})
	fail := func(err error) error {
		return &net.OpError{Op: "dial", Net: network, Addr: Addr{Key: key}, Err: err}
	}
	select {
	case r := <-done:
		if r.err != nil {
			return nil, fail(r.err)
		}
		return r.conn, nil
	case <-ctx.Done():
		n.loop.Post(func() {
			if c != nil {
				c.Destroy(ctx.Err())
			}
		})
		return nil, fail(ctx.Err())
	}
}

// Listener accepts connections under one key.
type Listener struct {
	net    *Net
	key    id.PublicKey
	server *hyperdht.Server // on the loop only

	mu      sync.Mutex
	waiting []*Conn
	arrived chan struct{}
	done    chan struct{}
	closed  bool
}

// maxBacklog bounds the connections that nobody has accepted yet; more are cut off.
const maxBacklog = 128

// Listen announces a server and returns when it can be found. opts.OnConnection is Accept's and must be nil.
func (n *Net) Listen(ctx context.Context, opts hyperdht.ListenOptions) (*Listener, error) {
	l := &Listener{net: n, arrived: make(chan struct{}, 1), done: make(chan struct{})}
	opts.OnConnection = l.add
	ready := make(chan error, 1)
	n.loop.Post(func() {
		if ctx.Err() != nil {
			return
		}
		server, err := n.node.Listen(opts, func(err error) { ready <- err })
		if err != nil {
			ready <- err
			return
		}
		l.server = server
		l.key = server.PublicKey()
	})
	fail := func(err error) error { return &net.OpError{Op: "listen", Net: network, Err: err} }
	select {
	case err := <-ready:
		if err != nil {
			return nil, fail(err)
		}
		return l, nil
	case <-ctx.Done():
		n.loop.Post(func() {
			if l.server != nil {
				l.server.Close(func() {})
			}
		})
		return nil, fail(ctx.Err())
	}
}

// add runs on the loop.
func (l *Listener) add(c *hyperdht.Connection) {
	k := newConn(l.net.loop, c)
	l.mu.Lock()
	full := l.closed || len(l.waiting) >= maxBacklog
	if !full {
		l.waiting = append(l.waiting, k)
	}
	l.mu.Unlock()
	if full {
		c.Destroy(nil)
		return
	}
	select {
	case l.arrived <- struct{}{}:
	default:
	}
}

// Accept waits for the next connection. After Close it returns net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return nil, &net.OpError{Op: "accept", Net: network, Source: l.Addr(), Err: net.ErrClosed}
		}
		if len(l.waiting) > 0 {
			k := l.waiting[0]
			l.waiting = l.waiting[1:]
			if len(l.waiting) > 0 {
				select {
				case l.arrived <- struct{}{}:
				default:
				}
			}
			l.mu.Unlock()
			return k, nil
		}
		l.mu.Unlock()
		select {
		case <-l.arrived:
		case <-l.done:
		}
	}
}

// Close stops listening and waits until the announcements are taken back. Accepted connections live on.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return &net.OpError{Op: "close", Net: network, Source: l.Addr(), Err: net.ErrClosed}
	}
	l.closed = true
	waiting := l.waiting
	l.waiting = nil
	close(l.done)
	l.mu.Unlock()
	for _, k := range waiting {
		k.Close()
	}
	closed := make(chan struct{})
	l.net.loop.Post(func() { l.server.Close(func() { close(closed) }) })
	<-closed
	return nil
}

// Addr is the key that is listened on.
func (l *Listener) Addr() net.Addr { return Addr{Key: l.key} }
