package sim

import (
	"errors"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
)

var registrationScenario = &Scenario{
	Name:  "registration",
	About: "an alias is registered, renewed, taken over, taken back, given up, and expires; a wrong secret gets nothing",
	Nodes: 10, Clients: 3, For: 3 * time.Hour,
	Least: Least{Nodes: 4, Clients: 1, For: 90 * time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{change: func(c *app.ScraperConfig) { c.Expiry = w.opts.For }})
		owned := func(by *client, what string) {
			w.expect(w.owner(s, by.alias) == by.keys.Public, "%s: %q belongs to %s, not to %s", what, by.alias, w.nameOf(w.owner(s, by.alias)), by.name)
			_, err := w.scrapeNow(s, by.alias)
			w.expect(err == nil, "%s: a scrape fails: %v", what, err)
		}

		w.phase("a client registers an alias, another the same one under a key of its own: the last one has it")
		first := w.addClient(s, clientSetup{alias: "web"})
		w.until("it is registered", startWithin, func() bool { return first.app.Status().Registered })
		w.run(5 * time.Second)
		owned(first, "registered")
		// Of the two, the last one to register has the alias: the second must not renew at the moment in which the first is
		// checked.
		second := w.addClient(s, clientSetup{alias: "web", change: func(c *app.ClientConfig) { c.RegisterInterval = 2 * domain.DefaultRegisterInterval }})
		w.until("it is registered", startWithin, func() bool { return second.app.Status().Registered })
		w.run(5 * time.Second)
		owned(second, "taken over")

		w.phase("within the hour the first renews its registration and has the alias back")
		before := first.app.Status().Registrations
		w.until("it registers again", time.Hour, func() bool { return first.app.Status().Registrations > before })
		w.run(2 * time.Second)
		owned(first, "taken back")
		w.phase("the second is stopped; a deregistration by a client without the alias changes nothing, and its own removes the alias")
		holder, other := first, second
		if w.owner(s, "web") == second.keys.Public {
			holder, other = second, first
		}
		other.retire()
		owned(holder, "the other has left")
		holder.retire()
		w.gone(s, "web", "given up")

		w.phase("a client with a wrong secret tries for ten minutes")
		stranger := w.addClient(s, clientSetup{alias: "intruder", stranger: true})
		w.run(10 * time.Minute)
		w.gone(s, "intruder", "wrong secret")
		w.expect(s.app.Stats().Rejected[domain.ReasonUnauthorised] >= 5, "refused %d times only", s.app.Stats().Rejected[domain.ReasonUnauthorised])
		stranger.retire()

		w.phase("a client registers and is switched off at once: it is served for %v, and not longer, although the scraper restarts meanwhile", w.opts.For)
		lost := w.addClient(s, clientSetup{alias: "lost"})
		w.until("it is registered", startWithin, func() bool { return lost.app.Status().Registered })
		registered := w.net.Now()
		lost.retired = true
		lost.crash()
		w.run(w.opts.For / 2)
		s.restart()
		w.run(w.opts.For/2 - (w.net.Now() - registered) + w.opts.For/2 - time.Minute)
		w.expect(!w.owner(s, "lost").IsZero(), "the alias has expired before its time")
		w.run(2 * time.Minute)
		w.gone(s, "lost", "expired, and not yet swept out")
		w.run(time.Hour)
		w.expect(w.owner(s, "lost").IsZero(), "the alias was not swept out")
		w.run(recordsLive) // a lookup keeps a record alive, and the scraper has looked it up until now
		w.expect(!w.findable(lost), "the DHT still knows a client that was switched off hours ago")
		w.expect(s.app.Stats().Expired == 1, "%d aliases have expired", s.app.Stats().Expired)
	},
}

// owner returns the key with an alias at a scraper, zero for none.
func (w *World) owner(s *scraper, a domain.Alias) domain.PublicKey {
	for _, have := range s.app.Aliases() {
		if have.Alias == a {
			return have.Key
		}
	}
	return domain.PublicKey{}
}

// gone demands that a scraper does not know an alias.
func (w *World) gone(s *scraper, a domain.Alias, why string) {
	_, err := w.scrapeNow(s, a)
	w.expect(errors.Is(err, domain.ErrUnknownAlias), "%s: a scrape of %q ends with %v", why, a, err)
}
