package sim

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
)

// A seed was copied with its machine, and both machines run: the scraper's connection stays with one of them. In app the same is
// shown of the rule alone; here their nodes announce the same key, offer their connections and are dialled.
func TestTwoMachinesWithOneSeedDoNotFight(t *testing.T) {
	for _, alias := range []domain.Alias{"web", "copy of web"} {
		s := &Scenario{Name: "twins", Nodes: 8, Clients: 2, For: time.Hour, Play: func(w *World) {
			w.bootNodes(w.opts.Nodes)
			s := w.addScraper("scraper", scraperSetup{})
			keys := domain.KeyPairFromSeed(domain.SeedFrom(w.seedOf("copied")))
			warned := map[domain.Alias]int{}
			add := func(alias domain.Alias) *client {
				c := w.addClient(s, clientSetup{alias: alias, keys: keys, change: func(c *app.ClientConfig) {
					c.RegisterInterval = 5 * time.Minute
					told := c.OnEvent
					c.OnEvent = func(e domain.Event) {
						if _, shared := e.(domain.IdentityShared); shared {
							warned[alias]++
						}
						if told != nil {
							told(e)
						}
					}
				}})
				w.until("it is registered", startWithin, func() bool { return c.app.Status().Registered })
				w.run(10 * time.Second)
				return c
			}
			first, second := add("web"), add(alias)
			dials := s.app.Stats().Dials
			for range int(w.opts.For / (15 * time.Second)) {
				w.run(15 * time.Second)
				_, err := w.scrapeNow(s, alias)
				w.expect(err == nil, "a scrape fails: %v", err)
			}
			w.expect(s.app.Stats().Dials == dials, "%d new connections in an hour", s.app.Stats().Dials-dials)
			w.expect(first.app.Status().Connections+second.app.Status().Connections == 1, "%d and %d connections", first.app.Status().Connections, second.app.Status().Connections)
			w.expect(s.app.Stats().SharedIdentities > 5 && warned["web"] > 2 && warned[alias] > 2, "warned %d times, and %v", s.app.Stats().SharedIdentities, warned)
		}}
		r := s.run(Options{Seed: 1})
		for _, f := range r.Failures {
			t.Errorf("%s: %v", alias, f)
		}
	}
}
