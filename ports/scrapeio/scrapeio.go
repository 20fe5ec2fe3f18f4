// Package scrapeio carries scrapes between a host's loop and goroutines: Open to one, as an io.Reader, and Serve from one, by an
// io.Writer. Every wait ends, as in package bridge.
package scrapeio

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
)

// pieces are the buffers of pieces between two goroutines, MaxPiece bytes each.
var pieces = sync.Pool{New: func() any { return new(piece) }}

// piece is a part of a body.
type piece struct {
	buf        [ports.MaxPiece]byte
	start, end int // of what was not read
}

// newPiece returns a piece with the first bytes of b.
func newPiece(b []byte) *piece {
	p := pieces.Get().(*piece)
	p.start, p.end = 0, copy(p.buf[:], b)
	return p
}

func (p *piece) bytes() []byte { return p.buf[p.start:p.end] }

func (p *piece) free() { pieces.Put(p) }

// Response is a response that a goroutine reads.
type Response struct {
	domain.ScrapeHead
	ctx  context.Context
	loop host.Loop
	run  ports.Scrape // on the loop

	mu       sync.Mutex
	queue    []*piece // received and not read, at most ports.MaxWindow bytes
	consumed int      // read and not reported
	reports  bool     // a report is posted
	end      error    // io.EOF after a complete body
	arrived  chan struct{}
}

// Open runs start on the loop, which begins a scrape with the given handlers, and waits for the head of the response. The error is the
// one that ended the scrape, ctx.Err() or bridge.ErrClosed. A response must be closed.
func Open(ctx context.Context, loop host.Loop, start func(ports.ScrapeHandlers) ports.Scrape) (*Response, error) {
	r := &Response{ctx: ctx, loop: loop, arrived: make(chan struct{}, 1)}
	failed, err := bridge.Call(ctx, loop, func(done func(error)) func() {
		r.run = start(ports.ScrapeHandlers{
			OnHead: func(h domain.ScrapeHead) {
				r.ScrapeHead = h
				done(nil)
			},
			OnData: func(b []byte) {
				for len(b) > 0 {
					p := newPiece(b)
					b = b[p.end:]
					r.put(p, nil)
				}
			},
			OnEnd: func(err error) {
				if err == nil {
					err = io.EOF
				}
				r.put(nil, err)
				done(err) // counts where there was no head
			},
		})
		return r.run.Cancel
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// put adds a piece, or the end.
func (r *Response) put(p *piece, end error) {
	r.mu.Lock()
	if r.end == nil { // not closed
		if p != nil {
			r.queue = append(r.queue, p)
		}
		r.end = end
	}
	r.mu.Unlock()
	signal(r.arrived)
}

// signal wakes one waiter of a channel with room for one element, now or when it next waits.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Read reads the body. It waits for the next bytes, and returns io.EOF after the last, or the error that ended the scrape.
func (r *Response) Read(b []byte) (n int, err error) {
	for {
		if n, err := r.take(b); n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		select {
		case <-r.arrived:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		case <-r.loop.Closed():
			return 0, bridge.ErrClosed
		}
	}
}

// take takes what has arrived. It asks for more when a piece is used up.
func (r *Response) take(b []byte) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		return 0, r.end
	}
	usedUp := false
	for n < len(b) && len(r.queue) > 0 {
		p := r.queue[0]
		m := copy(b[n:], p.bytes())
		n += m
		if p.start += m; p.start == p.end {
			usedUp = true
			p.free()
			r.queue[0] = nil
			r.queue = r.queue[1:]
		}
	}
	r.consumed += n
	if usedUp && r.end == nil && !r.reports {
		r.reports = true
		r.loop.Post(r.report)
	}
	return n, nil
}

// report reports on the loop what was read.
func (r *Response) report() {
	r.mu.Lock()
	consumed := r.consumed
	r.consumed, r.reports = 0, false
	r.mu.Unlock()
	r.run.Consumed(consumed)
}

// Close cancels the scrape if it has not ended.
func (r *Response) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end == nil {
		r.end = bridge.ErrClosed
		r.loop.Post(r.run.Cancel)
	}
	return nil
}

