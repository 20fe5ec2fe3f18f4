package sim

import (
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
)

// expiryScenario is the only one in which the rule expiry can break: elsewhere clients that are up renew in time.
var expiryScenario = &Scenario{
	Name:  "expiry",
	About: "clients that are up and connected do not renew, or may not any more: they are served until their time is over, and not once longer",
	Nodes: 8, Clients: 4, For: 10 * time.Minute,
	Least: Least{Nodes: 4, Clients: 3, For: time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		life := w.opts.For
		s := w.addScraper("scraper", scraperSetup{change: func(c *app.ScraperConfig) {
			// Expired aliases stay unswept for long.
			c.Expiry, c.CheckInterval = life, 10*life
		}})
		w.phase("one client renews once a day, the others twelve times in the %v for which a registration is good", life)
		for i := range w.opts.Clients {
			interval := life / 12
			if i == 0 {
				interval = 24 * time.Hour
			}
			w.addClient(s, clientSetup{at: nats()[i%len(nats())], change: func(c *app.ClientConfig) { c.RegisterInterval = interval }})
		}
		lazy, ousted, rest := w.clients[0], w.clients[1], w.clients[2:]
		w.allScrapeable(startWithin)
		w.run(10 * time.Second)
		stop := w.prometheus(s, 5*time.Second)

		w.phase("the lazy one is served for its time")
		lazy.retired = true
		w.servedUntilExpiry(s, lazy)

		w.phase("the scraper takes another secret, which all but one receive: that one cannot renew any more, though it stays connected")
		other := domain.SecretFrom(w.seedOf("another secret"))
		for _, c := range rest {
			c.close()
		}
		w.secret = other
		s.host.Do(func() { _ = s.app.SetSecrets([]domain.Secret{other}) })
		for _, c := range rest {
			c.host.Do(c.run)
		}
		ousted.retired = true
		w.servedUntilExpiry(s, ousted)
		w.expect(s.app.Stats().Rejected[domain.ReasonUnauthorised] > 0, "the old secret was not rejected")

		w.phase("the scraper restarts: what it had not swept out has the grace again, because its clock may be wrong, and no more")
		s.crash()
		w.run(time.Second)
		s.restart()
		w.mustHeal(healWithin)
		w.run(life)
		for _, c := range []*client{lazy, ousted} {
			w.gone(s, c.alias, "expired, after a restart")
		}
		stop()
	},
}

// servedUntilExpiry lets time pass until an alias expires, and demands that it is served right before and not right after,
// while its client is up and connected.
func (w *World) servedUntilExpiry(s *scraper, c *client) {
	var e domain.Entry
	for _, a := range s.app.Aliases() {
		if a.Alias == c.alias {
			e = a.Entry
		}
	}
	left := e.Expires.Sub(s.host.Clock().Now())
	w.run(left - 2*time.Second)
	_, err := w.scrapeNow(s, c.alias)
	w.expect(err == nil, "%s cannot be scraped two seconds before it expires: %v", c.alias, err)
	w.run(4 * time.Second)
	up := c.up() && c.app.Status().Connections > 0
	w.expect(up, "%s is not connected, so that its expiry shows nothing", c.name)
	w.gone(s, c.alias, "expired")
}
