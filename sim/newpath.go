package sim

import (
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

var newPathScenario = &Scenario{
	Name:  "newpath",
	About: "direct paths that die for good, since routers forget them meanwhile, beside a relay in reserve: sessions go over to new direct paths, and no scrape is lost",
	Nodes: 12, Clients: 6, For: 2 * time.Minute,
	Least: Least{Nodes: 12, Clients: 1, For: time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		transport := dht.Config{RelayThrough: []domain.PublicKey{domain.PublicKey(w.addRelay("relay"))}}
		// The keep-alive of a path in use holds a mapping; the probes of an idle one are too rare for it.
		nat := simnet.PortRestricted()
		nat.Lifetime, nat.Ports = forgetful, simnet.RandomPort
		s := w.addScraper("scraper", scraperSetup{at: behind(nat), transport: transport})
		w.populateAt(s, w.opts.Clients, setting{clients: []place{behind(nat)}, transport: transport}, clientSetup{})
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
		lost := w.check.dials
		for range 2 {
			links := func(l simnet.Link) {
				for _, c := range w.clients {
					w.net.SetLinks(s.host, c.host, l)
				}
			}
			w.phase("the direct paths are dead for %v", w.opts.For)
			links(simnet.Link{Loss: 1})
			w.run(w.opts.For)
			w.expect(s.direct() == 0, "%d connections are on direct paths that are dead", s.direct())
			w.phase("other direct paths are possible")
			links(simnet.Link{})
			from := w.net.Now()
			w.until("all paths are direct again, and have a relay in reserve", newPathWithin, inReserve)
			w.result.row("all on new paths after", "%v", (w.net.Now() - from).Round(time.Second))
			w.phase("the new paths last for %v, which makes the next search as eager", pathLasts)
			w.run(pathLasts)
			w.expect(s.direct() == len(w.clients), "%d connections are on direct paths that work", s.direct())
		}
		stop()
		w.run(scrapeWithin)
		second := s.app.Stats().Paths
		w.result.row("scrapes", "%d, of which %d failed", scraped, failed)
		w.result.row("second connections", "%d direct, %d relayed, %d failed", second.SecondDirect, second.SecondRelayed, second.SecondFailed)
		w.expect(scraped > 0 && failed == 0, "%d of %d scrapes fail", failed, scraped)
		w.expect(w.check.dials == lost, "%d connections are lost, and dialled again", w.check.dials-lost)
		w.expect(second.SecondDirect >= uint64(2*len(w.clients)), "%d new paths were found for %d clients, twice", second.SecondDirect, len(w.clients))
		w.run(closingTime)
		for _, c := range w.clients {
			w.expect(c.app.Status().Connections == 1, "%s has %d connections in the end", c.name, c.app.Status().Connections)
		}
	},
}

const (
	// forgetful is the lifetime of a session in a router that forgets a path which is probed each 20 s.
	forgetful = 15 * time.Second
	// newPathWithin bounds the time until another possible direct path is in use: a try and the pause before it, which
	// grows with the time for which the paths were dead.
	newPathWithin = 5 * time.Minute
	// pathLasts is the time for which a direct path must last for the next one to be looked for as soon (app/params.go,
	// searchWaitMax).
	pathLasts = 16 * time.Minute
)
