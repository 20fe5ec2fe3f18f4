package sim

import (
	"fmt"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

// Mobile carriers: sessions live for seconds where they could live for minutes, and a customer has a small block of ports
// of its own.
const (
	carrierLifetime = 12 * time.Second
	carrierPort     = 20480
	carrierBlock    = 128
)

var carriersScenario = &Scenario{
	Name:  "carriers",
	About: "clients at home behind carriers whose sessions live for 12 s, with a block of 128 ports for each: connections are held, and none is punched again",
	Nodes: 16, Clients: 6, For: 20 * time.Minute,
	Least: Least{Nodes: 8, Clients: 1, For: time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{at: behind(simnet.PortRestricted())})
		for i := range w.opts.Clients {
			nat := simnet.PortRestricted()
			nat.FirstPort, nat.LastPort = carrierPort, carrierPort+carrierBlock-1
			nat.Lifetime, nat.Size, nat.Full = carrierLifetime, carrierBlock, []simnet.WhenFull{simnet.RefuseNew, simnet.EvictOldest}[i%2]
			carrier := w.net.AddRouter(fmt.Sprintf("carrier %d", i), nat, w.addrs.newPublic())
			w.addClient(s, clientSetup{at: home.under(carrier.LAN())})
		}
		w.allScrapeable(startWithin)
		w.run(time.Minute)
		w.phase("a scrape each 15 s for %v", w.opts.For)
		before := w.failedScrapes()
		punches := w.result.chronicle.total(punchStarted)
		stop := w.prometheus(s, 15*time.Second)
		w.run(w.opts.For)
		stop()
		w.run(scrapeWithin)
		w.expect(w.failedScrapes() == before, "%d scrapes fail", w.failedScrapes()-before)
		w.expect(w.result.chronicle.total(punchStarted) == punches, "%d more punches", w.result.chronicle.total(punchStarted)-punches)
		for _, c := range w.clients {
			w.expect(c.router != nil && c.app.Status().Registered, "%s is not registered", c.name)
		}
	},
}
