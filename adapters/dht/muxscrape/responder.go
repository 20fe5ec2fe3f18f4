package muxscrape

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/ports"
)

// ResponderOptions configure a Responder.
type ResponderOptions struct {
	// Version is the version of the program, which the requester gets. It is cut to 32 bytes, and not sent unless it is printable ASCII.
	Version string
	// OnRequest answers a request with Response.Head, Write and End, in this turn or later. The function that it returns, which may
	// be nil, is called when the requester has cancelled, or the channel has closed, before End.
	OnRequest func(domain.ScrapeRequest, *Response) (cancelled func())
	// OnClose is called once, after the requests under way were cancelled; nil is allowed.
	OnClose func(remote bool)
}

// Responder is the client's side of a channel.
type Responder struct {
	mux     *mux.Mux
	channel *mux.Channel
	opts    ResponderOptions

	lastID  uint64
	running map[uint64]*Response
	ready   []*Response // that have something to send and credit for it, in the order of their turns
	fresh   int         // of them, at the front, those that have sent nothing of their body
	pumping bool
	unread  int         // messages sent since the connection asked for a break, pieces of bodies not counted
	ended   []*Response // whose body is complete and not sent, the oldest first
	unsent  int         // bytes in the queues of those
	head    []byte      // of the message that is sent
}

// Response is the answer to one request.
type Response struct {
	responder *Responder
	id        uint64
	cancelled func()
	onDrain   func()

	credit int64
	queue  bytes.Buffer // written and not sent
	queued bool         // in ready
	begun  bool         // a piece of the body was sent
	headed bool
	full   bool // Write has reported that it is enough
	ending *end // sent after the queue
	over   bool
}

// NewResponder opens the channel. It fails as mux.Open does.
func NewResponder(m *mux.Mux, o ResponderOptions) (*Responder, error) {
	p := &Responder{mux: m, opts: o, running: map[uint64]*Response{}}
	var err error
	p.channel, err = m.Open(mux.ChannelOptions{
		Protocol:  Protocol,
		Handshake: appendHandshake(nil, o.Version),
		OnClose:   p.closed,
		OnDrain:   p.drained,
		Messages:  []func([]byte){typeRequest: p.onRequest, typeWindow: p.onWindow, typeCancel: p.onCancel},
	})
	if err != nil {
		return nil, fmt.Errorf("scrape channel: %w", err)
	}
	return p, nil
}

// Running is the number of requests that are not answered in full.
func (rs *Responder) Running() int { return len(rs.running) }

// Close closes the channel. Requests under way are cancelled.
func (rs *Responder) Close() { rs.channel.Close() }

// Head sends what comes before the body. It is called once, before Write.
func (r *Response) Head(h domain.ScrapeHead) {
	if r.over || r.headed {
		return
	}
	r.headed = true
	h.ContentType, h.Coding = fieldValue(cut(h.ContentType, maxType)), fieldValue(cut(h.Coding, maxCoding))
	m := response{r.id, h}
	r.responder.send(typeResponse, m.append(nil))
}

// Write adds to the body; b is the caller's again on return. It reports whether more is welcome: after false, the next Write waits for
// OnDrain. A writer that does not wait makes the queue grow, so it should write pieces of ports.Piece.
func (r *Response) Write(b []byte) (more bool) {
	if r.over || r.ending != nil {
		return false
	}
	rs := r.responder
	if r.queue.Len() == 0 && len(rs.ready) == 0 && !rs.pumping {
		for len(b) > 0 && r.credit > 0 && rs.welcome() {
			b = b[rs.sendPiece(r, b):]
		}
	}
	r.queue.Write(b)
	rs.enqueue(r)
	rs.pump()
	r.full = r.queue.Len() >= queueSize
	return !r.full
}

// OnDrain sets what is called when more is welcome again after a Write that returned false.
func (r *Response) OnDrain(f func()) { r.onDrain = f }

// End ends the response, after what was written: nil for a complete body, or the reason why it is not. A response that has no Head
// needs a reason.
func (r *Response) End(err *domain.ScrapeError) {
	if r.over || r.ending != nil {
		return
	}
	switch r.ending = (&end{id: r.id}); {
	case err != nil:
		r.ending.code, r.ending.reason = codeOf(err), oneLine(cut(err.Reason, maxReason))
		r.queue = bytes.Buffer{} // a body that is not complete is of no value to the requester
	case !r.headed:
		r.ending.code, r.ending.reason = byClient, "no response"
	default:
		r.responder.keep(r)
	}
	r.responder.finish(r)
}

// keep keeps what is left of a complete body. Nothing else limits that, because the source has ended: where it becomes too much, the oldest
// responses break off.
func (rs *Responder) keep(r *Response) {
	if r.queue.Len() == 0 {
		return
	}
	rs.ended = append(rs.ended, r)
	rs.unsent += r.queue.Len()
	for rs.unsent > maxUnsent {
		oldest := rs.ended[0]
		rs.unsent -= oldest.queue.Len()
		rs.ended = rs.ended[1:]
		oldest.queue = bytes.Buffer{}
		oldest.ending.code, oldest.ending.reason = byTime, "the response was not read"
		rs.finish(oldest)
	}
}

