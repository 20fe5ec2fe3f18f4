package rpc

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// NoRetry as a number of retries means that the request is sent once.
const NoRetry = -1

// Outgoing is a request to send. What it points to may be reused when Request has returned.
type Outgoing struct {
	To       netip.AddrPort
	Internal bool
	Command  uint64
	Target   *id.Target
	Token    *id.Token
	Value    []byte // nil is absent

	Socket  host.Socket   // nil is the main socket of this moment
	Retries int           // 0 is DefaultRetries
	Timeout time.Duration // of each transmission; 0 is RequestTimeout
	TTL     int           // 0 is the system's
	Force   bool          // sends even if the congestion window is full
	// Follows is a request that an answer has led to. Where the window is full it waits before those that begin something,
	// so that a thousand dials made at the same time end one after the other, not all at the end.
	Follows bool
	Session *Session
}

// Reply is the answer to a request.
type Reply struct {
	// From is the node that answered: the address that was asked, or a private one where a router led to a host behind it
	// (see hairpins).
	From netip.AddrPort
	// To is our address as the answerer sees it.
	To     netip.AddrPort
	Socket host.Socket // where it arrived
	ID     id.NodeID   // of the answerer
	HasID  bool        // it is persistent, and its id fits its address
	Token  *id.Token
	Closer []netip.AddrPort // nodes closer to the target; borrowed until the turn ends
	Error  uint64           // wire.Code...; 0 is success
	Value  []byte           // nil is absent
	RTT    time.Duration    // since the request was made, retransmissions included
}

// Call is a request that was sent or waits to be.
type Call struct {
	e         *Endpoint
	done      func(Reply, error)
	query     *Query     // instead of done
	candidate *candidate // of the query

	session      *Session
	older, newer *Call // in the session

	to       netip.AddrPort
	socket   host.Socket
	packet   []byte
	timeout  time.Duration // 0 is the default
	created  host.Instant
	deadline host.Instant
	order    uint64 // of creation
	heapAt   int32
	tid      uint16
	retries  int16
	sent     int16
	ttl      uint8
	command  uint8 // of the internal ones that are counted, else noCommand
	held     bool  // made while suspended
	slow     bool  // a visit that timed out once
	force    bool
	follows  bool
	node     bool // a final timeout takes the destination out of the table
	ended    bool
	room     [packetRoom]byte // for packet
}

const noCommand = 0xff

// Request sends a request and calls done exactly once, with the answer or with why there is none.
func (e *Endpoint) Request(out Outgoing, done func(Reply, error)) *Call {
	c := &Call{e: e, done: done}
	if err := e.make(c, &out); err != nil {
		return e.refuse(c, err)
	}
	e.send(c)
	return c
}

// refuse fails a call that never was in the table.
func (e *Endpoint) refuse(c *Call, err error) *Call {
	c.ended = true
	e.h.Defer(func() { c.fail(err) })
	return c
}

// Ping asks a node whether it is there. A nil socket is the main socket, a nil session none.
func (e *Endpoint) Ping(to netip.AddrPort, socket host.Socket, session *Session, done func(Reply, error)) *Call {
	return e.Request(Outgoing{To: to, Internal: true, Command: wire.CmdPing, Socket: socket, Session: session}, done)
}

// DelayedPing asks a node to answer after a delay of at most 10 s, in whole milliseconds.
func (e *Endpoint) DelayedPing(to netip.AddrPort, delay time.Duration, socket host.Socket, session *Session, done func(Reply, error)) *Call {
	if delay > maxPingDelay {
		return e.refuse(&Call{e: e, done: done}, ErrPingDelay)
	}
	var value [4]byte
	return e.Request(Outgoing{
		To: to, Internal: true, Command: wire.CmdDelayedPing, Socket: socket, Session: session,
		Value:   wire.DelayedPing{Delay: max(delay, 0)}.Append(value[:0]),
		Timeout: delay + pingDelayExtra,
	}, done)
}

