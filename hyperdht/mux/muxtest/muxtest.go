// Package muxtest connects two multiplexers in memory, for tests of what stands on them. Nothing moves by
// itself: Run delivers what was sent, in the order it was sent, until everything is still.
package muxtest

import (
	"bytes"
	"errors"

	"github.com/dhtprom/dhtprom/hyperdht/mux"
)

// ErrReset is the error of a pipe whose other end was destroyed.
var ErrReset = errors.New("muxtest: connection reset by the other end")

// Wire is a connection of two pipes.
type Wire struct {
	A, B *Pipe
	// Frames is everything that was sent so far.
	Frames []Frame

	queue []func()
}

// Frame is a recorded frame.
type Frame struct {
	From  string // "a" or "b"
	Bytes []byte
}

// NewWire makes a connection.
func NewWire() *Wire {
	w := &Wire{}
	w.A, w.B = &Pipe{name: "a", wire: w}, &Pipe{name: "b", wire: w}
	w.A.peer, w.B.peer = w.B, w.A
	return w
}

// Run delivers until nothing is left to do.
func (w *Wire) Run() {
	for len(w.queue) > 0 {
		f := w.queue[0]
		w.queue = w.queue[1:]
		f()
	}
}

// TakeFrames returns the frames recorded since the last call.
func (w *Wire) TakeFrames() []Frame {
	f := w.Frames
	w.Frames = nil
	return f
}

func (w *Wire) later(f func()) { w.queue = append(w.queue, f) }

// Pipe is one end of a Wire.
type Pipe struct {
	// Window is the number of frames in flight from which Send returns false. Zero is no limit.
	Window int

	name string
	wire *Wire
	peer *Pipe

	inbox    [][]byte
	inFlight int // frames sent and not delivered
	choked   bool
	paused   bool
	ended    bool // by this end
	endHeard bool
	closed   bool
	reason   error

	onMessage func([]byte)
	onDrain   func()
	onEnd     func()
	onClose   func(error)
}

var _ mux.Pipe = (*Pipe)(nil)

// Inject makes the pipe receive a frame that the other end did not send.
func (p *Pipe) Inject(frame []byte) {
	p.inbox = append(p.inbox, bytes.Clone(frame))
	p.wire.later(p.pump)
}

// Send implements mux.Pipe.
func (p *Pipe) Send(parts ...[]byte) bool {
	if p.closed || p.ended {
		return false
	}
	frame := bytes.Join(parts, nil)
	p.wire.Frames = append(p.wire.Frames, Frame{From: p.name, Bytes: bytes.Clone(frame)})
	p.inFlight++
	p.peer.inbox = append(p.peer.inbox, bytes.Clone(frame))
	p.wire.later(p.peer.pump)
	p.choked = p.Window > 0 && p.inFlight >= p.Window
	return !p.choked
}

// pump delivers what has arrived.
func (p *Pipe) pump() {
	for len(p.inbox) > 0 && !p.paused && !p.closed && p.onMessage != nil {
		frame := p.inbox[0]
		p.inbox = p.inbox[1:]
		if p.peer.inFlight > 0 {
			p.peer.inFlight--
		}
		p.onMessage(frame)
		// Borrowed for the call: a receiver that keeps it shall fail.
		for i := range frame {
			frame[i] = 0xdd
		}
	}
	if q := p.peer; q.choked && q.inFlight < q.Window && !q.closed {
		q.choked = false
		if q.onDrain != nil {
			q.onDrain()
		}
	}
	if len(p.inbox) == 0 && p.peer.ended && !p.endHeard && !p.closed && !p.paused {
		p.endHeard = true
		if p.onEnd != nil {
			p.onEnd()
		}
	}
	p.settle()
}

// settle closes both ends once both have ended and received the other's end.
func (p *Pipe) settle() {
	if p.ended && p.endHeard && p.peer.ended && p.peer.endHeard {
		p.close(nil)
		p.peer.close(nil)
	}
}

// End implements mux.Pipe.
func (p *Pipe) End() {
	if p.ended || p.closed {
		return
	}
	p.ended = true
	p.wire.later(p.peer.pump)
	p.wire.later(p.settle)
}

// Destroy implements mux.Pipe.
func (p *Pipe) Destroy(err error) {
	p.wire.later(func() {
		p.close(err)
		p.peer.close(ErrReset)
	})
}

func (p *Pipe) close(err error) {
	if p.closed {
		return
	}
	p.closed = true
	p.reason = err
	if p.onClose != nil {
		p.onClose(err)
	}
}

// Closed reports whether and why the pipe has closed.
func (p *Pipe) Closed() (bool, error) { return p.closed, p.reason }

// Ended reports whether this end has ended.
func (p *Pipe) Ended() bool { return p.ended }

// Paused reports whether the pipe is paused.
func (p *Pipe) Paused() bool { return p.paused }

// Pause implements mux.Pipe.
func (p *Pipe) Pause() { p.paused = true }

// Resume implements mux.Pipe.
func (p *Pipe) Resume() {
	p.paused = false
	p.wire.later(p.pump)
}

// OnMessage implements mux.Pipe.
func (p *Pipe) OnMessage(f func([]byte)) {
	p.onMessage = f
	p.wire.later(p.pump)
}

// OnDrain implements mux.Pipe.
func (p *Pipe) OnDrain(f func()) { p.onDrain = f }

// OnEnd implements mux.Pipe.
func (p *Pipe) OnEnd(f func()) { p.onEnd = f }

// OnClose implements mux.Pipe.
func (p *Pipe) OnClose(f func(error)) { p.onClose = f }
