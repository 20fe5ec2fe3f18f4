package dht

import (
	"bytes"
	"errors"

	"github.com/dhtprom/dhtprom/adapters/dht/muxscrape"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// sessionScrape is a scrape of a session, a ports.Scrape. It goes over the channel for scrapes at once, and by the method metrics where the
// client turns out to have no such channel.
type sessionScrape struct {
	session  *session
	request  domain.ScrapeRequest
	handlers ports.ScrapeHandlers
	run      ports.Scrape // nil until it is sent over the channel, or there is a response of the method
	stop     func()       // cancels the method; nil without one
	over     bool
}

// Scrape implements ports.MetricsSession.
func (s *session) Scrape(what domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	ss := &sessionScrape{session: s, request: what, handlers: h}
	s.running = append(s.running, ss)
	switch {
	case s.scrapes == nil || s.leaving:
		ss.endLater(connectionError(muxscrape.ErrClosed))
	case s.ready && !s.scrapes.Opened():
		ss.sendMethod()
	default:
		ss.send()
	}
	return ss
}

// ready is called when it is known whether the client has a channel for scrapes.
func (ss *sessionScrape) ready() {
	if ss.over || ss.session.scrapes.Opened() {
		return
	}
	if ss.run != nil {
		ss.run.Cancel() // the client may open the channel later, and answer a second time
	}
	ss.sendMethod()
}

// send sends the request over the channel for scrapes, which the client may not have opened yet.
func (ss *sessionScrape) send() {
	h := ss.handlers
	h.OnEnd = func(err error) {
		// Without an answer the channel has closed: ready sends the request again, or finish reports the reason.
		if !errors.Is(err, muxscrape.ErrClosed) {
			ss.end(err)
		}
	}
	run, err := ss.session.scrapes.Scrape(ss.request, h)
	switch {
	case errors.Is(err, muxscrape.ErrClosed):
		if ss.session.ready {
			ss.endLater(connectionError(err))
		}
	case err != nil:
		ss.endLater(&domain.ScrapeError{Fault: domain.FaultRequest, Reason: err.Error()})
	default:
		ss.run = run
	}
}

// sendMethod calls the method metrics, whose request has nothing but a version, and whose answer is a text.
func (ss *sessionScrape) sendMethod() {
	if ss.request.Target != "" || ss.request.Query != "" {
		ss.endLater(&domain.ScrapeError{Fault: domain.FaultRequest, Reason: "the client takes no parameters: it is of an older version, or of another implementation"})
		return
	}
	m := MetricsRequest{}
	ss.stop = ss.session.request(methodMetrics, m.Append(make([]byte, 0, m.Size())), func(value []byte, err error) {
		ss.stop = nil
		if remote, ok := answered(err); ok {
			err = remote
		}
		var reply MetricsReply
		if err == nil {
			if reply, err = ParseMetricsReply(value); err != nil {
				err = connectionError(err)
			} else if !reply.Success {
				err = &domain.RemoteError{Message: cut(reply.Message)}
			}
		}
		if err != nil {
			ss.end(err)
			return
		}
		h := ss.handlers
		h.OnEnd = ss.end
		ss.run = scrape.Send(ss.session.link.host, scrape.Text(bytes.Clone(reply.Body)), nil, h)
	})
}

// end ends the scrape, once.
func (ss *sessionScrape) end(err error) {
	if ss.forget() {
		ss.handlers.OnEnd(err)
	}
}

func (ss *sessionScrape) endLater(err error) { ss.session.link.host.Post(func() { ss.end(err) }) }

// forget reports whether the scrape was under way.
func (ss *sessionScrape) forget() bool {
	if ss.over {
		return false
	}
	ss.over = true
	ss.session.running = without(ss.session.running, ss)
	if ss.run != nil {
		ss.run.Cancel()
	}
	if ss.stop != nil {
		ss.stop()
	}
	return true
}

// Consumed implements ports.Scrape.
func (ss *sessionScrape) Consumed(n int) {
	if !ss.over {
		ss.run.Consumed(n)
	}
}

// Cancel implements ports.Scrape.
func (ss *sessionScrape) Cancel() { ss.forget() }
