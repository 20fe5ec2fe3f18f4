// Package simpipe simulates byte pipes between machines of a simulated internet: TCP, where what is inside does not matter.
//
// Bytes arrive in order after the delay of the way between the two machines (simnet.Host.WayTo), at the pace of a rate, and at most a window
// of them is under way. NATs and blocked UDP do not affect them: a network that passes nothing else passes these.
//
// A pipe breaks when one of its machines crashes, which the other end notices when it sends something. Where the network between is cut, by
// Cut, a block or a partition, or one of the machines has moved, what is sent is lost and so is the pipe, but neither end notices.
// An end that needs to know soon must ask the other one.
package simpipe

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/ports/pipe"
)

var (
	errRefused = errors.New("simpipe: connection refused")
	errReset   = errors.New("simpipe: connection reset")
	errTimeout = errors.New("simpipe: no answer")
)

const (
	// dialTimeout is the time until a dial over a network that is cut fails.
	dialTimeout = 8 * time.Second
	// unknownDelay is the delay to an address where nothing listens.
	unknownDelay = 20 * time.Millisecond
	// segment is the size of the pieces in which bytes travel.
	segment = 16 << 10
)

// Config configures a network of pipes.
type Config struct {
	Rate       int // bytes per second and pipe, one way; 0 means any
	Window     int // bytes under way; 0 means 256 kB
	RoundTrips int // to open a pipe, besides that of TCP: 1 or 2 for TLS
}

// Network connects machines by pipes.
type Network struct {
	net       *simnet.Net
	cfg       Config
	listeners map[netip.AddrPort]*Listener
	cut       map[string]bool // names of machines
	open      []*end          // in the order of opening
}

// New returns a network.
func New(net *simnet.Net, cfg Config) *Network {
	if cfg.Window == 0 {
		cfg.Window = 256 << 10
	}
	return &Network{net: net, cfg: cfg, listeners: map[netip.AddrPort]*Listener{}, cut: map[string]bool{}}
}

// Cut loses all that machine a sends or receives on pipes, from now on, until Join. Nothing tells either end.
func (n *Network) Cut(a *simnet.Host) { n.cut[a.Name()] = true }

// Join ends Cut. What was written meanwhile, and what was under way, is lost with its pipe.
func (n *Network) Join(a *simnet.Host) {
	delete(n.cut, a.Name())
	for _, e := range append([]*end(nil), n.open...) {
		if e.lost && (e.host.Name() == a.Name() || e.other.host.Name() == a.Name()) {
			e.reset()
		}
	}
}

// Listener accepts pipes at an address of a machine.
type Listener struct {
	n      *Network
	host   *simnet.Host
	at     netip.AddrPort
	accept func(pipe.Pipe)
}

// Listen accepts pipes on a machine until Close, or until it crashes. accept runs in a turn of the machine.
func (n *Network) Listen(h *simnet.Host, port uint16, accept func(pipe.Pipe)) *Listener {
	l := &Listener{n, h, netip.AddrPortFrom(h.Addr(), port), accept}
	n.listeners[l.at] = l
	return l
}

// Close accepts no more pipes; those that are open stay.
func (l *Listener) Close() {
	if l.n.listeners[l.at] == l {
		delete(l.n.listeners, l.at)
	}
}

// Dialer returns a dialer of a machine to an address.
func (n *Network) Dialer(h *simnet.Host, to netip.AddrPort) pipe.Dialer { return &dialer{n, h, to} }

type dialer struct {
	n    *Network
	host *simnet.Host
	to   netip.AddrPort
}

// Dial implements [pipe.Dialer].
func (d *dialer) Dial(done func(pipe.Pipe, error)) (cancel func()) {
	canceled := false
	finish := func(p *end, err error) {
		d.host.Post(func() {
			switch {
			case canceled && p != nil:
				p.Close()
			case canceled:
			case err != nil:
				done(nil, &pipe.Error{Step: pipe.Connect, Err: err})
			default:
				done(p, nil)
			}
		})
	}
	l := d.n.listeners[d.to]
	there := unknownDelay
	if l != nil {
		there = d.host.WayTo(l.host).Delay
	}
	d.n.after(there, func() {
		l := d.n.listeners[d.to]
		switch {
		case d.n.cut[d.host.Name()] || l != nil && !d.n.passes(d.host, l.host):
			d.n.after(dialTimeout, func() { finish(nil, errTimeout) })
		case l == nil || l.host.Down():
			d.n.after(there, func() { finish(nil, errRefused) })
		default:
			near, far := d.n.pair(d.host, l.host, d.to)
			back := l.host.WayTo(d.host).Delay
			d.n.after(time.Duration(d.n.cfg.RoundTrips)*(there+back), func() {
				l.host.Post(func() { l.accept(far) })
				d.n.after(back, func() { finish(near, nil) })
			})
		}
	})
	return func() { canceled = true }
}

// passes reports whether bytes from one machine arrive at another.
func (n *Network) passes(from, to *simnet.Host) bool {
	return !n.cut[from.Name()] && !n.cut[to.Name()] && !from.WayTo(to).Cut
}

func (n *Network) after(d time.Duration, f func()) { n.net.AfterFunc(d, f) }

