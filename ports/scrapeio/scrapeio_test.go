package scrapeio_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bridge"
	"github.com/dhtprom/dhtprom/ports/scrape"
	"github.com/dhtprom/dhtprom/ports/scrapeio"
)

// loop runs posted functions on a goroutine of its own, until it is closed.
type loop struct {
	posts  chan func()
	closed chan struct{}
	once   sync.Once
}

func newLoop(t *testing.T) *loop {
	l := &loop{posts: make(chan func(), 1000), closed: make(chan struct{})}
	go func() {
		for {
			select {
			case f := <-l.posts:
				f()
			case <-l.closed:
				return
			}
		}
	}()
	t.Cleanup(l.close)
	return l
}

func (l *loop) close()                  { l.once.Do(func() { close(l.closed) }) }
func (l *loop) Post(f func())           { l.posts <- f }
func (l *loop) Closed() <-chan struct{} { return l.closed }

// do runs f on the loop and waits.
func (l *loop) do(f func()) {
	done := make(chan struct{})
	l.posts <- func() { f(); close(done) }
	<-done
}

// scripted is a scrape that the test answers.
type scripted struct {
	ports.ScrapeHandlers
	consumed, cancelled int
}

func (s *scripted) Consumed(n int) { s.consumed += n }
func (s *scripted) Cancel()        { s.cancelled++ }

func (s *scripted) start(h ports.ScrapeHandlers) ports.Scrape {
	s.ScrapeHandlers = h
	return s
}

var head = domain.ScrapeHead{Status: 200, ContentType: "text/plain", Length: -1}

func TestResponseIsReadAsItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := newLoop(t), &scripted{}
		go func() {
			synctest.Wait()
			l.do(func() { s.OnHead(head); s.OnData([]byte("abc")) })
		}()
		r, err := scrapeio.Open(t.Context(), l, s.start)
		if err != nil || r.ScrapeHead != head {
			t.Fatalf("%+v, %v", r, err)
		}
		b := make([]byte, 2)
		for _, want := range []string{"ab", "c"} {
			if n, err := r.Read(b); err != nil || string(b[:n]) != want {
				t.Errorf("read %q, %v", b[:n], err)
			}
		}
		synctest.Wait()
		if s.consumed != 3 {
			t.Errorf("%d bytes are reported as read", s.consumed)
		}
		go l.do(func() { s.OnData([]byte("d")); s.OnEnd(nil) })
		if rest, err := io.ReadAll(r); err != nil || string(rest) != "d" {
			t.Errorf("the rest is %q, %v", rest, err)
		}
		_ = r.Close()
		synctest.Wait()
		if s.cancelled != 0 {
			t.Error("a scrape that has ended is cancelled")
		}
	})
}

func TestWaitsForAResponseEnd(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		before, after func(l *loop, s *scripted, cancel func()) // the head
		want          error
		cancelled     int
	}{
		"failed":               {before: func(_ *loop, s *scripted, _ func()) { s.OnEnd(broken) }, want: broken},
		"given up":             {before: func(_ *loop, _ *scripted, cancel func()) { cancel() }, want: context.Canceled, cancelled: 1},
		"host closed":          {before: func(l *loop, _ *scripted, _ func()) { l.close() }, want: bridge.ErrClosed},
		"broken off":           {after: func(_ *loop, s *scripted, _ func()) { s.OnEnd(broken) }, want: broken},
		"given up in the body": {after: func(_ *loop, _ *scripted, cancel func()) { cancel() }, want: context.Canceled, cancelled: 1},
		"closed in the body":   {after: func(l *loop, _ *scripted, _ func()) { l.close() }, want: bridge.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				l, s := newLoop(t), &scripted{}
				go func() {
					synctest.Wait()
					if test.before != nil {
						l.posts <- func() { test.before(l, s, cancel) }
						return
					}
					l.do(func() { s.OnHead(head); s.OnData([]byte("abc")) })
					synctest.Wait()
					l.posts <- func() { test.after(l, s, cancel) }
				}()
				r, err := scrapeio.Open(ctx, l, s.start)
				if err == nil {
					var b []byte
					if b, err = io.ReadAll(r); string(b) != "abc" {
						t.Errorf("read %q", b)
					}
					_ = r.Close()
					_ = r.Close()
				}
				if !errors.Is(err, test.want) || (test.before == nil) != (r != nil) {
					t.Errorf("%v, %v", r, err)
				}
				synctest.Wait()
				if s.cancelled != test.cancelled {
					t.Errorf("cancelled %d times", s.cancelled)
				}
			})
		})
	}
}