// pingNAT asks a node to answer to our server socket. That it cannot reach it says nothing about the
// node, so unlike in the original a timeout leaves it in the table.
func (e *Endpoint) pingNAT(to netip.AddrPort, done func(Reply, error)) {
	if e.server == nil {
		e.h.Defer(func() { done(Reply{}, ErrSuspended) })
		return
	}
	var value [2]byte
	e.Request(Outgoing{
		To: to, Internal: true, Command: wire.CmdPingNAT,
		Value: wire.PingNAT{Port: e.server.LocalAddr().Port()}.Append(value[:0]),
	}, done)
}

// Cancel fails the call with ErrCanceled if it still waits; done runs at the end of the turn.
func (c *Call) Cancel() {
	if !c.ended {
		c.e.abort(c, ErrCanceled)
	}
}

// make fills in c and puts it into the table.
func (e *Endpoint) make(c *Call, out *Outgoing) error {
	if e.closed {
		return ErrClosed
	}
	if !e.calls.add(c) {
		return ErrBusy
	}
	c.to, c.socket, c.timeout, c.force, c.follows = out.To, out.Socket, out.Timeout, out.Force, out.Follows
	c.created = e.h.Now()
	c.ttl = uint8(min(out.TTL, 255))
	c.retries = retries(out.Retries, DefaultRetries)
	if out.Force {
		c.retries = 0
	}
	if c.socket == nil {
		c.socket = e.Socket()
	}
	m := wire.Request{
		TID: c.tid, To: out.To, Token: out.Token, Internal: out.Internal,
		Command: out.Command, Target: out.Target, Value: out.Value,
	}
	if e.named(c.socket) {
		self := e.table.Self()
		m.ID = &self
	}
	c.packet = m.Append(c.room[:0])
	if out.Session != nil {
		out.Session.attach(c)
	}
	c.command = noCommand
	if out.Internal && out.Command < countedCommands {
		c.command = uint8(out.Command)
		e.stats.Commands[c.command].Sent++
	}
	e.stats.Requests.Active++
	e.stats.Requests.Total++
	return nil
}

func retries(n, none int) int16 {
	switch {
	case n == 0:
		return int16(none)
	case n < 0:
		return 0
	}
	return int16(min(n, 100))
}

// named reports whether packets from that socket carry our id.
func (e *Endpoint) named(s host.Socket) bool {
	return !e.ephemeral && s != nil && s == e.server
}

func (e *Endpoint) send(c *Call) {
	if e.suspended {
		c.held = true
		return
	}
	e.catchUp()
	if !c.force && e.window.full() {
		e.queue.add(c)
		e.armDrain()
		return
	}
	e.transmit(c)
}

func (e *Endpoint) transmit(c *Call) {
	c.sent++
	e.window.send()
	c.socket.Send(c.to, int(c.ttl), c.packet)
	timeout := c.timeout
	if timeout == 0 {
		timeout = e.timeoutFor(c)
	}
	e.calls.schedule(c, e.h.Now().Add(timeout))
	e.armDeadline()
}

func (e *Endpoint) timeoutFor(c *Call) time.Duration {
	if e.adaptiveTimeout == nil {
		return RequestTimeout
	}
	return e.adaptiveTimeout.get(c.to, int(c.sent), e.random(adaptiveJitter))
}

// armDeadline makes sure that expire runs when the earliest deadline is due. While others wait, the timer may fire early,
// when the calls it was armed for have been answered; it is cheaper than arming it again each time.
func (e *Endpoint) armDeadline() {
	first := e.calls.first()
	if first == nil || e.deadlineArmed && !first.deadline.Before(e.deadlineAt) {
		return
	}
	e.deadlineArmed, e.deadlineAt = true, first.deadline
	wait := first.deadline.Sub(e.h.Now())
	if e.deadline == nil {
		e.deadline = e.h.AfterFunc(wait, e.expire)
	} else {
		e.deadline.Reset(wait)
	}
}

func (e *Endpoint) expire() {
	e.deadlineArmed = false
	now := e.h.Now()
	for c := e.calls.first(); c != nil && !c.deadline.After(now); c = e.calls.first() {
		e.calls.unschedule(c)
		if c.query != nil {
			c.query.onSlow(c)
		}
		switch {
		case c.ended: // by what the query did about it
		case c.sent > c.retries:
			e.timeOut(c)
		default:
			e.stats.Requests.Retries++
			e.send(c)
		}
	}
	e.armDeadline()
}

