// Package scrapeio carries scrapes between a host's loop and goroutines: Open to one, as an io.Reader, and Serve from one, by an
// io.Writer. Every wait ends, as in package bridge.
package scrapeio

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/host"
)

// piece is a part of a body.
type piece struct {
	buf [ports.MaxPiece]byte
	end int // of the bytes in it
}

// pieces are the buffers of what a Writer sends.
var pieces = sync.Pool{New: func() any { return new(piece) }}

// newPiece returns a piece with the first bytes of b.
func newPiece(b []byte) *piece {
	p := pieces.Get().(*piece)
	p.end = copy(p.buf[:], b)
	return p
}

func (p *piece) bytes() []byte { return p.buf[:p.end] }

func (p *piece) free() { pieces.Put(p) }

// block is a part of a body that a Response has received, of several pieces where they arrive faster than they are read.
type block struct {
	buf        [ports.FirstWindow]byte
	start, end int // of what was not read
}

var blocks = sync.Pool{New: func() any { return new(block) }}

func newBlock() *block {
	b := blocks.Get().(*block)
	b.start, b.end = 0, 0
	return b
}

func (b *block) bytes() []byte { return b.buf[b.start:b.end] }

func (b *block) free() { blocks.Put(b) }

// Response is a response that a goroutine reads.
type Response struct {
	domain.ScrapeHead
	ctx  context.Context
	loop host.Loop
	run  ports.Scrape // on the loop

	mu       sync.Mutex
	queue    []*block // received and not read, at most ports.MaxWindow bytes
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
			OnData: func(b []byte) { r.put(b, nil) },
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

// put adds a part of the body, or the end.
func (r *Response) put(b []byte, end error) {
	r.mu.Lock()
	if r.end == nil { // not closed
		r.queue = appended(r.queue, b)
		r.end = end
	}
	r.mu.Unlock()
	signal(r.arrived)
}

// appended adds bytes to the last block, as far as they fit, and to new ones.
func appended(queue []*block, b []byte) []*block {
	for len(b) > 0 {
		last := len(queue) - 1
		if last < 0 || queue[last].end == len(queue[last].buf) {
			queue = append(queue, newBlock())
			continue
		}
		into := queue[last]
		n := copy(into.buf[into.end:], b)
		into.end += n
		b = b[n:]
	}
	return queue
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
	if len(b) == 0 {
		return 0, nil
	}
	from, err := r.next()
	if err != nil {
		return 0, err
	}
	n = copy(b, from.bytes())
	from.start += n
	r.used(from, n)
	return n, nil
}

// Complete returns the size of what is left of the body in bytes, if all of it has arrived.
func (r *Response) Complete() (size int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.queue {
		size += b.end - b.start
	}
	return size, r.end == io.EOF
}

// WriteTo writes the body, as it arrives, in parts of up to ports.FirstWindow bytes, without a copy of its own. It returns the error that
// ended the scrape or the writing.
func (r *Response) WriteTo(w io.Writer) (n int64, err error) {
	for {
		b, err := r.next()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		m, err := w.Write(b.bytes())
		n += int64(m)
		b.start += m
		r.used(b, m)
		if err != nil {
			return n, err
		}
	}
}

// next waits for bytes and takes the first block from the queue, or returns the error after the last. The block is to be given back to
// used.
func (r *Response) next() (*block, error) {
	for {
		r.mu.Lock()
		if len(r.queue) > 0 {
			b := r.queue[0]
			r.queue[0] = nil
			r.queue = r.queue[1:]
			r.mu.Unlock()
			return b, nil
		}
		end := r.end
		r.mu.Unlock()
		if end != nil {
			return nil, end
		}
		select {
		case <-r.arrived:
		case <-r.ctx.Done():
			return nil, r.ctx.Err()
		case <-r.loop.Closed():
			return nil, bridge.ErrClosed
		}
	}
}

// used takes a block of which n bytes were read. What is left of it is read next; else more is requested.
func (r *Response) used(b *block, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.consumed += n
	if b.start < b.end {
		r.queue = slices.Insert(r.queue, 0, b)
		return
	}
	b.free()
	if r.end == nil && !r.reports {
		r.reports = true
		r.loop.Post(r.report)
	}
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
