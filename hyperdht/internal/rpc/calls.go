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

	unanswered int              // requests that timed out since the last answer
	heard      host.Instant     // when the last answer came; zero for never
	adaptive   *adaptiveTimeout // nil: each request waits for RequestTimeout
	faults     *states.Faults
	gone       func(*Call) // is called after a call to a node of the table has timed out for the last time
	reply      Reply       // that a query is looking at
}

func (k *calls) init(h host.Host, adaptive bool, faults *states.Faults, gone func(*Call)) {
	k.host, k.faults, k.gone = h, faults, gone
	k.window.drained = h.Now()
	if adaptive {
		k.adaptive = new(adaptiveTimeout)
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
func (k *calls) make(c *Call, out *RequestOptions, self *id.NodeID) error {
	if !k.table.add(c) {
		return ErrBusy
	}
	c.calls = k
	c.created = k.host.Now()
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
		k.commands[c.command].Sent++
	}
	k.requests.Active++
	k.requests.Total++
	return nil
}

// refuse fails a call that never was in the table.
func (k *calls) refuse(c *Call, err error) *Call {
	k.become(c, callEnded)
	k.host.Defer(func() { c.fail(err) })
	return c
}

func (k *calls) become(c *Call, next callState) { callStates.Become(&c.state, next, k.faults) }

func (k *calls) send(c *Call) {
	if k.paused {
		k.become(c, callHeld)
		return
	}
	k.window.catchUp(k.host.Now())
	if !c.force && k.window.full() {
		k.become(c, callQueued)
		k.queue.add(c)
		k.armDrain()
		return
	}
	k.transmit(c)
}

func (k *calls) transmit(c *Call) {
	k.become(c, callInFlight)
	c.sent++
	k.window.send()
	c.socket.Send(c.to, int(c.ttl), c.packet)
	timeout := c.timeout
	if timeout == 0 {
		timeout = k.timeoutFor(c)
	}
	k.table.schedule(c, k.host.Now().Add(timeout))
	k.armDeadline()
}

func (k *calls) timeoutFor(c *Call) time.Duration {
	if k.adaptive == nil {
		return RequestTimeout
	}
	return k.adaptive.get(c.to, int(c.sent), random(k.host, adaptiveJitter))
}

// armDeadline makes sure that expire runs when the earliest deadline is due. While others wait, the timer may fire early,
// when the calls it was armed for have been answered; it is cheaper than arming it again each time.
func (k *calls) armDeadline() {
	first := k.table.first()
	if first == nil || k.deadline.armed && !first.seat.deadline.Before(k.deadline.at) {
		return
	}
	k.deadline.set(k.host, first.seat.deadline, k.expire)
}

func (k *calls) expire() {
	k.deadline.armed = false
	now := k.host.Now()
	for c := k.table.first(); c != nil && !c.seat.deadline.After(now); c = k.table.first() {
		k.table.unschedule(c)
		if c.query != nil {
			c.query.onSlow(c)
		}
		switch {
		case c.state == callEnded: // by what the query did about it
		case c.sent > c.retries:
			k.timeOut(c)
		default:
			k.requests.Retries++
			k.send(c)
		}
	}
	k.armDeadline()
}

func (k *calls) timeOut(c *Call) {
	k.requests.Timeouts++
	k.unanswered++
	k.end(c)
	c.fail(ErrTimeout)
	if c.node {
		k.gone(c)
	}
}

// find is the call that a response with an id, from an address, may answer; nil if none waits for it.
func (k *calls) find(tid uint16, from netip.AddrPort) *Call {
	c := k.table.get(tid)
	if c == nil || c.to != from && !c.hairpins(from) {
		return nil
	}
	return c
}

// echoed is the call whose own packet has arrived, from the address that it was sent to; nil if it is none.
func (k *calls) echoed(tid uint16, from netip.AddrPort, b []byte) *Call {
	c := k.table.get(tid)
	if c == nil || !bytes.Equal(c.packet, b) || c.to.Addr() != from.Addr() && !c.hairpins(from) {
		return nil
	}
	return c
}

// answered ends a call that was answered, and returns how long that took.
func (k *calls) answered(c *Call) time.Duration {
	now := k.host.Now()
	rtt := now.Sub(c.created)
	if k.adaptive != nil && c.sent <= 2 {
		k.adaptive.put(now, c.to, rtt)
	}
	k.end(c)
	if c.command != noCommand {
		k.commands[c.command].Received++
	}
	k.requests.Responses++
	k.heard, k.unanswered = now, 0
	return rtt
}

// deliver passes the reply of an answered call to its query or callback.
func (k *calls) deliver(c *Call, r Reply) {
	if c.query == nil {
		c.done(r, nil)
		return
	}
	k.reply = r
	c.query.onReply(c, &k.reply)
	k.reply = Reply{}
}

// silent reports whether requests have been without an answer for long.
func (k *calls) silent() bool {
	return k.heard == 0 || k.unanswered >= silentRequests && k.host.Now().Sub(k.heard) >= silentAfter
}

// end removes c from the table, the window and its group. Its callback is not called.
func (k *calls) end(c *Call) {
	k.become(c, callEnded)
	k.table.remove(c)
	if k.table.n == 0 && k.deadline.armed {
		k.deadline.stop()
	}
	if c.group != nil {
		c.group.detach(c)
	}
	k.requests.Active--
	k.window.catchUp(k.host.Now())
	if c.sent > 0 {
		k.window.recv()
	}
	k.sendSoon()
	c.packet = nil
}

// abort ends c on behalf of the caller.
func (k *calls) abort(c *Call, err error) {
	k.end(c)
	if c.done != nil || c.query != nil && !c.query.Done() {
		k.host.Defer(func() { c.fail(err) })
	}
}

// abortAll ends every call, oldest first, sends nothing of what waits, and forgets what was sent.
func (k *calls) abortAll(err error) {
	k.queue = queue{} // before what ends makes room for it
	for _, c := range k.waiting() {
		k.abort(c, err)
	}
	k.deadline.stop()
	k.drain.stop()
	k.window.clear()
}

// waiting lists the calls that have not ended, oldest first.
func (k *calls) waiting() []*Call {
	all := make([]*Call, 0, k.table.n)
	for _, c := range k.table.slots {
		if c != nil {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *Call) int { return cmp.Compare(a.seat.order, b.seat.order) })
	return all
}

// pause holds the requests that are made from now on.
func (k *calls) pause() { k.paused = true }

// resume sends the requests that are made from now on.
func (k *calls) resume() { k.paused = false }

// sendHeld sends the requests that were made while paused, oldest first, those without a socket over main.
func (k *calls) sendHeld(main host.Socket) {
	for _, c := range k.waiting() {
		if c.state != callHeld {
			continue
		}
		if c.socket == nil {
			c.socket = main
		}
		k.send(c)
	}
}

// armDrain sends what waits once the window has drained. No timer runs for that while nothing is queued.
func (k *calls) armDrain() {
	if !k.drain.armed {
		k.drain.set(k.host, k.window.drained.Add(drainInterval), k.drainDue)
	}
}

// sendSoon sends what waits for room in the window at the end of the turn: when all calls of a group that is cancelled
// have ended, and after the requests that follow from an answer, so that what is under way ends before more begins.
func (k *calls) sendSoon() {
	if k.queue.empty() || k.sending || k.window.full() {
		return
	}
	k.sending = true
	k.host.Defer(func() {
		k.sending = false
		k.sendQueued()
	})
}

// drainDue sends what waits after the window has drained.
func (k *calls) drainDue() {
	k.drain.armed = false
	k.sendQueued()
}

// sendQueued sends what waits as far as there is room in the window.
func (k *calls) sendQueued() {
	k.window.catchUp(k.host.Now())
	for !k.queue.empty() && !k.window.full() {
		if c := k.queue.next(); c.state != callEnded {
			k.transmit(c)
		}
	}
	if !k.queue.empty() {
		k.armDrain()
	}
}

// random draws a number in [0, n).
func random(h host.Host, n int) int {
	return int(host.DrawUint64(h.Rand()) % uint64(n))
}