// sourceOf answers by Serve.
type sourceOf struct {
	l   *loop
	run func(context.Context, *scrapeio.Writer) error
}

func (s sourceOf) Scrape(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	return scrapeio.Serve(s.l, r.Within, h, s.run)
}

func TestServedBodiesArriveWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(t)
		body := bytes.Repeat([]byte("0123456789"), 100_000)
		s := sourceOf{l, func(_ context.Context, w *scrapeio.Writer) error {
			w.Head(head)
			n, err := w.Write(body)
			if n != len(body) {
				t.Errorf("%d bytes were written", n)
			}
			return err
		}}
		got := make(chan scrape.Page, 1)
		l.do(func() {
			scrape.Collect(s, domain.ScrapeRequest{Within: time.Minute}, len(body), func(p scrape.Page, err error) {
				if err != nil {
					t.Error(err)
				}
				got <- p
			})
		})
		if p := <-got; p.ScrapeHead != head || !bytes.Equal(p.Body, body) {
			t.Errorf("%+v with %d bytes", p.ScrapeHead, len(p.Body))
		}
	})
}

// A source waits for a requester that does not consume, within its window, and ends with its time, its cancel and the host.
func TestServedBodiesWaitForTheirReader(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(l *loop, s ports.Scrape) // nil: time passes
		want error
	}{
		"cancelled": {func(l *loop, s ports.Scrape) { l.do(s.Cancel) }, context.Canceled},
		"late":      {nil, context.DeadlineExceeded},
		"closed":    {func(l *loop, _ ports.Scrape) { l.close() }, bridge.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLoop(t)
				failed := make(chan error, 1)
				received, ends := 0, 0
				var s ports.Scrape
				l.do(func() {
					s = scrapeio.Serve(l, time.Minute, ports.ScrapeHandlers{
						OnHead: func(domain.ScrapeHead) {}, OnData: func(b []byte) { received += len(b) }, OnEnd: func(error) { ends++ },
					}, func(_ context.Context, w *scrapeio.Writer) error {
						w.Head(head)
						_, err := w.Write(make([]byte, 1<<20))
						failed <- err
						return err
					})
				})
				synctest.Wait()
				if received != ports.FirstWindow {
					t.Errorf("%d bytes are sent to a requester that consumes nothing", received)
				}
				l.do(func() { s.Consumed(ports.Piece) })
				synctest.Wait()
				if received != ports.FirstWindow+ports.Piece {
					t.Errorf("%d bytes are sent", received)
				}
				if test.end != nil {
					test.end(l, s)
				} else {
					time.Sleep(time.Hour)
				}
				if err := <-failed; !errors.Is(err, test.want) {
					t.Errorf("the writer has %v", err)
				}
				synctest.Wait()
				if want := map[string]int{"late": 1}[name]; ends != want {
					t.Errorf("%d ends", ends)
				}
			})
		})
	}
}

// Bytes are reported as read once, however they are read, and pieces are the response's own.
func TestBytesAreReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := newLoop(t), &scripted{}
		go func() {
			synctest.Wait()
			l.do(func() {
				s.OnHead(head)
				piece := []byte("abc")
				for range 3 {
					s.OnData(piece)
				}
				copy(piece, "xyz") // borrowed for the call
			})
		}()
		r, err := scrapeio.Open(t.Context(), l, s.start)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var got []byte
		for _, size := range []int{2, 2, 1, 9} {
			b := make([]byte, size)
			n, err := r.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b[:n]...)
		}
		synctest.Wait()
		if string(got) != "abcabcabc" || s.consumed != len(got) {
			t.Errorf("%q is read, %d bytes are reported", got, s.consumed)
		}
		_ = r.Close()
		l.do(func() { s.OnData([]byte("late")) })
		_ = r.Close()
		synctest.Wait()
		if s.cancelled != 1 {
			t.Errorf("cancelled %d times", s.cancelled)
		}
	})
}

