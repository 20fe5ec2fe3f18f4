// Package portstest has an in-memory implementation of every port, a loop on virtual time to run them on, and the
// suites that hold fakes and real adapters to the same contract.
//
// Everything is deterministic: one goroutine, a seeded source of randomness, timers in the order armed.
package portstest

import (
	"cmp"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Loop is a host.Host without a network: virtual time, timers, turns. It has no sockets and no names.
type Loop struct {
	now     host.Instant
	seq     uint64
	timers  []*timer // by (due, seq)
	posted  []func()
	delayed []func() // Defer'd in this turn
	rand    io.Reader

	// AfterTurn is called at the end of each turn, if it is set.
	AfterTurn func()
}

// NewLoop returns a loop at instant 0 whose randomness comes from seed.
func NewLoop(seed uint64) *Loop {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return &Loop{rand: rand.NewChaCha8(key)}
}

type timer struct {
	loop  *Loop
	due   host.Instant
	seq   uint64
	f     func()
	armed bool
}

// Now returns the steady time.
func (l *Loop) Now() host.Instant { return l.now }

// AfterFunc arms a timer.
func (l *Loop) AfterFunc(d time.Duration, f func()) host.Timer {
	t := &timer{loop: l, f: f}
	t.Reset(d)
	return t
}

// Defer runs f at the end of the turn.
func (l *Loop) Defer(f func()) { l.delayed = append(l.delayed, f) }

// Post runs f in a later turn.
func (l *Loop) Post(f func()) { l.posted = append(l.posted, f) }

// Closed returns nil: a Loop does not close.
func (l *Loop) Closed() <-chan struct{} { return nil }

// Rand returns the seeded randomness.
func (l *Loop) Rand() io.Reader { return l.rand }

// OpenSocket fails: there is no network here.
func (l *Loop) OpenSocket(netip.AddrPort) (host.Socket, error) {
	return nil, errors.New("portstest: no sockets")
}

// Addrs is empty.
func (l *Loop) Addrs() []netip.Addr { return nil }

// LookupHost finds nothing.
func (l *Loop) LookupHost(_ string, done func([]netip.Addr, error)) {
	l.Post(func() { done(nil, errors.New("portstest: no names")) })
}

// Compute runs work and done in a later turn.
func (l *Loop) Compute(work, done func()) {
	l.Post(func() {
		work()
		done()
	})
}

// Trace drops events.
func (l *Loop) Trace(host.Event) {}

func (t *timer) Stop() bool {
	was := t.armed
	if was {
		t.armed = false
		t.loop.timers = slices.DeleteFunc(t.loop.timers, func(o *timer) bool { return o == t })
	}
	return was
}

func (t *timer) Reset(d time.Duration) {
	t.Stop()
	l := t.loop
	l.seq++
	t.due, t.seq, t.armed = l.now.Add(max(d, 0)), l.seq, true
	i, _ := slices.BinarySearchFunc(l.timers, t, func(a, b *timer) int {
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.seq, b.seq))
	})
	l.timers = slices.Insert(l.timers, i, t)
}

// Turn runs f as a turn of its own, then everything that was posted meanwhile.
func (l *Loop) Turn(f func()) {
	l.turn(f)
	l.drain()
}

func (l *Loop) turn(f func()) {
	f()
	for len(l.delayed) > 0 {
		next := l.delayed[0]
		l.delayed = l.delayed[1:]
		next()
	}
	if l.AfterTurn != nil {
		l.AfterTurn()
	}
}

func (l *Loop) drain() {
	for len(l.posted) > 0 {
		next := l.posted[0]
		l.posted = l.posted[1:]
		l.turn(next)
	}
}

// Advance moves time on by d and runs what is due, in order.
func (l *Loop) Advance(d time.Duration) {
	end := l.now.Add(d)
	l.drain()
	for len(l.timers) > 0 && !l.timers[0].due.After(end) {
		l.step()
	}
	l.now = end
}

// Until moves time on until cond holds, for at most limit, and reports whether it does.
func (l *Loop) Until(limit time.Duration, cond func() bool) bool {
	end := l.now.Add(limit)
	l.drain()
	for !cond() {
		if len(l.timers) == 0 || l.timers[0].due.After(end) {
			l.now = end
			return cond()
		}
		l.step()
	}
	return true
}

func (l *Loop) step() {
	t := l.timers[0]
	l.timers = l.timers[1:]
	t.armed = false
	l.now = max(l.now, t.due)
	l.Turn(t.f)
}

// Timers returns the number of armed timers: zero once everything was closed.
func (l *Loop) Timers() int { return len(l.timers) }

// Clock is wall time that follows a loop, with its own start and with jumps.
type Clock struct {
	loop  *Loop
	start time.Time
}

// NewClock returns a clock that shows start now.
func NewClock(l *Loop, start time.Time) *Clock {
	return &Clock{loop: l, start: start.Add(-time.Duration(l.now))}
}

// Now returns the wall time.
func (c *Clock) Now() time.Time { return c.start.Add(time.Duration(c.loop.now)) }

// Jump moves the wall clock without the steady one.
func (c *Clock) Jump(d time.Duration) { c.start = c.start.Add(d) }
