package scrape

import (
	"bytes"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Page is a complete response.
type Page struct {
	domain.ScrapeHead
	Body []byte
}

const (
	textType = "text/plain; version=0.0.4; charset=utf-8"
	openType = "application/openmetrics-text; version=1.0.0; charset=utf-8"
)

// Text returns the page of a text that has no content type: OpenMetrics, and only it, must end with the line # EOF.
func Text(body []byte) Page {
	contentType := textType
	if line := bytes.TrimSuffix(body, []byte("\n")); bytes.Equal(line, []byte("# EOF")) || bytes.HasSuffix(line, []byte("\n# EOF")) {
		contentType = openType
	}
	return Page{domain.ScrapeHead{Status: domain.StatusOK, ContentType: contentType, Length: int64(len(body))}, body}
}

// Collect requests a page of at most limit bytes. done receives it, or the error that ended the scrape: a *domain.BodyTooLargeError for a
// larger one.
func Collect(from ports.MetricsSource, r domain.ScrapeRequest, limit int, done func(Page, error)) (cancel func()) {
	var p Page
	var run ports.Scrape
	tooLarge := func(size int64) {
		run.Cancel()
		done(Page{}, &domain.BodyTooLargeError{Size: int(size), Max: limit})
	}
	run = from.Scrape(r, ports.ScrapeHandlers{
		OnHead: func(h domain.ScrapeHead) {
			if p.ScrapeHead = h; h.Length > int64(limit) {
				tooLarge(h.Length)
			} else if h.Length > 0 {
				p.Body = make([]byte, 0, min(h.Length, ports.MaxWindow)) // the length is a claim of the peer's
			}
		},
		OnData: func(b []byte) {
			if len(p.Body)+len(b) > limit {
				tooLarge(int64(len(p.Body) + len(b)))
				return
			}
			p.Body = append(p.Body, b...)
			run.Consumed(len(b))
		},
		OnEnd: func(err error) {
			if err != nil {
				p = Page{}
			}
			done(p, err)
		},
	})
	return run.Cancel
}

// Send answers a scrape with a page, or with an error where err is not nil. The body must not change until the end.
func Send(loop host.Loop, p Page, err error, h ports.ScrapeHandlers) ports.Scrape {
	s := &sending{loop: loop, handlers: h, rest: p.Body, room: ports.FirstWindow}
	loop.Post(func() {
		switch {
		case s.over:
		case err != nil:
			s.end(err)
		default:
			h.OnHead(p.ScrapeHead)
			s.pump()
		}
	})
	return s
}

// sending is a page that is being sent.
type sending struct {
	loop     host.Loop
	handlers ports.ScrapeHandlers
	rest     []byte
	room     int // bytes that may be sent
	posted   bool
	over     bool
}

func (s *sending) pump() {
	for piece := range slices.Chunk(s.rest[:min(len(s.rest), s.room)], ports.Piece) {
		if s.over {
			return
		}
		s.room -= len(piece)
		s.rest = s.rest[len(piece):]
		s.handlers.OnData(piece)
	}
	if len(s.rest) == 0 && !s.over {
		s.end(nil)
	}
}

func (s *sending) end(err error) {
	s.over = true
	s.handlers.OnEnd(err)
}

// Consumed implements ports.Scrape.
func (s *sending) Consumed(n int) {
	if s.room += n; s.over || s.posted {
		return
	}
	s.posted = true
	s.loop.Post(func() {
		if s.posted = false; !s.over {
			s.pump()
		}
	})
}

// Cancel implements ports.Scrape.
func (s *sending) Cancel() { s.over = true }

var _ ports.Scrape = (*sending)(nil)
