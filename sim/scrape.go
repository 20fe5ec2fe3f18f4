package sim

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
)

var errScraperDown = errors.New("the scraper is down")

// scrape requests the metrics of an alias from a scraper, as its HTTP side does. done is called later, and never if the
// scraper goes down meanwhile. It must be called between turns.
func (w *World) scrape(s *scraper, a domain.Alias, done func(took time.Duration, err error)) {
	w.ask(s, a, w.result.scraped, done)
}

// ask is scrape; count is called before done, unless the scraper is down.
func (w *World) ask(s *scraper, a domain.Alias, count, done func(took time.Duration, err error)) {
	if s.app == nil || !s.up() {
		w.net.AfterFunc(0, func() { done(0, errScraperDown) })
		return
	}
	s.host.Do(func() {
		started, q := w.net.Now(), s.ledger.asks(a)
		answered := w.mustAnswer(s, a)
		s.scrape(a, scrapeWithin, func(body []byte, err error) {
			answered()
			if err == nil {
				s.ledger.served(a, q, body)
			}
			count(w.net.Now()-started, err)
			done(w.net.Now()-started, err)
		})
	})
}

// mustAnswer demands that a scrape ends in time, successful or not, until answered is called. The time is that of the
// scraper's own loop, and ends with a crash. When a machine wakes, all timers that it slept through are due at once, so the
// margin begins when the time is over. It must be called inside a turn.
func (w *World) mustAnswer(s *scraper, a domain.Alias) (answered func()) {
	var patience host.Timer
	patience = s.host.AfterFunc(scrapeWithin, func() {
		patience = s.host.AfterFunc(scrapeMargin, func() {
			w.fail("liveness", "a scrape of %q at %s has no answer at all within %v", a, s.name, scrapeWithin+scrapeMargin)
		})
	})
	return func() { patience.Stop() }
}

// scrapeNow scrapes and waits.
func (w *World) scrapeNow(s *scraper, a domain.Alias) (took time.Duration, err error) {
	finished := false
	w.scrape(s, a, func(t time.Duration, e error) { finished, took, err = true, t, e })
	w.until("the scrape of "+string(a)+" ends", scrapeWithin+2*scrapeMargin, func() bool { return finished })
	return took, err
}

// prometheus scrapes all aliases of a scraper periodically, evenly spread over the interval, until stop is called.
func (w *World) prometheus(s *scraper, every time.Duration) (stop func()) {
	return w.prometheusOf(s, every, func(domain.Alias, error) {})
}

// prometheusOf is prometheus, and calls done at the end of each scrape.
func (w *World) prometheusOf(s *scraper, every time.Duration, done func(domain.Alias, error)) (stop func()) {
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
						w.scrape(s, a.Alias, func(_ time.Duration, err error) { done(a.Alias, err) })
					}
				})
			}
		}
		w.net.AfterFunc(every, round)
	}
	w.net.AfterFunc(0, round)
	return func() { stopped = true }
}

// allScrapeable lets time pass until every client's alias was scraped successfully, for within at most, or the longer time that patience returns. It
// returns how long each took, in the order of success, and reports those without success.
func (w *World) allScrapeable(within time.Duration) []time.Duration {
	began, ended := w.net.Now(), false
	var healed []time.Duration
	var waiting []*client
	done, last := map[*client]bool{}, map[*client]error{}
	for _, c := range w.clients {
		if c.knows && !c.retired {
			waiting = append(waiting, c)
		}
	}
	for _, c := range waiting {
		var again func()
		try := 0
		again = func() {
			if ended || done[c] {
				return
			}
			try++
			mine := try
			next := func(after time.Duration) {
				w.net.AfterFunc(after, func() {
					if try == mine {
						again()
					}
				})
			}
			w.ask(c.scraper, c.alias, w.result.polled, func(_ time.Duration, err error) {
				switch {
				case ended || done[c]:
				case err == nil:
					done[c] = true
					healed = append(healed, w.net.Now()-began)
				default:
					last[c] = err
					next(time.Second)
				}
			})
			// A scraper restarted by its service manager never answers earlier requests.
			next(scrapeWithin + 2*scrapeMargin)
		}
		again()
	}
	w.reached(within, func() bool {
		return !slices.ContainsFunc(waiting, func(c *client) bool { return !c.outside && !done[c] })
	})
	patience := map[*client]time.Duration{}
	for _, c := range waiting {
		if patience[c] = within; !done[c] {
			patience[c] = w.patience(c, within, began)
		}
	}
	slices.SortStableFunc(waiting, func(a, b *client) int { return cmp.Compare(patience[a], patience[b]) })
	for _, c := range waiting {
		if w.reached(patience[c]-(w.net.Now()-began), func() bool { return done[c] }) {
			continue
		}
		if err := last[c]; err != nil {
			w.fail("liveness", "%s cannot be scraped %v after the world has healed: %v", c.alias, patience[c].Round(time.Second), err)
		} else {
			w.fail("liveness", "%s cannot be scraped %v after the world has healed: no answer at all", c.alias, patience[c].Round(time.Second))
		}
	}
	ended = true
	return healed
}

// patience returns the bound for a client that was not scraped within the usual time after a healing. It is longer for a client outside the
// DHT, for one whose scraper has not been connected to it for long and dials it later, and where a guess of ports was lost since the healing.
func (w *World) patience(c *client, within, healed time.Duration) time.Duration {
	if c.outside {
		return max(within, reunionWithin)
	}
	bound := within
	if lost := w.check.lostGuess(c) - healed; lost > 0 {
		w.log.tell(c.name, "and its scraper have lost a guess of ports %v after the world has healed", lost.Round(time.Second))
		bound = max(bound, min(lost+guessRest+min(within, healWithin), guessWithin))
	}
	if at := w.check.lateDial(c.scraper, c, healed) - healed; at > 0 {
		w.log.tell(c.name, "has not been connected for long: its scraper dials it %v after the world has healed", at.Round(time.Second))
		bound = max(bound, at+min(within, healWithin))
	}
	return bound
}
