package simnet

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Errors of a simulated machine.
var (
	ErrNoSuchHost  = errors.New("simnet: no such host")
	ErrAddrInUse   = errors.New("simnet: address already in use")
	ErrAddrNotHere = errors.New("simnet: cannot assign requested address")
	ErrNoPorts     = errors.New("simnet: no free port")
	ErrCrashed     = errors.New("simnet: the host has crashed")
)

// Host is one boot of a machine: a host.Host. The fields used for every datagram come first, as in machine.
type Host struct {
	lane     *lane
	m        *machine
	cpu      *processor // nil for a machine that handles everything at its instant
	dead     bool
	flushing bool // a turn for closures deferred outside of any is on its way
	sockets  []binding
	deferred []func()
	room     [2]binding   // for sockets: what one turn touches should lie close together
	first    [2]socket    // the first ones, in the order of opening
	sentAt   host.Instant // the instant of the last send, and how many went out at it
	sentN    uint64
	steady   steady
	timers   int // armed

	boot      uint64 // counts the boots of the machine
	opened    int    // of the sockets in first
	ports     dice
	rand      io.Reader
	computing dice
	closed    chan struct{} // created by Closed
}

// Name returns the name of the machine.
func (h *Host) Name() string { return h.m.name }

// Addr returns the first address of the machine.
func (h *Host) Addr() netip.Addr { return h.m.addrs[0] }

// Clock returns the wall clock of the machine, which outlives crashes.
func (h *Host) Clock() *Clock { return &h.m.clock }

// Timers returns how many timers are armed.
func (h *Host) Timers() int { return h.timers }

// Sockets returns how many sockets are open.
func (h *Host) Sockets() int { return len(h.sockets) }

// Down reports whether this boot has ended.
func (h *Host) Down() bool { return h.dead }

// SetAccess puts a link between the machine and its segment: delays add up, and each datagram that the machine sends or
// receives has to survive both. It is full duplex and outlives restarts.
func (h *Host) SetAccess(l Link) { h.m.access = newAccess(l) }

// SetAddrs moves the machine to other addresses. Sockets bound to any address live on, as they do when a laptop changes
// networks; those bound to a lost address receive nothing more.
func (h *Host) SetAddrs(addrs ...netip.Addr) { h.m.setAddrs(addrs) }

// SetBridges gives the machine addresses of networks inside it, as those of containers are. Several machines may have the
// same ones: they cannot be reached from outside the machine.
func (h *Host) SetBridges(addrs ...netip.Addr) { h.m.bridges = addrs }

// Move attaches the machine to another segment, as a phone that leaves the Wi-Fi, together with its access link. Otherwise
// it is SetAddrs.
func (h *Host) Move(to *Segment, addrs ...netip.Addr) { h.m.move(to, addrs) }

// Crash ends this boot at once: timers never fire, sockets are gone, posted and deferred closures do not run. Calls on a
// crashed host do nothing.
func (h *Host) Crash() {
	if h.dead {
		return
	}
	if h.cpu != nil {
		h.cpu.drop()
	}
	h.dead = true
	if h.closed != nil {
		close(h.closed)
	}
	h.m.host = nil
	h.timers, h.sockets, h.deferred = 0, nil, nil
	h.lane.mark(markCrash, h.m.salt)
	h.lane.note(h.m.name, "crash")
}

// Restart boots the machine again, crashing it first if it is running.
func (h *Host) Restart() *Host {
	if h.m.host != nil {
		h.m.host.Crash()
	}
	return h.m.boot()
}

// Do runs f as a turn of the host, now. It panics inside a turn: turns do not nest.
func (h *Host) Do(f func()) {
	if h.dead {
		return
	}
	if h.lane.running {
		panic(fmt.Sprintf("simnet: Do of %s inside a turn of another machine", h.m.name))
	}
	h.lane.mark(markScenario, h.m.salt)
	h.turn(f)
	h.lane.callOutside()
}

func (h *Host) turn(f func()) {
	h.begin()
	f()
	h.end()
}

