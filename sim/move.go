package sim

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

var moveScenario = &Scenario{
	Name:  "move",
	About: "public addresses change overnight, laptops change networks, routers reboot: everybody is scraped again at once",
	Nodes: 16, Clients: 6, For: 5 * time.Minute,
	Least: Least{Nodes: 4, Clients: 1, For: 5 * time.Second},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{at: behind(simnet.FullCone())})
		for range w.opts.Clients {
			w.addClient(s, clientSetup{at: behind(simnet.PortRestricted())})
		}
		w.allScrapeable(startWithin)
		w.run(time.Minute)
		stop := w.prometheus(s, 15*time.Second)
		for _, c := range w.clients {
			w.phase("%s gets another public address", c.name)
			c.router.SetAddr(w.publicAddr())
			w.stirs(c.machine)
			w.mustHeal(movedWithin)
			w.run(w.opts.For / 5)
		}
		w.phase("the scraper gets another public address")
		s.router.SetAddr(w.publicAddr())
		w.stirs(s.machine)
		w.mustHeal(movedWithin)
		w.run(w.opts.For)
		w.phase("the clients' routers reboot and forget everything")
		for _, c := range w.clients {
			c.router.Reboot(simnet.Reboot{})
			w.stirs(c.machine)
		}
		w.mustHeal(movedWithin)
		w.run(w.opts.For / 5)
		w.phase("a laptop goes to a café")
		cafe := w.net.AddRouter("café", simnet.Masquerade(), w.publicAddr())
		w.clients[0].host.Move(cafe.LAN(), netip.MustParseAddr("10.9.8.7"))
		w.stirs(w.clients[0].machine)
		w.mustHeal(movedWithin)
		stop()
	},
}

// movedWithin is how long after a change of address everybody is scraped again. The original takes a quarter of an hour.
const movedWithin = 90 * time.Second