func (e *Endpoint) timeOut(c *Call) {
	e.stats.Requests.Timeouts++
	e.reach.unanswered++
	to := c.to
	e.end(c)
	c.fail(ErrTimeout)
	if !c.node {
		return
	}
	if n := e.table.Get(id.NodeIDOf(to)); n != nil {
		e.removeNode(n)
	}
}

// metSelf ends a call whose own packet has arrived here: its destination is an address of this node, which must count
// neither as a bootstrap node nor as a node of the table.
func (e *Endpoint) metSelf(c *Call) {
	to := c.to
	if !slices.Contains(e.self, to) && len(e.self) < maxSelf {
		e.self = append(e.self, to)
	}
	if n := e.table.Get(id.NodeIDOf(to)); n != nil && e.nodes.Remove(n) {
		e.table.Remove(n.ID)
	}
	e.end(c)
	c.fail(ErrSelf)
}

// end takes c out of everything. Its callback is not called.
func (e *Endpoint) end(c *Call) {
	c.ended = true
	e.calls.remove(c)
	if e.calls.n == 0 && e.deadlineArmed {
		e.deadlineArmed = false
		e.deadline.Stop()
	}
	if c.session != nil {
		c.session.detach(c)
	}
	e.stats.Requests.Active--
	e.catchUp()
	if c.sent > 0 {
		e.window.recv()
	}
	e.sendSoon()
	c.packet = nil
}

// abort ends c because the caller wants so.
func (e *Endpoint) abort(c *Call, err error) {
	e.end(c)
	if c.done != nil || c.query != nil && !c.query.ended {
		e.h.Defer(func() { c.fail(err) })
	}
}

// abortAll ends every call, oldest first.
func (e *Endpoint) abortAll(err error) {
	for _, c := range e.waiting() {
		e.abort(c, err)
	}
}

// waiting lists the calls that have not ended, oldest first.
func (e *Endpoint) waiting() []*Call {
	all := make([]*Call, 0, e.calls.n)
	for _, c := range e.calls.slots {
		if c != nil {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *Call) int { return cmp.Compare(a.order, b.order) })
	return all
}

func (c *Call) fail(err error) {
	switch {
	case c.query != nil:
		c.query.onError(c, err)
	case c.done != nil:
		c.done(Reply{}, err)
	}
}

// catchUp empties the slots of the congestion window that have become old. No timer runs for it while
// nothing is queued.
func (e *Endpoint) catchUp() {
	missed := int64(e.h.Now().Sub(e.drained) / drainInterval)
	if missed == 0 {
		return
	}
	e.drained = e.drained.Add(time.Duration(missed) * drainInterval)
	for range min(missed, windowSlots) {
		e.window.drain()
	}
}

func (e *Endpoint) armDrain() {
	if e.drainArmed {
		return
	}
	e.drainArmed = true
	wait := e.drained.Add(drainInterval).Sub(e.h.Now())
	if e.drain == nil {
		e.drain = e.h.AfterFunc(wait, e.drainDue)
	} else {
		e.drain.Reset(wait)
	}
}

// sendSoon sends what waits for room in the window at the end of the turn: when all calls of a session that is cancelled
// have ended, and after the requests that follow from an answer, so that what is under way ends before more begins.
func (e *Endpoint) sendSoon() {
	if e.queue.empty() || e.sending || e.window.full() {
		return
	}
	e.sending = true
	e.h.Defer(func() {
		e.sending = false
		e.sendQueued()
	})
}

// drainDue sends what waits after the window has drained.
func (e *Endpoint) drainDue() {
	e.drainArmed = false
	e.sendQueued()
}

// sendQueued sends what waits as far as there is room in the window.
func (e *Endpoint) sendQueued() {
	e.catchUp()
	for !e.queue.empty() && !e.window.full() {
		if c := e.queue.next(); !c.ended {
			e.transmit(c)
		}
	}
	if !e.queue.empty() {
		e.armDrain()
	}
}