// pair returns the ends of a new pipe.
func (n *Network) pair(from, to *simnet.Host, at netip.AddrPort) (near, far *end) {
	near = &end{n: n, host: from, at: placeOf(from), remote: at}
	far = &end{n: n, host: to, at: placeOf(to), remote: netip.AddrPortFrom(from.Addr(), at.Port()), other: near}
	near.other = far
	n.open = append(n.open, near, far)
	return near, far
}

// place is a segment and an address of a machine.
type place struct {
	segment *simnet.Segment
	addr    netip.Addr
}

func placeOf(h *simnet.Host) place { return place{h.Segment(), h.Addr()} }

// end is one end of a pipe.
type end struct {
	n      *Network
	host   *simnet.Host
	at     place // when it was opened
	remote netip.AddrPort
	other  *end

	handlers pipe.Handlers
	handled  bool
	kept     []byte // that arrived before there was a handler
	over     bool   // nothing more arrives, because of err
	err      error
	closed   bool // by this side, or OnClose was called
	lost     bool // what it sends

	pending  []byte
	flying   int
	ending   bool          // closes after what is pending
	nextFree time.Duration // when the wire is
	arrived  time.Duration // when the last bytes do
}

// RemoteAddr implements [pipe.Pipe].
func (e *end) RemoteAddr() netip.AddrPort { return e.remote }

// Buffered implements [pipe.Pipe].
func (e *end) Buffered() int { return len(e.pending) }

// Write implements [pipe.Pipe].
func (e *end) Write(b []byte) {
	if e.closed || e.host.Down() {
		return
	}
	e.pending = append(e.pending, b...)
	e.pump()
}

// pump sends what fits into the window.
func (e *end) pump() {
	for len(e.pending) > 0 && e.flying < e.n.cfg.Window {
		size := min(len(e.pending), segment, e.n.cfg.Window-e.flying)
		b := append([]byte(nil), e.pending[:size]...)
		e.pending = e.pending[size:]
		e.flying += size
		e.carry(size, func() { e.other.arrive(b) })
	}
	if e.ending && len(e.pending) == 0 {
		e.ending = false
		e.carry(0, func() { e.other.finish(nil) })
	}
}

// carry calls f when so many bytes have arrived at the other end.
func (e *end) carry(size int, f func()) {
	now := e.n.net.Now()
	start := max(now, e.nextFree)
	e.nextFree = start
	if e.n.cfg.Rate > 0 {
		e.nextFree += time.Duration(size) * time.Second / time.Duration(e.n.cfg.Rate)
	}
	e.arrived = max(e.arrived, e.nextFree+e.host.WayTo(e.other.host).Delay)
	e.n.after(e.arrived-now, func() {
		switch {
		case e.lost || e.moved() || e.other.moved() || !e.n.passes(e.host, e.other.host):
			e.lost = true
		case e.other.host.Down(): // its machine answers with a reset, or the next one there does
			e.n.after(e.other.host.WayTo(e.host).Delay, e.reset)
		default:
			f()
		}
	})
}

// moved reports whether the machine has moved since the pipe was opened.
func (e *end) moved() bool { return placeOf(e.host) != e.at }

// reset ends the pipe without an order.
func (e *end) reset() {
	e.finish(errReset)
	e.other.finish(errReset)
}

// arrive takes bytes from the other end.
func (e *end) arrive(b []byte) {
	e.host.Post(func() {
		switch {
		case e.over || e.closed:
			if e.closed {
				e.other.finish(errReset)
			}
		case !e.handled:
			e.kept = append(e.kept, b...)
		default:
			e.take(b)
		}
	})
}

// take hands bytes to the handler, and lets the other end send as many.
func (e *end) take(b []byte) {
	e.n.after(e.host.WayTo(e.other.host).Delay, func() {
		e.other.flying -= len(b)
		e.other.pump()
	})
	if e.handlers.OnReceive != nil {
		e.handlers.OnReceive(b)
	}
}

// finish ends what arrives.
func (e *end) finish(err error) {
	e.host.Post(func() {
		if e.over {
			return
		}
		e.over, e.err = true, err
		e.tell()
	})
	for i, open := range e.n.open {
		if open == e {
			e.n.open = append(e.n.open[:i:i], e.n.open[i+1:]...)
			break
		}
	}
}

// tell reports the end, once there is a handler for it.
func (e *end) tell() {
	if !e.handled || e.closed || len(e.kept) > 0 {
		return
	}
	e.closed = true
	if e.handlers.OnClose != nil {
		e.handlers.OnClose(e.err)
	}
}

// Handle implements [pipe.Pipe].
func (e *end) Handle(h pipe.Handlers) {
	e.handlers, e.handled = h, true
	e.host.Post(func() {
		if b := e.kept; len(b) > 0 && !e.closed {
			e.kept = nil
			e.take(b)
		}
		if e.over {
			e.tell()
		}
	})
}

// Close implements [pipe.Pipe].
func (e *end) Close() {
	if e.closed {
		return
	}
	e.closed = true
	e.ending = true
	e.pump()
}

// Reset breaks the pipe for both ends, as a server that is killed does.
func Reset(p pipe.Pipe) {
	e := p.(*end)
	e.closed = true
	e.n.after(e.host.WayTo(e.other.host).Delay, func() { e.other.finish(errReset) })
}

// String names the pipe in traces.
func (e *end) String() string { return fmt.Sprintf("pipe of %s to %s", e.host.Name(), e.remote) }
