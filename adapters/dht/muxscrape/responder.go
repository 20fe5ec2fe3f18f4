package muxscrape

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/mux"
)

// ResponderOptions configure a Responder.
type ResponderOptions struct {
	// OnRequest answers a request with Response.Head, Write and End, in this turn or later. The function that it returns, which may
	// be nil, is called when the requester has cancelled, or the channel has closed, before End.
	OnRequest func(Request, *Response) (cancelled func())
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
	unread  int // messages sent since the connection asked for a break, pieces of bodies not counted
}

// Response is the answer to one request.
type Response struct {
	responder *Responder
	id        uint64
	cancelled func()
	onDrain   func()

	credit int64
	queue  []byte // written and not sent
	queued bool   // in ready
	begun  bool   // a piece of the body was sent
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
		Protocol: Protocol,
		OnClose:  p.closed,
		OnDrain:  p.drained,
		Messages: []func([]byte){typeRequest: p.onRequest, typeWindow: p.onWindow, typeCancel: p.onCancel},
	})
	if err != nil {
		return nil, fmt.Errorf("scrape channel: %w", err)
	}
	return p, nil
}

// Running is the number of requests that are not answered in full.
func (p *Responder) Running() int { return len(p.running) }

// Close closes the channel. Requests under way are cancelled.
func (p *Responder) Close() { p.channel.Close() }

// Head sends what comes before the body. It is called once, before Write.
func (r *Response) Head(h Head) {
	if r.over || r.headed {
		return
	}
	r.headed = true
	h.ContentType, h.Coding = oneLine(cut(h.ContentType, maxType)), oneLine(cut(h.Coding, maxCoding))
	m := response{r.id, h}
	r.responder.send(typeResponse, m.append(nil))
}

// Write adds to the body; b is the caller's again on return. It reports whether more is welcome: after false, the next Write waits for
// OnDrain. A writer that does not wait makes the queue grow, so it should write pieces of MaxPiece.
func (r *Response) Write(b []byte) (more bool) {
	if r.over || r.ending != nil {
		return false
	}
	r.queue = append(r.queue, b...)
	r.responder.enqueue(r)
	r.responder.pump()
	r.full = len(r.queue) >= queueSize
	return !r.full
}

// OnDrain sets what is called when more is welcome again after a Write that returned false.
func (r *Response) OnDrain(f func()) { r.onDrain = f }

// End ends the response, after what was written: nil for a complete body, or the reason why it is not. A response that has no Head
// needs a reason.
func (r *Response) End(err *EndError) {
	if r.over || r.ending != nil {
		return
	}
	switch r.ending = (&end{id: r.id}); {
	case err != nil:
		r.ending.code, r.ending.reason = err.Code, oneLine(cut(err.Reason, maxReason))
		r.queue = nil // a body that is not complete is of no value to the requester
	case !r.headed:
		r.ending.code, r.ending.reason = ByClient, "no response"
	}
	r.responder.finish(r)
}

// enqueue gives a response a turn, if it can use one: before those that have sent a piece, where it has sent none.
func (p *Responder) enqueue(r *Response) {
	if r.queued || r.over || r.credit == 0 || len(r.queue) == 0 {
		return
	}
	r.queued = true
	if r.begun {
		p.ready = append(p.ready, r)
		return
	}
	p.ready = append(p.ready, nil)
	copy(p.ready[p.fresh+1:], p.ready[p.fresh:])
	p.ready[p.fresh] = r
	p.fresh++
}

func (p *Responder) drained() {
	p.unread = 0
	p.pump()
}

// send sends a message besides pieces of bodies, which does not wait. A requester that asks on and reads nothing loses the connection.
func (p *Responder) send(typ int, b []byte) {
	if !p.mux.Drained() {
		if p.unread++; p.unread > maxUnread {
			p.mux.Destroy(ErrUnread)
			return
		}
	}
	p.channel.Send(typ, b)
}

// pump sends pieces while the connection welcomes them.
func (p *Responder) pump() {
	if p.pumping {
		return
	}
	p.pumping = true
	defer func() { p.pumping = false }()
	for len(p.ready) > 0 && p.mux.Drained() && !p.channel.Closed() {
		r := p.ready[0]
		p.ready[0] = nil
		p.ready = p.ready[1:]
		p.fresh = max(p.fresh-1, 0)
		r.queued = false
		if r.over {
			continue
		}
		n := min(len(r.queue), int(min(r.credit, MaxPiece)))
		p.channel.Send(typeData, appendData(r.id, r.queue[:n]))
		r.begun = true
		r.credit -= int64(n)
		r.queue = r.queue[:copy(r.queue, r.queue[n:])]
		p.enqueue(r)
		switch {
		case r.ending != nil:
			p.finish(r)
		case r.full && len(r.queue) < queueSize:
			r.full = false
			if r.onDrain != nil {
				r.onDrain()
			}
		}
	}
}

// finish sends the end of a response whose queue is empty.
func (p *Responder) finish(r *Response) {
	if len(r.queue) > 0 {
		return
	}
	p.send(typeEnd, r.ending.append(nil))
	p.forget(r)
}

func (p *Responder) forget(r *Response) {
	r.over, r.queue = true, nil
	delete(p.running, r.id)
}

// cancel ends a response without a word to the other side.
func (p *Responder) cancel(r *Response) {
	p.forget(r)
	if r.cancelled != nil && r.ending == nil {
		r.cancelled()
	}
}

func (p *Responder) closed(remote bool) {
	ids := make([]uint64, 0, len(p.running))
	for id := range p.running {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if r := p.running[id]; r != nil { // not ended by what another one called
			p.cancel(r)
		}
	}
	p.ready, p.fresh = nil, 0
	if p.opts.OnClose != nil {
		p.opts.OnClose(remote)
	}
}

func (p *Responder) violated(what string, err error) {
	p.mux.Destroy(fmt.Errorf("%w: %s: %w", ErrMalformed, what, err))
}

func (p *Responder) onRequest(b []byte) {
	m, err := parseRequest(b)
	tooLong := errors.Is(err, ErrTooLong)
	switch {
	case err != nil && !tooLong:
		p.violated("request", err)
		return
	case m.id <= p.lastID:
		p.violated("request", fmt.Errorf("id %d after %d", m.id, p.lastID))
		return
	}
	p.lastID = m.id
	r := &Response{responder: p, id: m.id, credit: int64(m.credit)}
	switch {
	case tooLong:
		r.End(&EndError{ByClient, err.Error()})
	case len(p.running) >= MaxRunning:
		r.End(&EndError{ByClient, ErrBusy.Error()})
	default:
		p.running[m.id] = r
		r.cancelled = p.opts.OnRequest(m.Request, r)
	}
}

// Messages for requests that are not under way come after their end, and are ignored.

func (p *Responder) onWindow(b []byte) {
	m, err := parseWindow(b)
	if err != nil {
		p.violated("window", err)
		return
	}
	if r := p.running[m.id]; r != nil {
		r.credit = min(r.credit+int64(m.bytes), maxCredit)
		p.enqueue(r)
		p.pump()
	}
}

func (p *Responder) onCancel(b []byte) {
	id, err := parseCancel(b)
	if err != nil {
		p.violated("cancel", err)
		return
	}
	if r := p.running[id]; r != nil {
		p.cancel(r)
	}
}
