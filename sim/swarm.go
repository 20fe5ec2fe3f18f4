package sim

import "time"

var swarmScenario = &Scenario{
	Name:  "swarm",
	About: "a large DHT, a thousand clients behind all kinds of routers and one scraper, for an hour",
	Nodes: 10_000, Clients: 1_000, For: time.Hour,
	Least: Least{Nodes: 16, Clients: 1, For: 5 * time.Second},
	Large: true, Coarse: true, Lanes: true,
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{})
		began := w.net.Now()
		w.phase("%d clients, which boot within half a minute", w.opts.Clients)
		kinds := nats()
		for i := range w.opts.Clients {
			w.net.AfterFunc(30*time.Second*time.Duration(i)/time.Duration(w.opts.Clients), func() {
				w.addClient(s, clientSetup{at: kinds[i%len(kinds)]})
			})
		}
		w.run(30 * time.Second)
		took := w.allScrapeable(startWithin)
		w.result.row("all clients scraped", "%v after the first booted", (w.net.Now() - began).Round(time.Second))
		w.expect(len(took) == w.opts.Clients, "%d of %d clients could be scraped", len(took), w.opts.Clients)

		w.phase("for %v all of them are scraped once a minute", w.opts.For)
		before, failed := w.result.Scrapes, w.failedScrapes()
		stop := w.prometheus(s, time.Minute)
		w.run(w.opts.For)
		stop()
		w.run(scrapeWithin)
		failed = w.failedScrapes() - failed
		w.result.row("scrapes in the hour", "%d, %d failed", w.result.Scrapes-before, failed)
		w.expect(failed == 0, "%d scrapes fail although nothing is wrong", failed)

		w.phase("lookups of clients from all over the DHT")
		w.lookUp(w.keysOfClients(), 1000, time.Minute).report(w)
	},
}
