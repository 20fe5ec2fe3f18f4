package app

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// sessionRequest is a scrape over a session, a ports.Scrape.
type sessionRequest struct {
	session  *Session
	request  domain.ScrapeRequest
	handlers ports.ScrapeHandlers
	began    host.Instant
	timer    host.Timer
	link     *sessionLink // that carries it; nil while the session connects
	run      ports.Scrape // on that link
	headed   bool         // the client has begun to answer
	over     bool
}

// Scrape implements ports.MetricsSource: it requests metrics of the client, within the configured time where the request has none. That
// covers every wait: for a connection in progress, for its channel, and for the response. A session that waits to dial again fails at
// once. A scrape ends with ErrNotConnected, ErrTimeout, ErrClosed, the error that the client reported, or that of the connection.
func (s *Session) Scrape(what domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	s.Start()
	if what.Within <= 0 {
		what.Within = s.cfg.RequestTimeout
	}
	r := &sessionRequest{session: s, request: what, handlers: h, began: s.cfg.Host.Now()}
	switch {
	case s.state == domain.SessionClosed:
		r.settleLater(domain.ErrClosed)
		return r
	case s.state == domain.SessionWaiting:
		r.settleLater(s.notConnected())
		return r
	case s.crowded(what.Target):
		r.settleLater(errBusy)
		return r
	}
	r.timer = s.cfg.Host.AfterFunc(what.Within, func() {
		r.settle(&domain.TimeoutError{Waiting: s.waitsFor(), After: what.Within})
		if r.link != nil && r.link == s.link && !r.headed {
			s.suspect(r.link)
		}
	})
	s.pending = append(s.pending, r)
	switch {
	case s.state == domain.SessionOpen:
		r.ask()
	case s.turn.ticket != nil:
		s.queue.hurry(&s.turn)
	}
	return r
}

// crowded reports whether there is no room for another scrape of a target.
func (s *Session) crowded(target string) bool {
	if len(s.pending) < maxTargetRequests {
		return false
	}
	same := 0
	for _, r := range s.pending {
		if r.request.Target == target {
			same++
		}
	}
	return same >= maxTargetRequests || len(s.pending) >= maxSessionRequests
}

// ask sends the request on the session's connection.
func (r *sessionRequest) ask() {
	s, link := r.session, r.session.link
	r.link = link
	what := r.request
	what.Within -= s.cfg.Host.Now().Sub(r.began)
	r.run = link.conn.Scrape(what, ports.ScrapeHandlers{
		OnHead: func(h domain.ScrapeHead) {
			r.headed = true
			r.handlers.OnHead(h)
		},
		OnData: r.handlers.OnData,
		OnEnd: func(err error) {
			_, broken := errors.AsType[*ports.ConnectionError](err)
			if broken && !r.headed && link != s.link && s.state == domain.SessionOpen && !r.over {
				r.ask() // the previous connection brought no answer
				s.cfg.Host.Post(s.closeOldMaybe)
				return
			}
			r.settle(err)
		},
	})
}

// Consumed implements ports.Scrape.
func (r *sessionRequest) Consumed(n int) {
	if !r.over {
		r.run.Consumed(n)
	}
}

// Cancel implements ports.Scrape.
func (r *sessionRequest) Cancel() {
	if !r.over {
		r.forget()
	}
}

// forget removes a request without calling back.
func (r *sessionRequest) forget() {
	s := r.session
	r.over = true
	if r.timer != nil {
		r.timer.Stop()
	}
	if r.run != nil {
		r.run.Cancel()
	}
	s.pending = slices.DeleteFunc(s.pending, func(o *sessionRequest) bool { return o == r })
	if r.link != nil && r.link == s.old {
		s.closeOldMaybe()
	}
}

func (r *sessionRequest) settle(err error) {
	if !r.over {
		r.forget()
		r.handlers.OnEnd(err)
	}
}

// settleLater settles in a later turn, so that no caller is called back inside its own call.
func (r *sessionRequest) settleLater(err error) {
	r.session.cfg.Host.Post(func() { r.settle(err) })
}

// takePending removes requests from the list, so that a reconnect does not repeat those that are about to fail.
func (s *Session) takePending(which func(*sessionRequest) bool) (taken []*sessionRequest) {
	left := s.pending[:0:0]
	for _, r := range s.pending {
		if !which(r) {
			left = append(left, r)
			continue
		}
		taken = append(taken, r)
		r.timer.Stop()
		if r.run != nil {
			r.run.Cancel()
		}
	}
	s.pending = left
	return taken
}

// waitsFor names what a request that timed out was waiting for.
func (s *Session) waitsFor() string {
	switch {
	case s.turn.ticket != nil:
		return "its turn to be dialled"
	case s.state != domain.SessionOpen:
		return "the connection"
	case !s.link.ready:
		return "the metrics channel"
	default:
		return "the answer"
	}
}

func (s *Session) notConnected() error {
	if s.lastErr == nil {
		return domain.ErrNotConnected
	}
	return fmt.Errorf("%w: %w", domain.ErrNotConnected, s.lastErr)
}
