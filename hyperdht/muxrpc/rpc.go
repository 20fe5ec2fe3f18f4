package muxrpc

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/mux"
)

// maxPayload is the longest message.
const maxPayload = mux.MaxPayload

// Responder answers requests of one method. value is borrowed for the call. reply may be called inside the call
// or any time later, once; further calls, and calls after the channel has closed, do nothing. An *Error is
// sent as it is, any other error as the cause of a REQUEST_ERROR, with its code if it is a *Cause.
type Responder func(value []byte, reply func(value []byte, err error))

// Options configure the channel. Callbacks may be nil.
type Options struct {
	Protocol  string // DefaultProtocol if empty
	ID        []byte
	Handshake []byte
	// OnOpen is called when the other side has opened the channel too. The handshake is borrowed.
	OnOpen func(handshake []byte)
	// OnClose is called once, after what was pending has failed. remote: not by this side's End or Destroy.
	OnClose func(remote bool)
	// OnDrain is called when sending is welcome again, see mux.Mux.Drained.
	OnDrain func()
}

// RPC is one side of a channel for calls.
type RPC struct {
	mux     *mux.Mux
	channel *mux.Channel
	opts    Options

	nextID     uint64
	pending    map[uint64]*Call
	responders map[string]Responder
	running    int
	unread     int // responses sent since the connection asked for a break
	unreadSize int // bytes of them
	ending     bool
	closed     bool
	reason     error // what pending requests fail with, ErrClosed if nil
}

// Call is a request that waits for its response.
type Call struct {
	rpc  *RPC
	id   uint64
	done func(value []byte, err error)
}

// New opens a channel for calls. It fails as mux.Open does. Set the responders in the same turn, before the
// first requests are delivered.
func New(m *mux.Mux, opts Options) (*RPC, error) {
	if opts.Protocol == "" {
		opts.Protocol = DefaultProtocol
	}
	r := &RPC{
		mux:        m,
		opts:       opts,
		pending:    make(map[uint64]*Call),
		responders: make(map[string]Responder),
	}
	var err error
	r.channel, err = m.Open(mux.ChannelOptions{
		Protocol:  opts.Protocol,
		ID:        opts.ID,
		Handshake: opts.Handshake,
		OnOpen:    opts.OnOpen,
		OnClose:   r.onClose,
		OnDrain:   r.onDrain,
		Messages:  []func([]byte){typeRequest: r.onRequest, typeResponse: r.onResponse},
	})
	if err != nil {
		return nil, fmt.Errorf("rpc channel %s: %w", opts.Protocol, err)
	}
	return r, nil
}

// Mux returns the multiplexer that the channel is on.
func (r *RPC) Mux() *mux.Mux { return r.mux }

// Opened reports whether the other side has opened the channel too.
func (r *RPC) Opened() bool { return r.channel.Opened() }

// Closed reports whether the channel is closed.
func (r *RPC) Closed() bool { return r.closed }

// Pending is the number of requests without response.
func (r *RPC) Pending() int { return len(r.pending) }

// Running is the number of requests of the other side that are not answered.
func (r *RPC) Running() int { return r.running }

// Cork and Uncork send what is between them as one frame.
func (r *RPC) Cork() { r.mux.Cork() }

// Uncork ends a Cork.
func (r *RPC) Uncork() { r.mux.Uncork() }

// Respond sets the handler of a method.
func (r *RPC) Respond(method string, f Responder) { r.responders[method] = f }

// Unrespond makes a method unknown again.
func (r *RPC) Unrespond(method string) { delete(r.responders, method) }

// Request calls a method of the other side. done is called once, with the response's value, which is borrowed,
// or with an error: an *Error, or the reason given to Cancel or Destroy. value is the caller's again on return.
// Request fails, and done is not called, with ErrClosed and with mux.ErrTooLong.
func (r *RPC) Request(method string, value []byte, done func(value []byte, err error)) (*Call, error) {
	id := r.nextID + 1
	if err := r.request(id, method, value); err != nil {
		return nil, err
	}
	r.nextID = id
	c := &Call{rpc: r, id: id, done: done}
	r.pending[id] = c
	return c, nil
}

// Event calls a method of the other side without wanting an answer. It fails as Request does.
func (r *RPC) Event(method string, value []byte) error { return r.request(0, method, value) }

