package sim

import (
	"errors"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

var errScraperDown = errors.New("the scraper is down")

// scrape asks a scraper for the metrics of an alias, as its HTTP side does. done is called later, and never if the
// scraper goes down meanwhile. It must be called between turns.
func (w *World) scrape(s *scraper, a domain.Alias, done func(took time.Duration, err error)) {
	if s.app == nil || !s.up() {
		w.net.AfterFunc(0, func() { done(0, errScraperDown) })
		return
	}
	s.host.Do(func() {
		started, q := w.net.Now(), s.ledger.asks(a)
		s.app.Scrape(a, scrapeWithin, func(body []byte, err error) {
			if err == nil {
				s.ledger.served(a, q, body)
			}
			w.result.scraped(w.net.Now()-started, err)
			done(w.net.Now()-started, err)
		})
	})
}

// scrapeNow scrapes and waits.
func (w *World) scrapeNow(s *scraper, a domain.Alias) (took time.Duration, err error) {
	finished := false
	w.scrape(s, a, func(t time.Duration, e error) { finished, took, err = true, t, e })
	w.until("the scrape of "+string(a)+" ends", scrapeWithin+time.Second, func() bool { return finished })
	return took, err
}

// prometheus scrapes all aliases of a scraper again and again, evenly spread over the interval, until stop is called.
func (w *World) prometheus(s *scraper, every time.Duration) (stop func()) {
	stopped := false
	var round func()
	round = func() {
		if stopped {
			return
		}
		if s.app != nil && s.up() {
			all := s.app.Aliases()
			for i, a := range all {
				w.net.AfterFunc(every*time.Duration(i)/time.Duration(len(all)), func() {
					if !stopped {
						w.scrape(s, a.Alias, func(time.Duration, error) {})
					}
				})
			}
		}
		w.net.AfterFunc(every, round)
	}
	w.net.AfterFunc(0, round)
	return func() { stopped = true }
}

// allScrapeable lets time pass until every client's alias was scraped once with success, for within at most. It
// returns how long each took, in the order of the clients; those that failed are reported.
func (w *World) allScrapeable(within time.Duration) []time.Duration {
	began := w.net.Now()
	var healed []time.Duration
	var waiting []*client
	var last map[*client]error = map[*client]error{}
	for _, c := range w.clients {
		if c.knows && !c.retired {
			waiting = append(waiting, c)
		}
	}
	left := len(waiting)
	for _, c := range waiting {
		var again func()
		over := false
		again = func() {
			w.scrape(c.scraper, c.alias, func(_ time.Duration, err error) {
				switch {
				case over:
				case err == nil:
					over = true
					left--
					healed = append(healed, w.net.Now()-began)
				case w.net.Now()-began > within:
					over = true
					last[c] = err
				default:
					last[c] = err
					w.net.AfterFunc(time.Second, again)
				}
			})
		}
		again()
	}
	w.reached(within, func() bool { return left == 0 })
	if left > 0 {
		for _, c := range waiting {
			if err := last[c]; err != nil && left > 0 {
				if _, e := w.scrapeNow(c.scraper, c.alias); e != nil {
					w.fail("liveness", "%s cannot be scraped %v after the world has healed: %v", c.alias, within, e)
				}
			}
		}
	}
	return healed
}
