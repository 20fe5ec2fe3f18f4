package sim

import (
	"time"

	"github.com/dhtprom/dhtprom/app"
)

// clockSetScenario sets the scraper's own wall clock. The rules acknowledged and expiry judge in steady time.
var clockSetScenario = &Scenario{
	Name:  "clockset",
	About: "the scraper's wall clock is set while it runs, and is wrong at a restart: no alias is lost by that, and none lives much longer",
	Nodes: 8, Clients: 4, For: 2 * time.Hour,
	Least: Least{Nodes: 4, Clients: 2, For: time.Hour},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		life := w.opts.For
		s := w.addScraper("scraper", scraperSetup{change: func(c *app.ScraperConfig) { c.Expiry, c.CheckInterval = life, life/24 }})
		for i := range w.opts.Clients {
			interval := life / 3
			if i == 0 {
				interval = 24 * time.Hour // registers once
			}
			w.addClient(s, clientSetup{at: nats()[i%len(nats())], change: func(c *app.ClientConfig) { c.RegisterInterval = interval }})
		}
		lazy := w.clients[0]
		w.allScrapeable(startWithin)
		w.run(10 * time.Second)
		stop := w.prometheus(s, 30*time.Second)
		clock := s.host.Clock()

		for _, by := range []time.Duration{24 * time.Hour, -50 * 365 * 24 * time.Hour, 50 * 365 * 24 * time.Hour, -25 * time.Hour} {
			w.phase("the scraper's clock is set by %v while it runs", by)
			clock.Jump(by)
			w.run(life / 60)
			w.mustHeal(startWithin)
		}
		w.phase("it restarts with a right clock: what has not been renewed has what is left of its time")
		clock.Jump(time.Hour)
		s.crash()
		w.run(time.Second)
		s.restart()
		w.mustHeal(healWithin)
		w.servedUntilExpiry(s, lazy)
		lazy.retired = true

		w.phase("it boots at the epoch of its clock, as a machine without a battery does, and the clock is set right later")
		off := 50 * 365 * 24 * time.Hour
		s.crash()
		clock.Jump(-off)
		w.run(time.Second)
		s.restart()
		w.mustHeal(healWithin)
		clock.Jump(off)
		w.run(life / 60)
		w.mustHeal(startWithin)

		w.phase("it boots with a clock that is days ahead: connected clients are served, though all have expired by that clock")
		s.crash()
		clock.Jump(72 * time.Hour)
		w.run(time.Second)
		s.restart()
		w.mustHeal(healWithin)
		w.run(2 * life / 3) // past the grace period
		w.mustHeal(startWithin)
		stop()
	},
}
