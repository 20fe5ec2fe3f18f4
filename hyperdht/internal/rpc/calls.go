package rpc

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/ports/host"
)

// calls owns the requests of a node that wait, for an answer or for room: their ids, the congestion window, the queue before
// it, their deadlines and repetitions, and their counters. It does not choose destinations or interpret answers.
type calls struct {
	host     host.Host
	table    callTable
	window   window
	queue    queue
	deadline alarm
	drain    alarm
	requests RequestStats
	commands CommandStats
	sending  bool // queued requests are sent at the end of the turn
	paused   bool // there are no sockets: requests are held until there are

	unanswered int32            // requests that timed out since the last answer
	heard      host.Instant     // when the last answer came; zero for never
	adaptive   *adaptiveTimeout // nil: each request waits for RequestTimeout
	faults     *states.Faults
	late       func(*Call) // is called after a transmission was not answered in time; after the last one the call has ended
	reply      Reply       // that a query is looking at
}

func (cs *calls) init(h host.Host, adaptive bool, faults *states.Faults, late func(*Call)) {
	cs.host, cs.faults, cs.late = h, faults, late
	cs.window.drained = h.Now()
	if adaptive {
		cs.adaptive = new(adaptiveTimeout)
	}
}

// alarm is a timer that is created at its first use.
type alarm struct {
	timer host.Timer
	at    host.Instant
	armed bool
}

func (a *alarm) set(h host.Host, at host.Instant, fire func()) {
	a.armed, a.at = true, at
	if a.timer == nil {
		a.timer = h.AfterFunc(at.Sub(h.Now()), fire)
	} else {
		a.timer.Reset(at.Sub(h.Now()))
	}
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
	a.armed = false
}

// make initializes c and adds it to the table. The request carries self, if it is not nil.
func (cs *calls) make(c *Call, out *RequestOptions, self *id.NodeID) error {
	if !cs.table.add(c) {
		return ErrBusy
	}
	c.calls = cs
	c.created = cs.host.Now()
	c.transmission.init(out)
	m := wire.Request{
		TID: c.seat.tid, To: out.To, ID: self, Token: out.Token, Internal: out.Internal,
		Command: out.Command, Target: out.Target, Value: out.Value,
	}
	c.packet = m.Append(c.room[:0])
	if out.Group != nil {
		out.Group.attach(c)
	}
	if c.command != noCommand {
		cs.commands[c.command].Sent++
	}
	cs.requests.Active++
	cs.requests.Total++
	return nil
}

// refuse fails a call that never was in the table.
func (cs *calls) refuse(c *Call, err error) *Call {
	cs.become(c, callEnded)
	cs.host.Defer(func() { c.fail(err) })
	return c
}

func (cs *calls) become(c *Call, next callState) { callStates.Become(&c.state, next, cs.faults) }

func (cs *calls) send(c *Call) {
	if cs.paused {
		cs.become(c, callHeld)
		return
	}
	cs.window.catchUp(cs.host.Now())
	if !c.force && cs.window.full() {
		cs.become(c, callQueued)
		cs.queue.add(c)
		cs.armDrain()
		return
	}
	cs.transmit(c)
}

func (cs *calls) transmit(c *Call) {
	cs.become(c, callInFlight)
	c.sent++
	cs.window.send()
	c.socket.Send(c.to, int(c.ttl), c.packet)
	timeout := c.timeout
	if timeout == 0 {
		timeout = cs.timeoutFor(c)
	}
	cs.table.schedule(c, cs.host.Now().Add(timeout))
	cs.armDeadline()
}

func (cs *calls) timeoutFor(c *Call) time.Duration {
	if cs.adaptive == nil {
		return RequestTimeout
	}
	return cs.adaptive.get(c.to, int(c.sent), random(cs.host, adaptiveJitter))
}

// armDeadline makes sure that expire runs when the earliest deadline is due. While others wait, the timer may fire early,
// when the calls it was armed for have been answered; it is cheaper than arming it again each time.
func (cs *calls) armDeadline() {
	first := cs.table.first()
	if first == nil || cs.deadline.armed && !first.seat.deadline.Before(cs.deadline.at) {
		return
	}
	cs.deadline.set(cs.host, first.seat.deadline, cs.expire)
}

func (cs *calls) expire() {
	cs.deadline.armed = false
	now := cs.host.Now()
	for c := cs.table.first(); c != nil && !c.seat.deadline.After(now); c = cs.table.first() {
		cs.table.unschedule(c)
		if c.query != nil {
			c.query.onSlow(c)
		}
		switch {
		case c.state == callEnded: // by what the query did about it
		case c.sent > c.retries:
			cs.timeOut(c)
		default:
			cs.requests.Retries++
			cs.send(c)
			cs.late(c)
		}
	}
	cs.armDeadline()
}

func (cs *calls) timeOut(c *Call) {
	cs.requests.Timeouts++
	if !c.peer {
		cs.unanswered++
	}
	cs.end(c)
	c.fail(ErrTimeout)
	cs.late(c)
}

