package portstest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// SourceBench opens sources, and runs the loop of their callbacks.
type SourceBench struct {
	// Open opens a source that answers each scrape as said.
	Open func(t *testing.T, says SourceAnswer) ports.MetricsSource
	// Do runs f in a turn of the loop.
	Do func(f func())
	// Until runs the loop until cond holds after a turn, and fails the test if it never does.
	Until func(t *testing.T, what string, cond func() bool)
}

// SourceAnswer is the answer of a source of a SourceBench.
type SourceAnswer struct {
	Body  []byte // with status 200
	Fails bool   // before its head
	Hangs bool   // until it is cancelled
}

// scraped has the calls of the handlers of one scrape.
type scraped struct {
	t      *testing.T
	what   string
	during bool // the call of Scrape has not returned
	heads  int
	body   []byte
	ends   int
	err    error
	gone   bool // it was cancelled
	read   bool // each piece is consumed
	run    ports.Scrape
}

func (s *scraped) call(name string) {
	switch {
	case s.during:
		s.t.Errorf("%s: %s is called before Scrape has returned", s.what, name)
	case s.gone:
		s.t.Errorf("%s: %s is called after Cancel", s.what, name)
	case s.ends > 0:
		s.t.Errorf("%s: %s is called after OnEnd", s.what, name)
	}
}

func (s *scraped) start(source ports.MetricsSource) {
	s.during = true
	s.run = source.Scrape(domain.ScrapeRequest{Within: time.Minute}, ports.ScrapeHandlers{
		OnHead: func(h domain.ScrapeHead) {
			s.call("OnHead")
			if s.heads++; h.Status != domain.StatusOK || s.heads > 1 {
				s.t.Errorf("%s: head %d has status %d", s.what, s.heads, h.Status)
			}
		},
		OnData: func(b []byte) {
			s.call("OnData")
			if s.heads == 0 || len(b) == 0 || len(b) > ports.MaxPiece {
				s.t.Errorf("%s: a piece of %d bytes after %d heads; want 1 to %d after one", s.what, len(b), s.heads, ports.MaxPiece)
			}
			s.body = append(s.body, b...)
			if s.read {
				s.run.Consumed(len(b))
			}
		},
		OnEnd: func(err error) {
			s.call("OnEnd")
			s.ends++
			s.err = err
		},
	})
	s.during = false
}

func (s *scraped) cancel() {
	s.gone = true
	s.run.Cancel()
	s.run.Cancel()
	s.run.Consumed(1)
}

// TestMetricsSource checks a source against the contract of ports.MetricsSource. bench makes a bench for each part.
func TestMetricsSource(t *testing.T, bench func(t *testing.T) SourceBench) {
	long := make([]byte, 3*ports.MaxWindow)
	for i := range long {
		long[i] = "0123456789abcdef"[i%257%16]
	}
	begin := func(t *testing.T, b SourceBench, source ports.MetricsSource, what string, read bool) *scraped {
		s := &scraped{t: t, what: what, read: read}
		b.Do(func() { s.start(source) })
		return s
	}
	ended := func(t *testing.T, b SourceBench, s *scraped) {
		t.Helper()
		b.Until(t, s.what+" ends", func() bool { return s.ends > 0 })
	}
	whole := func(t *testing.T, b SourceBench, s *scraped, body []byte) {
		t.Helper()
		ended(t, b, s)
		if s.err != nil || s.heads != 1 || !bytes.Equal(s.body, body) {
			t.Errorf("%s: %d heads, %d bytes, want %d; %v", s.what, s.heads, len(s.body), len(body), s.err)
		}
	}

	for _, n := range []int{0, 1, ports.Piece + 1, len(long)} {
		t.Run(fmt.Sprintf("a body of %d bytes comes whole, in pieces", n), func(t *testing.T) {
			b := bench(t)
			s := begin(t, b, b.Open(t, SourceAnswer{Body: long[:n]}), "the scrape", true)
			whole(t, b, s, long[:n])
			b.Do(func() {
				s.run.Consumed(1)
				s.run.Cancel()
			})
		})
	}
	t.Run("no more than a window is sent ahead", func(t *testing.T) {
		b := bench(t)
		source := b.Open(t, SourceAnswer{Body: long})
		s := begin(t, b, source, "the slow scrape", false)
		b.Until(t, "something arrives", func() bool { return len(s.body) > 0 })
		// Another scrape, which is read, shows that the loop has gone on.
		whole(t, b, begin(t, b, source, "the one beside it", true), long)
		if n := len(s.body); n > ports.MaxWindow || s.ends > 0 {
			t.Fatalf("%d bytes have come, %d were consumed; at most %d may", n, 0, ports.MaxWindow)
		}
		b.Do(func() {
			s.read = true
			s.run.Consumed(len(s.body))
		})
		whole(t, b, s, long)
	})
	t.Run("scrapes beside each other have their own bodies", func(t *testing.T) {
		b := bench(t)
		source := b.Open(t, SourceAnswer{Body: long[:100_000]})
		first, second := begin(t, b, source, "the first", true), begin(t, b, source, "the second", true)
		whole(t, b, second, long[:100_000])
		whole(t, b, first, long[:100_000])
	})
	t.Run("a failure before the head is the end", func(t *testing.T) {
		b := bench(t)
		s := begin(t, b, b.Open(t, SourceAnswer{Fails: true}), "the scrape", true)
		ended(t, b, s)
		if s.err == nil || s.heads != 0 || len(s.body) != 0 {
			t.Errorf("%d heads, %d bytes, %v", s.heads, len(s.body), s.err)
		}
	})
	t.Run("a cancelled scrape is silent", func(t *testing.T) {
		b := bench(t)
		hanging := begin(t, b, b.Open(t, SourceAnswer{Hangs: true}), "the one that hangs", true)
		source := b.Open(t, SourceAnswer{Body: long})
		unheard := &scraped{t: t, what: "the one that is cancelled at once", read: true}
		b.Do(func() {
			unheard.start(source)
			unheard.cancel()
		})
		midway := begin(t, b, source, "the one that is cancelled midway", false)
		b.Until(t, "something arrives", func() bool { return len(midway.body) > 0 })
		b.Do(midway.cancel)
		b.Do(hanging.cancel)
		whole(t, b, begin(t, b, source, "the one after them", true), long)
		if err := errors.Join(unheard.err, midway.err, hanging.err); err != nil || unheard.ends+midway.ends+hanging.ends > 0 {
			t.Errorf("a cancelled scrape has ended: %v", err)
		}
	})
}
