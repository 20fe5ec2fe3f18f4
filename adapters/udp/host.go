package udp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// ErrClosed is returned by OpenSocket on a closed host.
var ErrClosed = fmt.Errorf("udp: host is closed: %w", net.ErrClosed)

// Options configure a host. The zero Options are valid.
type Options struct {
	// Trace is called, on the loop, with every event that protocol code traces and with SlowTurn events of the
	// host. It must not call the host. nil is allowed.
	Trace func(host.Event)
	// Resolver looks names up; nil for the system's.
	Resolver *net.Resolver
	// NoOffload exchanges each datagram with the kernel by itself, instead of in messages of many (Linux: UDP_SEGMENT and UDP_GRO). It is
	// for network cards and drivers that damage them.
	NoOffload bool
}

// Stats counts the events of a host's sockets.
type Stats struct {
	Received, ReceivedBytes uint64 // datagrams and their payload, handed to receivers
	Reads                   uint64 // system calls that received
	Sent, SentBytes         uint64 // datagrams and their payload, taken by the kernel
	Writes                  uint64 // system calls that sent

	ReadErrors  uint64 // failed reads, which some systems use to report an unreachable peer
	Oversized   uint64 // received datagrams larger than 2,048 bytes
	Unread      uint64 // received datagrams without a receiver
	TooBig      uint64 // sends rejected because the datagram exceeds the interface's MTU
	Full        uint64 // sends rejected because the send buffer was full
	WriteErrors uint64 // sends rejected for any other reason: no route, no permission, no such family
}

// Host is a real machine. It implements host.Host.
type Host struct {
	opt    Options
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup // readers, driver, lookups, workers
	driver driver

	posts mailbox
	work  workers
	bulk  atomic.Int32 // sockets whose datagrams are coalesced

	loop  sync.Mutex // the loop; guards what follows
	clock clock

	timers   timerHeap
	timerSeq uint64
	deferred []func()
	sockets  map[*socket]struct{}
	out      outbox
	memory   batch // in which a batch of sends is put together
	addrs    addrs
	stats    Stats
	down     bool
}

// driver wakes the driver goroutine.
type driver struct {
	kick    chan struct{}
	alarm   *time.Timer
	alarmAt host.Instant // when the alarm goes off; the loop's
}

