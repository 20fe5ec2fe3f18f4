package sim

import (
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

// longPage is a page that takes a while on the uplink of a home: half of the timeout of a scrape.
const longPage = 4 * homeUplink

var uplinkScenario = &Scenario{
	Name:  "uplink",
	About: "clients at home, whose way up is narrow and has a queue in front: long pages take as long as they must, and neither they nor their neighbours fail",
	Nodes: 10, Clients: 6, For: 2 * time.Minute,
	Least: Least{Nodes: 4, Clients: 3, For: 30 * time.Second},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{at: behind(simnet.PortRestricted())})
		home := w.net.AddRouter("a shared home", simnet.Masquerade(), w.addrs.newPublic())
		narrow := simnet.Link{Bandwidth: homeUplink, Queue: homeQueue}
		home.SetAccess(narrow)
		w.phase("two clients share a home, all others have their own")
		for i := range w.opts.Clients {
			at := behind(simnet.PortRestricted())
			at.access = &narrow
			if i < 2 {
				at = place{on: home.LAN()}
			}
			w.addClient(s, clientSetup{at: at})
		}
		w.allScrapeable(startWithin)
		w.run(10 * time.Second)
		busy, neighbour, alone := w.clients[0], w.clients[1], w.clients[2]

		w.phase("a page of %d MiB comes up a way of %d KiB a second", longPage>>20, homeUplink>>10)
		overrun := w.net.Stats().Dropped(simnet.DropQueue)
		alone.source.long = longPage
		least := time.Duration(longPage) * time.Second / homeUplink
		for range 3 {
			took, err := w.scrapeNow(s, alone.alias)
			w.expect(err == nil, "a long page fails after %v: %v", took, err)
			// The uplink is never idle for long, or it would take a multiple.
			w.expect(took >= least && took < least*5/4, "a long page takes %v, the way alone %v", took, least)
			w.run(time.Second)
		}
		w.result.row("a long page", "%d bytes, %v at the least", longPage, least)

		w.phase("while one of two neighbours sends long pages all the time, the other one is scraped, too")
		alone.source.long = 0
		busy.source.long = longPage
		failed, end := w.failedScrapes(), w.net.Now()+w.opts.For
		var again func()
		again = func() {
			if w.net.Now() < end {
				w.scrape(s, busy.alias, func(time.Duration, error) { w.net.AfterFunc(0, again) })
			}
		}
		again()
		var worst time.Duration
		for w.net.Now() < end {
			took, err := w.scrapeNow(s, neighbour.alias)
			w.expect(err == nil, "the neighbour of a busy client cannot be scraped: %v", err)
			worst = max(worst, took)
			w.run(2 * time.Second)
		}
		w.run(scrapeWithin)
		w.expect(w.failedScrapes() == failed, "%d scrapes fail on a busy way", w.failedScrapes()-failed)
		w.result.row("the neighbour's slowest scrape", "%v", worst.Round(time.Millisecond))
		w.expect(worst < 2*time.Second, "the neighbour of a busy client takes %v", worst)

		w.phase("the routers of another home have hardly any queue: what does not fit is lost, and sent again")
		dropped := w.net.Stats().Dropped(simnet.DropQueue)
		// A queue of a quarter of a second has room for what may be in flight: twice what the way carries in a round trip.
		w.expect(dropped == overrun, "%d datagrams of long pages overrun the queue of a home", dropped-overrun)
		alone.router.SetAccess(simnet.Link{Bandwidth: homeUplink, Queue: 6 << 10})
		alone.source.long = longPage
		took, err := w.scrapeNow(s, alone.alias)
		w.expect(err == nil && took < 2*least, "a long page through a short queue takes %v, the way alone %v: %v", took, least, err)
		w.expect(w.net.Stats().Dropped(simnet.DropQueue) > dropped, "the queue has never been full")
		w.result.row("a long page through a short queue", "%v", took.Round(time.Millisecond))
	},
}