// find is the call that a response with an id, from an address, may answer; nil if none waits for it.
func (cs *calls) find(tid uint16, from netip.AddrPort) *Call {
	c := cs.table.get(tid)
	if c == nil || c.to != from && !c.hairpins(from) {
		return nil
	}
	return c
}

// echoed is the call whose own packet has arrived, from the address that it was sent to; nil if it is none.
func (cs *calls) echoed(tid uint16, from netip.AddrPort, b []byte) *Call {
	c := cs.table.get(tid)
	if c == nil || !bytes.Equal(c.packet, b) || c.to.Addr() != from.Addr() && !c.hairpins(from) {
		return nil
	}
	return c
}

// answered ends a call that was answered, and returns how long that took.
func (cs *calls) answered(c *Call) time.Duration {
	now := cs.host.Now()
	rtt := now.Sub(c.created)
	if cs.adaptive != nil && c.sent <= 2 {
		cs.adaptive.put(now, c.to, rtt)
	}
	cs.end(c)
	if c.command != noCommand {
		cs.commands[c.command].Received++
	}
	cs.requests.Responses++
	if !c.peer {
		cs.heard, cs.unanswered = now, 0
	}
	return rtt
}

// deliver passes the reply of an answered call to its query or callback.
func (cs *calls) deliver(c *Call, r Reply) {
	if c.query == nil {
		c.done(r, nil)
		return
	}
	cs.reply = r
	c.query.onReply(c, &cs.reply)
	cs.reply = Reply{}
}

// silent reports whether requests have been without an answer for long.
func (cs *calls) silent() bool {
	return cs.heard == 0 || cs.unanswered >= silentRequests && cs.host.Now().Sub(cs.heard) >= silentAfter
}

// end removes c from the table, the window and its group. Its callback is not called.
func (cs *calls) end(c *Call) {
	cs.become(c, callEnded)
	cs.table.remove(c)
	if cs.table.n == 0 && cs.deadline.armed {
		cs.deadline.stop()
	}
	if c.group != nil {
		c.group.detach(c)
	}
	cs.requests.Active--
	cs.window.catchUp(cs.host.Now())
	if c.sent > 0 {
		cs.window.recv()
	}
	cs.sendSoon()
	c.packet = nil
}

// abort ends c on behalf of the caller.
func (cs *calls) abort(c *Call, err error) {
	cs.end(c)
	if c.done != nil || c.query != nil && !c.query.Done() {
		cs.host.Defer(func() { c.fail(err) })
	}
}

// abortAll ends every call, oldest first, sends nothing of what waits, and forgets what was sent.
func (cs *calls) abortAll(err error) {
	cs.queue = queue{} // before what ends makes room for it
	for _, c := range cs.waiting() {
		cs.abort(c, err)
	}
	cs.deadline.stop()
	cs.drain.stop()
	cs.window.clear()
}

// waiting lists the calls that have not ended, oldest first.
func (cs *calls) waiting() []*Call {
	all := make([]*Call, 0, cs.table.n)
	for _, c := range cs.table.slots {
		if c != nil {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *Call) int { return cmp.Compare(a.seat.order, b.seat.order) })
	return all
}

// pause holds the requests that are made from now on.
func (cs *calls) pause() { cs.paused = true }

// resume sends the requests that are made from now on.
func (cs *calls) resume() { cs.paused = false }

// sendHeld sends the requests that were made while paused, oldest first, those without a socket over main.
func (cs *calls) sendHeld(main host.Socket) {
	for _, c := range cs.waiting() {
		if c.state != callHeld {
			continue
		}
		if c.socket == nil {
			c.socket = main
		}
		cs.send(c)
	}
}

// armDrain sends what waits once the window has drained. No timer runs for that while nothing is queued.
func (cs *calls) armDrain() {
	if !cs.drain.armed {
		cs.drain.set(cs.host, cs.window.drained.Add(drainInterval), cs.drainDue)
	}
}

// sendSoon sends what waits for room in the window at the end of the turn: when all calls of a group that is cancelled
// have ended, and after the requests that follow from an answer, so that what is under way ends before more begins.
func (cs *calls) sendSoon() {
	if cs.queue.empty() || cs.sending || cs.window.full() {
		return
	}
	cs.sending = true
	cs.host.Defer(func() {
		cs.sending = false
		cs.sendQueued()
	})
}

// drainDue sends what waits after the window has drained.
func (cs *calls) drainDue() {
	cs.drain.armed = false
	cs.sendQueued()
}

// sendQueued sends what waits as far as there is room in the window.
func (cs *calls) sendQueued() {
	cs.window.catchUp(cs.host.Now())
	for !cs.queue.empty() && !cs.window.full() {
		if c := cs.queue.next(); c.state != callEnded {
			cs.transmit(c)
		}
	}
	if !cs.queue.empty() {
		cs.armDrain()
	}
}

// random draws a number in [0, n).
func random(h host.Host, n int) int {
	return int(host.DrawUint64(h.Rand()) % uint64(n))
}
