package app

import (
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
)

// clock is wall time without jumps: the wall time of the start plus steady time, which includes the time that the machine was
// suspended. It decides expiry, so that setting the machine's clock deletes nothing. The table is in this time; the store and
// callers get the current wall time.
type clock struct {
	start   time.Time
	started host.Instant
}

func newClock(wall time.Time, now host.Instant) clock { return clock{wall.Round(0), now} }

func (c clock) at(now host.Instant) time.Time { return c.start.Add(now.Sub(c.started)) }

// now returns the time in the table's clock.
func (s *Scraper) now() time.Time { return s.clock.at(s.cfg.Host.Now()) }

// set returns by how much the wall clock was set since the start; less than clockNoise is drift.
func (s *Scraper) set() time.Duration {
	by := s.cfg.Clock.Now().Sub(s.now())
	if by.Abs() < clockNoise {
		return 0
	}
	return by
}

// graces are the loaded aliases that would have expired within the grace after the start.
type graces struct {
	graced  map[domain.Alias]bool
	scraped map[domain.Alias]host.Instant // when one of them was last scraped with success
}

func newGraces() graces {
	return graces{graced: map[domain.Alias]bool{}, scraped: map[domain.Alias]host.Instant{}}
}

// noteScrape records that an alias was scraped with success, if it is one of them.
func (g *graces) noteScrape(a domain.Alias, now host.Instant) {
	if g.graced[a] {
		g.scraped[a] = now
	}
}

// scrapedWithin reports whether an alias was scraped with success in the last d.
func (g *graces) scrapedWithin(a domain.Alias, d time.Duration, now host.Instant) bool {
	last, ok := g.scraped[a]
	return ok && now.Sub(last) < d
}

func (g *graces) end(a domain.Alias) {
	delete(g.graced, a)
	delete(g.scraped, a)
}

// shown returns an entry of the table in wall time.
func (s *Scraper) shown(e domain.Entry) domain.Entry {
	if by := s.set(); by != 0 {
		e.Registered, e.Renewed, e.Expires = e.Registered.Add(by), e.Renewed.Add(by), e.Expires.Add(by)
	}
	return e
}

// bridge converts a loaded entry to the time of this run. Only the wall clock knows how long the program was down, and it is
// wrong on a machine without a battery or after a resume. So no entry expires within the grace, in which its client is dialled,
// and none later than a new registration.
func (s *Scraper) bridge(e domain.Entry) domain.Entry {
	now, grace := s.now(), s.grace()
	left := e.Expires.Sub(now)
	if left < grace {
		s.graces.graced[e.Alias] = true
	}
	e.Expires = now.Add(min(max(left, grace), s.cfg.Expiry))
	for _, t := range []*time.Time{&e.Registered, &e.Renewed} {
		if t.After(now) {
			*t = now
		}
	}
	return e
}

func (s *Scraper) grace() time.Duration { return min(expiryGrace, s.cfg.Expiry) }

// ungrace ends the grace of an alias that registered or was removed.
func (s *Scraper) ungrace(a domain.Alias) { s.graces.end(a) }

// expired reports whether an entry has expired. After a restart a client that is connected or was scraped within the grace shows
// that the scraper was not down for that long; it has the time of a registration to renew.
func (s *Scraper) expired(e domain.Entry) bool {
	now := s.now()
	if !s.leads() || !e.Expired(now) {
		return false // only the leader of a group judges
	}
	if !s.graces.graced[e.Alias] || now.Sub(s.clock.start) >= s.cfg.Expiry {
		return true
	}
	if held := s.sessions[e.Key]; held != nil && held.State() == domain.SessionOpen {
		return false
	}
	return !s.graces.scrapedWithin(e.Alias, s.grace(), s.cfg.Host.Now())
}