// A response that is written to a writer is passed on in order, whole blocks at a time, and what the writer has not taken is not consumed.
func TestResponsesAreWrittenAsTheyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := newLoop(t), &scripted{}
		body := make([]byte, 7*ports.FirstWindow/2)
		for i := range body {
			body[i] = byte(i / 251)
		}
		go func() {
			synctest.Wait()
			l.do(func() {
				s.OnHead(head)
				for part := range slices.Chunk(body, ports.Piece) {
					s.OnData(part)
				}
			})
		}()
		r, err := scrapeio.Open(t.Context(), l, s.start)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var head [3]byte
		if n, err := r.Read(head[:]); n != 3 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		full := errors.New("full")
		short := &limited{left: ports.FirstWindow + 10, err: full}
		if n, err := r.WriteTo(short); n != ports.FirstWindow+10 || !errors.Is(err, full) {
			t.Errorf("%d bytes, %v", n, err)
		}
		synctest.Wait()
		// What was read of a block that is not used up is reported with it, or before if a report was under way.
		if taken := 3 + ports.FirstWindow + 10; s.consumed != taken && s.consumed != ports.FirstWindow {
			t.Errorf("%d bytes are reported as read, want %d or %d", s.consumed, ports.FirstWindow, taken)
		}
		if size, ok := r.Complete(); size != len(body)-3-ports.FirstWindow-10 || ok {
			t.Errorf("%d bytes are left before the end, complete: %t", size, ok)
		}
		go l.do(func() { s.OnData([]byte("end")); s.OnEnd(nil) })
		rest := &limited{left: len(body)}
		if _, err := r.WriteTo(rest); err != nil {
			t.Error(err)
		}
		if got := slices.Concat(head[:], short.got, rest.got); !bytes.Equal(got, append(body, "end"...)) {
			t.Errorf("%d bytes arrived, or others than were sent", len(got))
		}
		if size, ok := r.Complete(); size != 0 || !ok {
			t.Errorf("%d bytes are left at the end, complete: %t", size, ok)
		}
		if most := max(short.most, rest.most); most != ports.FirstWindow {
			t.Errorf("at most %d bytes at a time, want %d", most, ports.FirstWindow)
		}
		synctest.Wait()
	})
}

// limited takes a number of bytes, and fails beyond.
type limited struct {
	left int
	err  error
	got  []byte
	most int // in a write
}

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	l.most = max(l.most, n)
	l.left -= n
	l.got = append(l.got, b[:n]...)
	if n < len(b) {
		return n, l.err
	}
	return n, nil
}

// A writer's buffer is its own again when Write returns, its context ends with its function, and a cancelled scrape takes no more.
func TestServedFunctionsOwnTheirBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(t)
		hold, held := make(chan struct{}), make(chan struct{})
		go l.do(func() { close(held); <-hold })
		<-held
		var got []byte
		var within context.Context
		ended := 0
		go func() {
			scrapeio.Serve(l, time.Hour, ports.ScrapeHandlers{
				OnHead: func(domain.ScrapeHead) {}, OnData: func(b []byte) { got = append(got, b...) }, OnEnd: func(error) { ended++ },
			}, func(ctx context.Context, w *scrapeio.Writer) error {
				within = ctx
				w.Head(head)
				b := []byte("abc")
				_, err := w.Write(b)
				copy(b, "xyz")
				return err
			})
		}()
		synctest.Wait()
		close(hold)
		synctest.Wait()
		if string(got) != "abc" || ended != 1 || within.Err() == nil {
			t.Errorf("%q, %d ends, context %v", got, ended, within.Err())
		}
		var s ports.Scrape
		wrote := make(chan error, 1)
		goOn := make(chan struct{})
		l.do(func() {
			s = scrapeio.Serve(l, time.Hour, ports.ScrapeHandlers{OnHead: func(domain.ScrapeHead) { t.Error("called after Cancel") }}, func(_ context.Context, w *scrapeio.Writer) error {
				<-goOn
				w.Head(head)
				_, err := w.Write([]byte("abc"))
				wrote <- err
				return err
			})
			s.Cancel()
		})
		close(goOn)
		if err := <-wrote; !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled writer has %v", err)
		}
		synctest.Wait()
		l.do(func() {}) // all that it has posted was run
	})
}

// A requester may cancel while it is called; what has arrived in the same turn is not for it any more.
func TestCancelWithinACallIsTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(t)
		pieces := 0
		l.do(func() {
			var s ports.Scrape
			s = scrapeio.Serve(l, time.Hour, ports.ScrapeHandlers{
				OnHead: func(domain.ScrapeHead) {}, OnEnd: func(error) { t.Error("the end is reported after Cancel") },
				OnData: func([]byte) {
					pieces++
					s.Cancel()
				},
			}, func(_ context.Context, w *scrapeio.Writer) error {
				w.Head(head)
				_, err := w.Write(make([]byte, ports.FirstWindow)) // in one turn
				return err
			})
		})
		synctest.Wait()
		l.do(func() {})
		if pieces != 1 {
			t.Errorf("%d pieces, want 1", pieces)
		}
	})
}