// New starts a host. Close stops it.
func New(opt Options) *Host {
	if opt.Resolver == nil {
		opt.Resolver = net.DefaultResolver
	}
	h := &Host{
		opt: opt, clock: newClock(),
		driver:  driver{kick: make(chan struct{}, 1), alarm: time.NewTimer(math.MaxInt64), alarmAt: math.MaxInt64},
		sockets: map[*socket]struct{}{}, addrs: addrs{list: listAddrs},
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.tasks.Go(h.drive)
	return h
}

// drive is the driver goroutine: it takes the loop when a timer is due or something was posted.
func (h *Host) drive() {
	for {
		select {
		case <-h.driver.alarm.C:
		case <-h.driver.kick:
		case <-h.ctx.Done():
			return
		}
		if !h.enter() {
			return
		}
		h.leave()
	}
}

// enter takes the loop. It returns false, without taking the loop, if the host is closed.
func (h *Host) enter() bool {
	h.loop.Lock()
	return h.entered()
}

// entered begins to hold the loop, whose lock has been taken.
func (h *Host) entered() bool {
	if h.down {
		h.loop.Unlock()
		return false
	}
	h.posts.hold()
	h.clock.tick()
	return true
}

// end runs what the turn deferred.
func (h *Host) end() {
	for i := 0; i < len(h.deferred); i++ { // they may defer more
		f := h.deferred[i]
		h.deferred[i] = nil
		f()
	}
	h.deferred = h.deferred[:0]
}

func (h *Host) turn(f func()) {
	if h.opt.Trace == nil {
		f()
		h.end()
		return
	}
	start := time.Now()
	f()
	h.end()
	if took := time.Since(start); took > turnBudget {
		h.opt.Trace(SlowTurn{took})
	}
}

// leave runs posted closures and due timers, sends the queued datagrams and releases the loop.
func (h *Host) leave() {
	for range rounds {
		h.fire()
		if !h.runPosts() {
			break
		}
		h.clock.tick()
	}
	h.flush()
	h.setAlarm()
	if h.posts.release() {
		h.wake()
	}
	h.loop.Unlock()
}

// fire runs the timers that are due, but not those that they arm: these run in the next round, so that a
// timer that always re-arms itself does not occupy the loop.
func (h *Host) fire() {
	last := h.timerSeq
	for len(h.timers) > 0 && h.timers[0].due <= h.clock.now && h.timers[0].seq <= last {
		h.turn(h.timers.remove(0).f)
	}
}

// runPosts runs the closures posted so far and reports whether there were any.
func (h *Host) runPosts() bool {
	posts := h.posts.take()
	for i, f := range posts {
		posts[i] = nil
		h.turn(f)
	}
	return len(posts) > 0
}

// setAlarm sets the driver's alarm to the first timer. An alarm that fires too early is harmless, and setting
// it costs more than most turns, so it is set only to an earlier time.
func (h *Host) setAlarm() {
	if h.driver.alarmAt <= h.clock.now {
		h.driver.alarmAt = math.MaxInt64 // fired
	}
	if len(h.timers) > 0 && h.timers[0].due < h.driver.alarmAt {
		h.driver.alarmAt = h.timers[0].due
		h.driver.alarm.Reset(h.driver.alarmAt.Sub(h.clock.now))
	}
}

// wake wakes the driver.
func (h *Host) wake() {
	select {
	case h.driver.kick <- struct{}{}:
	default: // it will wake up anyway
	}
}

// Do runs f as a turn and waits for its end. It returns false, without running f, if the host is closed.
// It must not be called inside a turn: it would deadlock.
func (h *Host) Do(f func()) bool {
	done := make(chan struct{})
	h.Post(func() {
		f()
		h.Defer(func() { close(done) })
	})
	select {
	case <-done:
		return true
	case <-h.ctx.Done():
		// The host may have been closed by f or right after it.
		h.loop.Lock()
		defer h.loop.Unlock()
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
}

// Close closes all sockets and drops all timers and posted closures. When it returns no turn is running
// and none will. It must not be called inside a turn: it would deadlock.
func (h *Host) Close() {
	h.posts.close()
	h.work.close()

	h.loop.Lock()
	h.down = true
	h.flush()
	for s := range h.sockets {
		s.Close()
	}
	for _, t := range h.timers {
		t.index = -1
	}
	h.timers, h.deferred = nil, nil
	h.loop.Unlock()

	h.cancel()
	h.driver.alarm.Stop()
	h.tasks.Wait()
}

// Closed implements host.Host.
func (h *Host) Closed() <-chan struct{} { return h.ctx.Done() }

// Stats returns the counters. It must be called on the loop, or after Close.
func (h *Host) Stats() Stats { return h.stats }

// Now implements host.Host.
func (h *Host) Now() host.Instant { return h.clock.now }

// AfterFunc implements host.Host.
func (h *Host) AfterFunc(d time.Duration, f func()) host.Timer {
	t := &timer{h: h, f: f, index: -1}
	t.Reset(d)
	return t
}

// Defer implements host.Host.
func (h *Host) Defer(f func()) { h.deferred = append(h.deferred, f) }

// Post implements host.Host. On a closed host it does nothing.
func (h *Host) Post(f func()) {
	if h.posts.add(f) {
		h.wake()
	}
}

// Rand implements host.Host.
func (h *Host) Rand() io.Reader { return rand.Reader }

// LookupHost implements host.Host.
func (h *Host) LookupHost(name string, done func([]netip.Addr, error)) {
	if addr, err := netip.ParseAddr(name); err == nil {
		h.Post(func() { done([]netip.Addr{addr.Unmap()}, nil) })
		return
	}
	if h.down {
		return
	}
	h.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(h.ctx, lookupTimeout)
		defer cancel()
		addrs, err := h.opt.Resolver.LookupNetIP(ctx, "ip4", name)
		for i := range addrs {
			addrs[i] = addrs[i].Unmap()
		}
		if err == nil && len(addrs) == 0 {
			err = errors.New("no IPv4 address")
		}
		if err != nil {
			err = fmt.Errorf("looking up %q: %w", name, err)
		}
		h.Post(func() { done(addrs, err) })
	})
}

// Trace implements host.Host.
func (h *Host) Trace(e host.Event) {
	if h.opt.Trace != nil {
		h.opt.Trace(e)
	}
}

// SlowTurn is traced when a turn took longer than 1 ms, during which no other turn could run.
type SlowTurn struct{ Took time.Duration }

// AppendText implements host.Event.
func (e SlowTurn) AppendText(b []byte) ([]byte, error) {
	b = append(b, "turn took "...)
	return append(strconv.AppendInt(b, e.Took.Microseconds(), 10), " µs"...), nil
}

var _ host.Host = (*Host)(nil)