// enqueue gives a response a turn, if it can use one: before those that have sent a piece, where it has sent none.
func (rs *Responder) enqueue(r *Response) {
	if r.queued || r.over || r.credit == 0 || r.queue.Len() == 0 {
		return
	}
	r.queued = true
	if r.begun {
		rs.ready = append(rs.ready, r)
		return
	}
	rs.ready = append(rs.ready, nil)
	copy(rs.ready[rs.fresh+1:], rs.ready[rs.fresh:])
	rs.ready[rs.fresh] = r
	rs.fresh++
}

func (rs *Responder) drained() {
	rs.unread = 0
	rs.pump()
}

// send sends a message besides pieces of bodies, which does not wait. A requester that asks on and reads nothing loses the connection.
func (rs *Responder) send(typ int, b []byte) {
	if !rs.mux.Drained() {
		if rs.unread++; rs.unread > maxUnread {
			rs.mux.Destroy(ErrUnread)
			return
		}
	}
	rs.channel.Send(typ, b)
}

// welcome reports whether the connection welcomes another piece.
func (rs *Responder) welcome() bool { return rs.mux.Drained() && !rs.channel.Closed() }

// sendPiece sends the first bytes of b, as many as fit a message and the credit, and returns their number.
func (rs *Responder) sendPiece(r *Response, b []byte) int {
	n := min(len(b), int(min(r.credit, ports.Piece)))
	rs.head = appendDataHead(rs.head[:0], r.id)
	rs.channel.Send(typeData, rs.head, b[:n])
	r.begun = true
	r.credit -= int64(n)
	return n
}

// pump sends pieces while the connection welcomes them.
func (rs *Responder) pump() {
	if rs.pumping {
		return
	}
	rs.pumping = true
	defer func() { rs.pumping = false }()
	for len(rs.ready) > 0 && rs.welcome() {
		r := rs.ready[0]
		rs.ready[0] = nil
		rs.ready = rs.ready[1:]
		rs.fresh = max(rs.fresh-1, 0)
		r.queued = false
		if r.over {
			continue
		}
		n := rs.sendPiece(r, r.queue.Bytes())
		r.queue.Next(n)
		if r.ending != nil {
			rs.unsent -= n
		}
		rs.enqueue(r)
		switch {
		case r.ending != nil:
			rs.finish(r)
		case r.full && r.queue.Len() < queueSize:
			r.full = false
			if r.onDrain != nil {
				r.onDrain()
			}
		}
	}
}

// finish sends the end of a response whose queue is empty.
func (rs *Responder) finish(r *Response) {
	if r.queue.Len() > 0 {
		return
	}
	rs.send(typeEnd, r.ending.append(nil))
	rs.forget(r)
}

func (rs *Responder) forget(r *Response) {
	if i := slices.Index(rs.ended, r); i >= 0 {
		rs.ended = slices.Delete(rs.ended, i, i+1)
		rs.unsent -= r.queue.Len()
	}
	r.over, r.queue = true, bytes.Buffer{}
	delete(rs.running, r.id)
}

// cancel ends a response without a word to the other side.
func (rs *Responder) cancel(r *Response) {
	rs.forget(r)
	if r.cancelled != nil && r.ending == nil {
		r.cancelled()
	}
}

func (rs *Responder) closed(remote bool) {
	for _, id := range slices.Sorted(maps.Keys(rs.running)) {
		if r := rs.running[id]; r != nil { // not ended by what another one called
			rs.cancel(r)
		}
	}
	rs.ready, rs.fresh = nil, 0
	if rs.opts.OnClose != nil {
		rs.opts.OnClose(remote)
	}
}

func (rs *Responder) violated(what string, err error) {
	rs.mux.Destroy(fmt.Errorf("%w: %s: %w", ErrMalformed, what, err))
}

func (rs *Responder) onRequest(b []byte) {
	m, err := parseRequest(b)
	tooLong := errors.Is(err, ErrTooLong)
	switch {
	case err != nil && !tooLong:
		rs.violated("request", err)
		return
	case m.id <= rs.lastID:
		rs.violated("request", fmt.Errorf("id %d after %d", m.id, rs.lastID))
		return
	}
	rs.lastID = m.id
	r := &Response{responder: rs, id: m.id, credit: int64(m.credit)}
	switch {
	case tooLong:
		r.End(&domain.ScrapeError{Fault: domain.FaultClient, Reason: err.Error()})
	case len(rs.running) >= MaxRunning:
		r.End(&domain.ScrapeError{Fault: domain.FaultClient, Reason: ErrBusy.Error()})
	default:
		rs.running[m.id] = r
		r.cancelled = rs.opts.OnRequest(m.ScrapeRequest, r)
	}
}

// Messages for requests that are not under way come after their end, and are ignored.

func (rs *Responder) onWindow(b []byte) {
	m, err := parseWindow(b)
	if err != nil {
		rs.violated("window", err)
		return
	}
	if r := rs.running[m.id]; r != nil {
		r.credit = min(r.credit+int64(m.bytes), maxCredit)
		rs.enqueue(r)
		rs.pump()
	}
}

func (rs *Responder) onCancel(b []byte) {
	id, err := parseCancel(b)
	if err != nil {
		rs.violated("cancel", err)
		return
	}
	if r := rs.running[id]; r != nil {
		rs.cancel(r)
	}
}