// Writer answers a scrape from a goroutine.
type Writer struct {
	ctx      context.Context
	loop     host.Loop
	handlers ports.ScrapeHandlers
	head     *domain.ScrapeHead // to be sent with what comes next
	over     bool               // cancelled; on the loop

	mu     sync.Mutex
	pieces []*piece // for the loop
	posted bool     // deliver is
	room   int      // bytes that may be sent
	more   chan struct{}
}

// Serve answers a scrape by a function that runs on a goroutine of its own. Its context ends after within, and when the scrape is
// cancelled. What it returns ends the response; it must call Head first where that is nil.
func Serve(loop host.Loop, within time.Duration, h ports.ScrapeHandlers, run func(context.Context, *Writer) error) ports.Scrape {
	ctx, stop := context.WithTimeout(context.Background(), within)
	w := &Writer{ctx: ctx, loop: loop, handlers: h, room: ports.FirstWindow, more: make(chan struct{}, 1)}
	go func() {
		err := run(ctx, w)
		stop()
		w.call(func() { h.OnEnd(err) })
	}()
	return &serving{w, stop}
}

// call sends the head, if it is still to be sent, and runs f on the loop, unless the scrape is over.
func (w *Writer) call(f func()) {
	head := w.head
	w.head = nil
	w.loop.Post(func() {
		if head != nil && !w.over {
			w.handlers.OnHead(*head)
		}
		if !w.over {
			f()
		}
	})
}

// Head sets the head of the response, which goes with the first piece of the body, or with the end. It is called once.
func (w *Writer) Head(h domain.ScrapeHead) { w.head = &h }

// Write sends a part of the body. It waits until the requester has room, and fails when the context has ended.
func (w *Writer) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		p := newPiece(b[:min(len(b), ports.Piece)])
		size := p.end
		if !w.add(p) {
			w.post()
			if err := w.wait(p); err != nil {
				p.free()
				return n, err
			}
		}
		n += size
		b = b[size:]
	}
	w.post()
	return n, w.ctx.Err()
}

// add adds a piece for the loop, and reports whether there was room.
func (w *Writer) add(p *piece) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.room < p.end {
		return false
	}
	w.room -= p.end
	w.pieces = append(w.pieces, p)
	return true
}

// wait adds a piece when there is room.
func (w *Writer) wait(p *piece) error {
	for !w.add(p) {
		select {
		case <-w.more:
		case <-w.ctx.Done():
			return w.ctx.Err()
		case <-w.loop.Closed():
			return bridge.ErrClosed
		}
	}
	return nil
}

// post has the loop deliver all pieces in one turn.
func (w *Writer) post() {
	w.mu.Lock()
	due := len(w.pieces) > 0 && !w.posted
	w.posted = w.posted || due
	w.mu.Unlock()
	if due {
		w.call(w.deliver)
	}
}

// deliver passes the pieces to the requester, on the loop.
func (w *Writer) deliver() {
	w.mu.Lock()
	pieces := w.pieces
	w.pieces, w.posted = nil, false
	w.mu.Unlock()
	for _, p := range pieces {
		if !w.over {
			w.handlers.OnData(p.bytes())
		}
		p.free()
	}
}

// serving is the requester's side of a Writer.
type serving struct {
	w    *Writer
	stop func()
}

// Consumed implements ports.Scrape.
func (s *serving) Consumed(n int) {
	s.w.mu.Lock()
	s.w.room += n
	s.w.mu.Unlock()
	signal(s.w.more)
}

// Cancel implements ports.Scrape.
func (s *serving) Cancel() {
	s.w.over = true
	s.stop()
}

var _ ports.Scrape = (*serving)(nil)