func (r *RPC) request(id uint64, method string, value []byte) error {
	m := request{id: id, method: []byte(method), value: value}
	switch {
	case r.closed || r.mux.Closed():
		return ErrClosed
	case m.size() > maxPayload:
		return fmt.Errorf("request %s of %d bytes: %w", method, len(value), mux.ErrTooLong)
	}
	r.channel.Send(typeRequest, m.append(make([]byte, 0, m.size())))
	return nil
}

// Cancel gives up on the response: done is called with the reason. Nothing is sent; the response is ignored
// when it comes. Cancelling a finished call does nothing.
func (c *Call) Cancel(reason error) { c.rpc.finish(c.id, nil, reason) }

// finish ends a pending call.
func (r *RPC) finish(id uint64, value []byte, err error) {
	c := r.pending[id]
	if c == nil {
		return
	}
	delete(r.pending, id)
	c.done(value, err)
	r.endMaybe()
}

// onResponse ends the call that the response belongs to. Late and unknown ones are ignored.
func (r *RPC) onResponse(payload []byte) {
	m, err := parseResponse(payload)
	switch {
	case err != nil:
		r.mux.Destroy(fmt.Errorf("%w: response: %w", ErrMalformed, err))
	case m.err != nil:
		r.finish(m.id, nil, m.err)
	default:
		r.finish(m.id, m.value, nil)
	}
}

// onRequest runs the responder of a request.
func (r *RPC) onRequest(payload []byte) {
	m, err := parseRequest(payload)
	if err != nil {
		r.mux.Destroy(fmt.Errorf("%w: request: %w", ErrMalformed, err))
		return
	}
	f := r.responders[string(m.method)]
	switch {
	case f == nil:
		name := m.method[:min(len(m.method), maxQuoted)]
		r.respond(m.id, nil, &Error{Code: CodeUnknownMethod, Message: fmt.Sprintf("Unknown method '%s'", name)})
		return
	case r.running >= MaxRunning:
		r.respond(m.id, nil, errors.New("too many requests"))
		return
	}
	r.running++
	answered := false
	f(m.value, func(value []byte, err error) {
		if answered {
			return
		}
		answered = true
		r.running--
		r.respond(m.id, value, err)
		r.endMaybe()
	})
}

// respond sends a response, unless it was an event or the channel is closed.
func (r *RPC) respond(id uint64, value []byte, err error) {
	if id == 0 || r.closed {
		return
	}
	if r.unread >= MaxUnread || r.unreadSize >= MaxUnreadBytes {
		r.mux.Destroy(ErrUnread)
		return
	}
	m := response{id: id, value: value}
	switch {
	case err != nil:
		m.err = failed(err)
	case len(value) > MaxValue:
		m.err = ResponseEncodeError(fmt.Errorf("%d bytes are more than the %d of a message", len(value), MaxValue))
	}
	payload := m.append(make([]byte, 0, m.size()))
	r.channel.Send(typeResponse, payload)
	if !r.mux.Drained() {
		r.unread++
		r.unreadSize += len(payload)
	}
}

func (r *RPC) onDrain() {
	r.unread, r.unreadSize = 0, 0
	if r.opts.OnDrain != nil {
		r.opts.OnDrain()
	}
}

// End closes the channel once the requests of both sides are answered. New requests may still be made.
func (r *RPC) End() {
	r.ending = true
	r.endMaybe()
}

func (r *RPC) endMaybe() {
	if r.ending && r.running == 0 && len(r.pending) == 0 {
		r.channel.Close()
	}
}

// Destroy closes the channel. Pending requests fail with err, or with ErrDestroyed if it is nil.
func (r *RPC) Destroy(err error) {
	if r.closed {
		return
	}
	r.reason = ErrDestroyed
	if err != nil {
		r.reason = err
	}
	r.channel.Close()
}

// onClose fails what is pending, in the order it was asked.
func (r *RPC) onClose(remote bool) {
	r.closed = true
	var reason error = ErrClosed
	if r.reason != nil {
		reason = r.reason
	}
	ids := make([]uint64, 0, len(r.pending))
	for id := range r.pending {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		r.finish(id, nil, reason)
	}
	clear(r.responders)
	if r.opts.OnClose != nil {
		r.opts.OnClose(remote)
	}
}
