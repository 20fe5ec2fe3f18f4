package sim

import (
	"math"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet/simstore"
	"github.com/dhtprom/dhtprom/app"
)

var restartScenario = &Scenario{
	Name:  "restart",
	About: "the scraper crashes: with its disk it scrapes on without any registration, without it clients come back by themselves",
	Nodes: 16, Clients: 10, For: 10 * time.Minute,
	Least: Least{Nodes: 8, Clients: 1, For: 5 * time.Second},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{})
		w.populate(s, w.opts.Clients, clientSetup{change: func(c *app.ClientConfig) { c.RegisterInterval = time.Hour }})
		w.run(10 * time.Second) // the last of them receives its acknowledgement
		before := w.check.registered
		for range 3 {
			w.phase("the scraper's machine crashes and boots again")
			s.crash()
			w.run(time.Second)
			s.restart()
			w.mustHeal(healWithin)
		}
		w.expect(w.check.registered == before, "%d clients had to register again", w.check.registered-before)
		w.phase("a client's machine is off for ten minutes; what it registers then is scraped at once, however long the scraper meant to wait")
		c := w.clients[0]
		c.crash()
		w.run(10 * time.Minute)
		c.restart()
		w.until("it is registered", startWithin, func() bool { return c.app.Status().Registered })
		w.run(2 * time.Second)
		_, err := w.scrapeNow(s, c.alias)
		w.expect(err == nil, "a client that is back cannot be scraped: %v", err)
		w.phase("the scraper's program is closed in good order and started again")
		s.close()
		w.run(10 * time.Second)
		s.host.Do(s.run)
		w.mustHeal(healWithin)
		w.phase("the scraper's machine crashes, and its disk is gone")
		s.crash()
		s.wipe()
		w.run(time.Second)
		s.restart()
		// The clients are not notified; they come with their next registration.
		w.run(time.Hour)
		w.mustHeal(healWithin)
	},
}

// wipe replaces the disk by an empty one.
func (s *scraper) wipe() {
	s.disk = simstore.NewDisk(simstore.Config{Seed: s.w.opts.Seed})
	s.ledger.wiped()
}

var powercutScenario = &Scenario{
	Name:  "powercut",
	About: "the power is cut after every single write to the disk: nothing acknowledged to a client is lost",
	Nodes: 8, Clients: 6, For: 2 * time.Minute,
	Least: Least{Nodes: 4, Clients: 1, For: 15 * time.Second},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		// The disk is slower than the internet, so an early acknowledgement is detected.
		s := w.addScraper("scraper", scraperSetup{disk: simstore.Config{WriteTime: 300 * time.Millisecond}})
		w.phase("%d clients, which register each minute", w.opts.Clients)
		cuts, last, over := 0, false, false
		var cut func()
		cut = func() {
			s.disk.CutPower(s.disk.Writes()+1, func() {
				cuts++
				w.log.say("power cut %d", cuts)
				s.crash()
				w.net.AfterFunc(2*time.Second, func() {
					s.restart()
					if over = last || cuts == 2*w.opts.Clients; !over {
						cut()
					}
				})
			})
		}
		cut()
		for i := range w.opts.Clients {
			w.addClient(s, clientSetup{
				at: nats()[i%len(nats())], change: func(c *app.ClientConfig) { c.RegisterInterval = time.Minute },
			})
			w.run(w.opts.For / time.Duration(w.opts.Clients))
		}
		w.reached(w.opts.For, func() bool { return cuts == 2*w.opts.Clients })
		last = true
		w.until("the scraper is up after the last power cut", startWithin, func() bool { return over })
		w.result.row("power cuts", "%d", cuts)
		w.expect(cuts >= w.opts.Clients, "only %d power cuts", cuts)
		w.mustHeal(healWithin)
	},
}

var diskScenario = &Scenario{
	Name:  "disk",
	About: "the scraper's disk refuses writes, says that it did although it did not, stalls and cannot be read; the machine crashes, too",
	Nodes: 8, Clients: 6, For: 10 * time.Minute,
	Least: Least{Nodes: 4, Clients: 1, For: 5 * time.Second},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{})
		w.populate(s, w.opts.Clients, clientSetup{change: func(c *app.ClientConfig) { c.RegisterInterval = time.Minute }})
		w.phase("for %v a third of all writes fails", w.opts.For)
		s.disk.SetConfig(simstore.Config{
			Seed: w.opts.Seed, FailWrite: 0.2, FailLate: 0.15, FailRead: 0.3, Stall: 0.1, StallFor: 3 * time.Second,
		})
		for range 4 {
			// New aliases and takeovers while the disk is bad.
			c := w.addClient(s, clientSetup{alias: w.clients[0].alias, change: func(c *app.ClientConfig) { c.RegisterInterval = time.Minute }})
			w.run(w.opts.For / 8)
			c.retire()
			s.crash()
			w.run(w.opts.For / 8)
			s.restart()
		}
		s.disk.SetConfig(simstore.Config{})
		w.mustHeal(time.Minute + healWithin) // a lost alias comes back with its client's next registration
	},
}

var flashcrowdScenario = &Scenario{
	Name:  "flashcrowd",
	About: "a scraper comes back after an outage in which all its clients tried to register: they do not come all at once",
	Nodes: 30, Clients: 100, For: 10 * time.Minute,
	Least: Least{Nodes: 16, Clients: 1, For: 5 * time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{})
		w.populate(s, w.opts.Clients, clientSetup{at: open, change: func(c *app.ClientConfig) { c.RegisterInterval = 2 * time.Minute }})
		w.phase("the scraper is down for %v, and its disk is lost", w.opts.For)
		s.crash()
		s.wipe()
		w.run(w.opts.For)
		w.check.watch("registers")
		w.phase("the scraper is back")
		s.restart()
		w.mustHeal(crowdWithin)
		w.run(crowdWithin)
		perSecond := w.check.watched()
		w.result.row("registrations tried per second after the outage", "%d at most, by %d clients", mostOf(perSecond), w.opts.Clients)
		w.result.Plots = append(w.result.Plots, timeline("Registrations tried after the outage", perSecond))
		// Each tries once in 30 to 60 seconds. Those that were trying when the scraper came back succeed together and come
		// together again, loosely, with their next registration.
		limit := max(mostInASecond(w.opts.Clients), 5)
		w.expect(mostOf(perSecond) <= limit, "%d registrations are tried in one second, %d were the bound", mostOf(perSecond), limit)
	},
}

// mostInASecond returns how many of n clients, each of which tries once within 30 seconds, do so in one second, but in one of 100,000 cases.
func mostInASecond(n int) (most int) {
	mean := float64(n) / 30
	p := math.Exp(-mean) // of Poisson's distribution
	for more := 1 - p; more > 1e-5; more -= p {
		most++
		p *= mean / float64(most)
	}
	return most
}

// crowdWithin bounds the time after an outage in which the table was lost until all are scraped: the longest wait between
// two tries, and one failure.
const crowdWithin = 2 * time.Minute
