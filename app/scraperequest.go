package app

import (
	"errors"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// scrapeRequest is a scrape of an alias, a ports.Scrape.
type scrapeRequest struct {
	scraper  *Scraper
	request  domain.ScrapeRequest
	handlers ports.ScrapeHandlers
	entry    domain.Entry
	began    host.Instant
	at       time.Time
	run      ports.Scrape        // over the session; nil where it fails at once
	status   *domain.StatusError // of an exporter that does not answer with 200 OK
	headed   bool
	bytes    int
	over     bool
}

// Scrape requests a page of metrics of the client behind an alias, in the text format. within bounds it, the configured time when zero.
// The error is ErrNotLoaded, ErrUnknownAlias, ErrNotConnected, ErrTimeout, ErrClosed, *RemoteError, *ScrapeError, *StatusError,
// *BodyTooLargeError, or the error of the connection.
func (s *Scraper) Scrape(alias domain.Alias, within time.Duration, done func(body []byte, err error)) (cancel func()) {
	return collect(aliasSource{s, alias}, within, done)
}

// collect requests a page in the text format from a source.
func collect(source ports.MetricsSource, within time.Duration, done func(body []byte, err error)) (cancel func()) {
	r := domain.ScrapeRequest{Within: within, Header: []domain.HeaderField{{Name: "Accept", Value: "text/plain;version=0.0.4"}}}
	return scrape.Collect(source, r, maxPage, func(p scrape.Page, err error) {
		if err == nil && p.Status != domain.StatusOK {
			p, err = scrape.Page{}, &domain.StatusError{Status: p.Status, Line: firstLine(p.Body)}
		}
		done(p.Body, err)
	})
}

// aliasSource is the client behind an alias.
type aliasSource struct {
	scraper *Scraper
	alias   domain.Alias
}

// Scrape implements ports.MetricsSource.
func (s aliasSource) Scrape(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	return s.scraper.Request(s.alias, r, h)
}

// Request passes a request to the client behind an alias, and its response back. The request's time is the configured one when zero. The
// error of a response that fails is one of Scrape's, except *StatusError: the status of an exporter is passed on.
func (s *Scraper) Request(alias domain.Alias, what domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	if what.Within <= 0 {
		what.Within = s.cfg.RequestTimeout
	}
	s.stats.Scrapes++
	e, known := s.table.Get(alias)
	r := &scrapeRequest{scraper: s, request: what, handlers: h, entry: e, began: s.cfg.Host.Now(), at: s.cfg.Clock.Now()}
	err := domain.ErrUnknownAlias
	switch {
	case s.closed:
		err = domain.ErrClosed
	case !s.loaded:
		err = domain.ErrNotLoaded
	case known && !s.expired(e):
		r.route(what.Within)
		return r
	}
	s.stats.ScrapesFailed[domain.FailureReason(err)]++
	s.cfg.Host.Post(func() {
		if !r.over {
			r.over = true
			h.OnEnd(err)
		}
	})
	return r
}

// ask sends the request to the client of the entry.
func (r *scrapeRequest) ask(left time.Duration) {
	held := r.scraper.session(r.entry.Key)
	r.scraper.visit(r.entry.Key)
	uid := held.uid()
	what := r.request
	what.Within, what.Header = left, passed(what.Header, r.entry.Fields)
	if r.entry.InSet {
		what.Target = string(r.entry.Alias)
	}
	r.run = held.Scrape(what, r.passing(func(err error) { r.ended(uid, err) }))
}

// route sends the request to the member of the group that has the client's connection, or else to the client.
func (r *scrapeRequest) route(left time.Duration) {
	holder, elsewhere := r.scraper.holderFor(r.entry.Key)
	if !elsewhere || r.request.PassedOn {
		r.ask(left)
		return
	}
	what := r.request
	what.Within, what.Header = left, passed(what.Header, r.entry.Fields)
	r.scraper.stats.Group.PassedOn++
	r.run = r.scraper.cfg.Group.Members.Source(holder, r.entry.Alias).Scrape(what, r.passing(func(err error) {
		took := r.scraper.cfg.Host.Now().Sub(r.began)
		if errors.Is(err, domain.ErrNoAnswer) && !r.headed && took < r.request.Within {
			r.scraper.stats.Group.TakenBack++
			r.ask(r.request.Within - took) // in its absence from here
			return
		}
		r.ended(domain.UID{}, err)
	}))
}

// passing returns handlers that pass the response on, and notice what is recorded of it.
func (r *scrapeRequest) passing(onEnd func(error)) ports.ScrapeHandlers {
	return ports.ScrapeHandlers{
		OnHead: func(h domain.ScrapeHead) {
			r.headed = true
			if h.Status != domain.StatusOK {
				r.status = &domain.StatusError{Status: h.Status}
			}
			r.handlers.OnHead(h)
		},
		OnData: func(b []byte) {
			if r.bytes += len(b); r.status != nil && r.bytes == len(b) {
				r.status.Line = firstLine(b)
			}
			r.handlers.OnData(b)
		},
		OnEnd: onEnd,
	}
}

// ended handles the end of the response, with the uid of the connection that carried it.
func (r *scrapeRequest) ended(uid domain.UID, err error) {
	s := r.scraper
	took := s.cfg.Host.Now().Sub(r.began)
	if next, ok := s.successor(r.entry, err); ok && !r.headed && took < r.request.Within {
		r.entry = next
		r.route(r.request.Within - took)
		return
	}
	r.over = true
	failure := err
	if err == nil && r.status != nil {
		failure = r.status
	}
	s.record(r.entry, domain.Scrape{At: r.at, Took: took, Bytes: r.bytes, Err: failure})
	if failure != nil {
		s.stats.ScrapesFailed[domain.FailureReason(failure)]++
		tell(s.cfg.OnEvent, domain.UpstreamError{UID: uid, Alias: r.entry.Alias, Key: r.entry.Key, Err: failure})
	}
	r.handlers.OnEnd(err)
}

// Consumed implements ports.Scrape.
func (r *scrapeRequest) Consumed(n int) {
	if !r.over {
		r.run.Consumed(n)
	}
}

// Cancel implements ports.Scrape.
func (r *scrapeRequest) Cancel() {
	if r.over {
		return
	}
	r.over = true
	if r.run != nil {
		r.scraper.stats.ScrapesFailed[domain.ReasonCanceled]++
		r.run.Cancel()
	}
}

// successor returns the entry that replaced that of an alias during its scrape: the client was restarted, and the new one has the
// answer.
func (s *Scraper) successor(asked domain.Entry, err error) (domain.Entry, bool) {
	if s.closed || !errors.Is(err, domain.ErrClosed) {
		return domain.Entry{}, false
	}
	e, ok := s.table.Get(asked.Alias)
	return e, ok && e.Key != asked.Key
}

// record stores the result of a scrape, unless the alias has another client meanwhile.
func (s *Scraper) record(e domain.Entry, r domain.Scrape) {
	if now, ok := s.table.Get(e.Alias); !ok || now.Key != e.Key {
		return
	}
	if s.scrapes[e.Alias] == nil {
		s.scrapes[e.Alias] = &domain.ScrapeHistory{}
	}
	s.scrapes[e.Alias].Add(r)
	if r.Err == nil {
		s.graces.noteScrape(e.Alias, s.cfg.Host.Now())
	}
}

// passed returns the header fields of a caller that a target gets.
func passed(header []domain.HeaderField, fields domain.Fields) []domain.HeaderField {
	return slices.DeleteFunc(slices.Clone(header), func(f domain.HeaderField) bool { return !fields.Passes(f.Name) })
}
