package sim

import (
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

// sliceScenario plays the whole product once, under moderate conditions.
var sliceScenario = &Scenario{
	Name:  "slice",
	About: "many clients on a lossy internet; the scraper crashes and comes back with its disk",
	Nodes: 20, Clients: 50, For: 4 * time.Minute,
	Least: Least{Nodes: 4, Clients: 1, For: 5 * time.Second},
	Loss:  0.05,
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{})
		w.phase("%d clients", w.opts.Clients)
		for range w.opts.Clients {
			w.addClient(s, clientSetup{at: behind(simnet.PortRestricted())})
		}
		w.phase("all of them are scraped")
		w.allScrapeable(time.Minute)
		// Rare enough that a later scrape never helps an earlier one.
		w.prometheus(s, 10*time.Second)
		failed := w.failedScrapes()
		w.run(w.opts.For)
		w.expect(w.failedScrapes() == failed, "%d scrapes fail, although what is lost is sent again", w.failedScrapes()-failed)
		w.phase("the scraper crashes, and is back a little later with its disk")
		s.crash()
		w.run(5 * time.Second)
		s.restart()
		w.mustHeal(healWithin)
		w.run(w.opts.For / 2)
		w.phase("all of them are scraped, still, and can be looked up")
		w.allScrapeable(time.Minute)
		stats := w.lookUp(w.keysOfClients(), 100, 20*time.Second)
		stats.report(w)
		w.expect(meanOf(stats.unanswered) < 0.5, "%.1f nodes do not answer a lookup, although requests are repeated", meanOf(stats.unanswered))
	},
}
