package sim

import (
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

var pairScenario = &Scenario{
	Name:  "pair",
	About: "two scrapers for the same clients, as two Prometheus servers have them: what happens to one costs no scrape at the other",
	Nodes: 16, Clients: 6, For: 10 * time.Minute,
	Least: Least{Nodes: 4, Clients: 1, For: time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		first, second := w.addScraper("scraper", scraperSetup{at: home}), w.addScraper("second", scraperSetup{at: home})
		w.populateAt(first, w.opts.Clients, setting{clients: steady()}, clientSetup{others: []*scraper{second}})
		w.until("the second scraper is connected to all, too", startWithin, func() bool {
			return second.app.Sessions()[domain.SessionOpen] == len(w.clients)
		})
		failed, scraped := 0, 0
		stop := w.scraping(second, func(err error) {
			scraped++
			if err != nil {
				failed++
			}
		})
		for _, fault := range []struct {
			what string
			do   func()
		}{
			{"crashes, and boots again", first.crash},
			{"crashes, and its disk is gone", func() {
				first.crash()
				first.wipe()
			}},
			{"has another public address", func() {
				first.router.SetAddr(w.addrs.newPublic())
				w.stirs(first.machine)
			}},
			{"loses its line", func() {
				first.router.SetAccess(simnet.Link{Loss: 1})
				w.stirs(first.machine)
			}},
		} {
			w.phase("the first scraper %s; what is down is up after %v", fault.what, w.opts.For/4)
			fault.do()
			w.run(w.opts.For / 4)
			if first.host.Down() {
				first.restart()
			}
			first.router.SetAccess(simnet.Link{})
			w.stirs(first.machine)
			w.mustHeal(crowdWithin) // a table that is gone comes back with registrations
		}
		stop()
		w.run(scrapeWithin)
		w.result.row("scrapes of the second scraper", "%d, of which %d failed", scraped, failed)
		w.expect(scraped > 0 && failed == 0, "%d of %d scrapes of the second scraper fail", failed, scraped)
	},
}

// scraping scrapes all aliases of a scraper each 15 s until stop is called, and calls ended with the result of each scrape.
func (w *World) scraping(s *scraper, ended func(err error)) (stop func()) {
	stopped := false
	var round func()
	round = func() {
		if stopped {
			return
		}
		for _, c := range w.clients {
			w.scrape(s, c.alias, func(_ time.Duration, err error) { ended(err) })
		}
		w.net.AfterFunc(15*time.Second, round)
	}
	round()
	return func() { stopped = true }
}
