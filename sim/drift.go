package sim

import (
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

var driftScenario = &Scenario{
	Name:  "drift",
	About: "routers give each mapping another port every two minutes, those of the clients and that of one of two scrapers: what breaks heals in time",
	Nodes: 10, Clients: 3, For: 10 * time.Minute,
	Least: Least{Nodes: 6, Clients: 1, For: 5 * time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		still := w.addScraper("scraper", scraperSetup{at: behind(simnet.PortRestricted())})
		moving := w.addScraper("moving scraper", scraperSetup{at: behind(drifting(mappingAge))})
		for i := range w.opts.Clients {
			w.addClient(still, clientSetup{at: behind(drifting(mappingAge))})
			if i == 0 {
				w.addClient(moving, clientSetup{at: behind(drifting(mappingAge))})
			}
		}
		w.allScrapeable(startWithin)
		w.phase("mappings get other ports now and then")
		stopStill, stopMoving := w.prometheus(still, 15*time.Second), w.prometheus(moving, 15*time.Second)
		before := w.mappingsMoved()
		for end := w.net.Now() + w.opts.For; w.net.Now() < end; w.run(mappingAge / 3) {
			for _, m := range w.machines {
				if m.router != nil {
					w.stirs(m)
				}
			}
			w.mustHeal(healWithin)
		}
		stopStill()
		stopMoving()
		moved := w.mappingsMoved() - before
		w.result.row("mappings that a node has seen move", "%d", moved)
		w.expect(moved > 0, "no node has seen a mapping move")
	},
}

// mappingAge is the time after which mappings change their ports.
const mappingAge = 2 * time.Minute

// drifting is a NAT whose mappings change their ports after a while.
func drifting(keep time.Duration) simnet.NAT {
	nat := withPorts(simnet.PortRestricted(), simnet.RandomPort)
	nat.Drift = keep
	return nat
}

// mappingsMoved returns how often servers were seen at another address than the one they had announced.
func (w *World) mappingsMoved() (n uint64) {
	for _, m := range w.machines {
		n += m.node.Status().Peering.MappingsChanged
	}
	return n
}
