package sim

import (
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

var reserveScenario = &Scenario{
	Name:  "reserve",
	About: "direct paths that die, lose packets, grow long or narrow, beside a relay in reserve: no scrape is lost",
	Nodes: 12, Clients: 6, For: 2 * time.Minute,
	Least: Least{Nodes: 12, Clients: 1, For: time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		transport := dht.Config{RelayThrough: []domain.PublicKey{domain.PublicKey(w.addRelay("relay"))}}
		relay := w.byName["relay"]
		s := w.addScraper("scraper", scraperSetup{at: home, transport: transport})
		w.populateAt(s, w.opts.Clients, setting{clients: []place{home}, transport: transport}, clientSetup{})
		for _, c := range w.clients {
			c.source.long = 64 << 10
		}
		inReserve := func() bool {
			return s.app.Node().InReserve == len(w.clients) && s.direct() == len(w.clients)
		}
		w.until("all paths are direct and have a relay in reserve", time.Minute, inReserve)

		failed, scraped := 0, 0
		stop := w.scraping(s, func(err error) {
			scraped++
			if err != nil {
				failed++
				w.log.say("a scrape fails: %v", err)
			}
		})
		each := func(toClient, toScraper simnet.Link) func() {
			return func() {
				for _, c := range w.clients {
					w.net.SetLink(s.host, c.host, toClient)
					w.net.SetLink(c.host, s.host, toScraper)
				}
			}
		}
		dead := simnet.Link{Loss: 1}
		for _, fault := range []struct {
			what  string
			begin func()
			moves bool // direction of the traffic to most clients: each side decides for itself, and is late where an answer misleads it
		}{
			{"are dead", each(dead, dead), true},
			{"are dead towards the clients", each(dead, simnet.Link{}), true},
			{"are dead towards the scraper", each(simnet.Link{}, dead), false},
			{"lose a third of all packets", each(simnet.Link{Loss: 1. / 3}, simnet.Link{Loss: 1. / 3}), false},
			{"take a second longer", each(simnet.Link{Delay: time.Second}, simnet.Link{}), true},
			{"carry 1,000 bytes", each(simnet.Link{MTU: 1000}, simnet.Link{MTU: 1000}), false},
			{"are as they were, but the relay is off", relay.crash, false},
		} {
			w.phase("the direct paths %s for %v", fault.what, w.opts.For)
			fault.begin()
			w.run(w.opts.For)
			w.expect(!fault.moves || s.direct() <= len(w.clients)/3, "%d connections are still on direct paths that %s", s.direct(), fault.what)
			each(simnet.Link{}, simnet.Link{})()
			if relay.host.Down() {
				relay.restart()
			}
			w.until("the direct paths are in use again, and have a relay in reserve", reserveBack, inReserve)
		}
		stop()
		w.run(scrapeWithin)
		w.result.row("scrapes", "%d, of which %d failed", scraped, failed)
		w.expect(scraped > 0 && failed == 0, "%d of %d scrapes fail", failed, scraped)
	},
}

// direct returns the number of aliases connected without a relay.
func (s *scraper) direct() (n int) {
	for _, a := range s.app.Aliases() {
		if a.SessionUp && a.Peer.Path != domain.PathRelay {
			n++
		}
	}
	return n
}