func (h *Host) begin() {
	if cur := h.lane.current; cur != nil {
		panic(fmt.Sprintf("simnet: a turn of %s inside a turn of %s", h.m.name, cur.m.name))
	}
	h.lane.current = h
}

func (h *Host) end() {
	for i := 0; i < len(h.deferred); i++ { // they may defer more, and may crash the host
		f := h.deferred[i]
		h.deferred[i] = nil
		f()
	}
	h.deferred = h.deferred[:0]
	h.lane.current = nil
}

// Now implements host.Host.
func (h *Host) Now() host.Instant { return h.steady.at(h.lane.now) }

// AfterFunc implements host.Host.
func (h *Host) AfterFunc(d time.Duration, f func()) host.Timer {
	e := &event{lane: h.lane, host: h, run: f, timer: true}
	if !h.dead {
		h.timers++
		h.lane.arm(e, h.timeout(d))
	}
	return e
}

// Defer implements host.Host.
func (h *Host) Defer(f func()) {
	if h.dead {
		return
	}
	h.deferred = append(h.deferred, f)
	if h.lane.current != h && !h.flushing {
		h.flushing = true
		h.Post(func() { h.flushing = false })
	}
}

// Post implements host.Host. The loop is the goroutine that runs the net; no other may call it.
func (h *Host) Post(f func()) {
	if h.dead {
		return
	}
	h.lane.arm(&event{lane: h.lane, host: h, run: f}, h.lane.now)
}

// Closed implements host.Host: the channel is closed when the boot ends. Only the loop's goroutine may call it.
func (h *Host) Closed() <-chan struct{} {
	if h.closed == nil {
		h.closed = make(chan struct{})
		if h.dead {
			close(h.closed)
		}
	}
	return h.closed
}

// Rand implements host.Host.
func (h *Host) Rand() io.Reader {
	if h.rand == nil {
		h.rand = newReader(h.lane.cfg.Seed, fmt.Sprintf("host:%s/rand/%d", h.m.name, h.boot))
	}
	return h.rand
}

// Addrs implements host.Host.
func (h *Host) Addrs() []netip.Addr {
	var addrs []netip.Addr
	for _, a := range h.m.addrs {
		if a.Is4() && !a.IsLoopback() {
			addrs = append(addrs, a)
		}
	}
	return append(addrs, h.m.bridges...)
}

// LookupHost implements host.Host.
func (h *Host) LookupHost(name string, done func([]netip.Addr, error)) {
	h.lane.armFor(h, lookupDelay, func() {
		if ip, err := netip.ParseAddr(name); err == nil {
			done([]netip.Addr{ip.Unmap()}, nil)
			return
		}
		addrs := h.lane.names[name]
		if len(addrs) == 0 {
			done(nil, fmt.Errorf("%w: %q", ErrNoSuchHost, name))
			return
		}
		done(append([]netip.Addr(nil), addrs...), nil)
	})
}

func (l *lane) armFor(h *Host, d time.Duration, f func()) {
	if !h.dead {
		l.arm(&event{lane: l, host: h, run: f}, l.now.Add(d))
	}
}

// Compute implements host.Host: done runs after a drawn delay, which is seldom a long one, so that computations end in another order than
// they began in, and other turns come in between. As on a real machine, work may run at once or late: what the loop changes meanwhile
// although it is the work's own changes some runs.
func (h *Host) Compute(work, done func()) {
	if h.dead {
		return
	}
	delay := time.Duration(h.computing.below(int64(computeDelay)))
	if h.computing.hit(computeLate) {
		delay = time.Duration(h.computing.below(int64(computeLateDelay)))
	}
	if h.computing.hit(0.5) {
		work()
		h.lane.armFor(h, delay, done)
		return
	}
	h.lane.armFor(h, delay, func() {
		work()
		done()
	})
}

// Trace implements host.Host.
func (h *Host) Trace(e host.Event) {
	if !h.dead {
		h.lane.trace(h, e)
	}
}

var _ host.Host = (*Host)(nil)
