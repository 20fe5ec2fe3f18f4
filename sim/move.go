package sim

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

var moveScenario = &Scenario{
	Name:  "move",
	About: "public addresses change overnight, laptops change networks, routers reboot: all are scraped again at once",
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
			c.router.SetAddr(w.addrs.newPublic())
			w.stirs(c.machine)
			w.mustHeal(healWithin)
			w.run(w.opts.For / 5)
		}
		w.phase("the scraper gets another public address")
		s.router.SetAddr(w.addrs.newPublic())
		w.stirs(s.machine)
		w.mustHeal(healWithin)
		w.run(w.opts.For)
		w.phase("the clients' routers reboot and forget everything")
		for _, c := range w.clients {
			c.router.Reboot(simnet.Reboot{})
			w.stirs(c.machine)
		}
		w.mustHeal(healWithin)
		w.run(w.opts.For / 5)
		w.phase("a laptop goes to a café")
		w.visit(w.clients[0].machine, "café")
		w.mustHeal(healWithin)
		w.run(time.Minute) // two changes at once are answered at once, and later ones each 15 s
		w.phase("it goes to another one, and three seconds later to a third")
		w.visit(w.clients[0].machine, "second café")
		w.run(3 * time.Second)
		w.visit(w.clients[0].machine, "third café")
		w.mustHeal(moveWithin)
		w.run(time.Minute)
		w.phase("the scraper gets another public address, and three seconds later yet another one")
		for i := range 2 {
			w.run(time.Duration(i) * 3 * time.Second)
			s.router.SetAddr(w.addrs.newPublic())
			w.stirs(s.machine)
		}
		w.mustHeal(moveWithin)
		w.phase("the laptop goes from one network to the next: it registers now and then, and not each time")
		for i := range 10 {
			w.visit(w.clients[0].machine, fmt.Sprint("station ", i+1))
			w.run(4 * time.Second)
		}
		w.mustHeal(healWithin)
		stop()
	},
}

// visit moves a machine into a new network.
func (w *World) visit(m *machine, name string) {
	m.host.Move(w.net.AddRouter(name, simnet.Masquerade(), w.addrs.newPublic()).LAN(), netip.MustParseAddr("10.9.8.7"))
	w.stirs(m)
}

var roamScenario = &Scenario{
	Name:  "roam",
	About: "machines on the open internet change their addresses, the scraper's and those of DHT nodes, and clients do in the middle of a scrape",
	Nodes: 16, Clients: 6, For: 5 * time.Minute,
	Least: Least{Nodes: 8, Clients: 2, For: time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{})
		for range w.opts.Clients {
			w.addClient(s, clientSetup{at: behind(simnet.PortRestricted())})
		}
		w.allScrapeable(startWithin)
		w.run(time.Minute)
		stop := w.prometheus(s, 15*time.Second)
		w.phase("the scraper's machine gets another address")
		w.roam(s.machine)
		w.mustHeal(healWithin)
		w.run(w.opts.For / 5)
		w.phase("it gets another one ten milliseconds after a scrape has begun, and then its client does, too")
		first, second := w.clients[0], w.clients[1]
		w.scrapeAcross(s, first, func() { w.roam(s.machine) })
		w.mustHeal(healWithin)
		w.run(w.opts.For / 5)
		w.scrapeAcross(s, second, func() {
			second.router.SetAddr(w.addrs.newPublic())
			w.stirs(second.machine)
		})
		w.mustHeal(healWithin)
		w.run(w.opts.For / 5)

		w.phase("a third of the DHT's nodes get other addresses: peers found through them are found through others")
		for i, m := range w.nodes {
			if i%3 == 1 {
				w.roam(m)
			}
		}
		w.run(announcedWithin)
		w.lookUpClients(announcedWithin)
		w.mustHeal(healWithin)
		w.phase("all of them are still nodes of the DHT, and a new client comes and is scraped")
		for _, m := range w.nodes {
			status := m.node.Status()
			w.expect(status.Online && status.Nodes >= min(len(w.nodes)/2, 8), "%s knows %d nodes", m.name, status.Nodes)
			w.expect(status.Public.Addr() == m.host.Addr(), "%s reports the address %v, but has %v", m.name, status.Public.Addr(), m.host.Addr())
		}
		w.addClient(s, clientSetup{at: behind(simnet.PortRestricted())})
		w.mustHeal(healWithin)
		stop()
	},
}

// scrapeAcross calls move ten milliseconds into a scrape, when the request is on its way. The scrape may fail, but it ends
// in time and returns nothing wrong.
func (w *World) scrapeAcross(s *scraper, c *client, move func()) {
	ended := false
	w.scrape(s, c.alias, func(time.Duration, error) { ended = true })
	w.run(10 * time.Millisecond)
	w.expect(!ended, "the scrape is over before the move")
	move()
	w.until("the scrape ends", scrapeWithin+2*scrapeMargin, func() bool { return ended })
}
