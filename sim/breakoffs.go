package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

var breakOffsScenario = &Scenario{
	Name:  "breakoffs",
	About: "scrapes are cancelled, and connections break, at any byte of a response: nothing is left of them, and a slow exporter holds up no other",
	Nodes: 8, Clients: 4, For: 4 * time.Minute,
	Least: Least{Nodes: 4, Clients: 1, For: time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{at: home})
		w.populateAt(s, w.opts.Clients, setting{clients: steady()}, clientSetup{})
		slow, large := w.clients[0], w.clients[len(w.clients)-1]
		slow.source.after, large.source.long = 2*time.Second, 256<<10

		b := &breakOffs{w: w, s: s, random: w.randFor("breakoffs")}
		b.again()
		w.unsettled(func() {
			for _, fault := range []struct {
				what string
				do   func(c *client)
			}{
				{"nothing else happens", func(*client) {}},
				{"clients crash, and boot again", func(c *client) { c.restart() }},
				{"clients behind routers lose their line for a second", func(c *client) {
					if c.router == nil {
						return
					}
					c.router.SetAccess(simnet.Link{Loss: 1})
					w.run(time.Second)
					c.router.SetAccess(simnet.Link{})
				}},
				{"the scraper crashes, and boots again", func(*client) { s.restart() }},
			} {
				w.phase("scrapes are cancelled at any moment, and %s", fault.what)
				for i := range faultsEach {
					fault.do(w.clients[i%len(w.clients)])
					w.run(w.opts.For / 4 / faultsEach)
				}
			}
		})
		b.over = true
		w.mustHeal(healWithin)
		w.run(scrapeWithin + scrapeMargin)
		w.expect(b.cancelled > 0 && b.under > 0, "%d scrapes were cancelled, %d were seen: nothing was tried", b.cancelled, b.under)
		w.expect(b.late == 0, "%d cancelled scrapes were answered", b.late)
		for _, m := range w.machines {
			m.sizes(func(what string, held, _ int) {
				if slices.Contains(ofScrapes, what) {
					w.expect(held == 0, "%s holds %d %s of scrapes that have ended", m.name, held, what)
				}
			})
		}
		w.result.row("scrapes that break off", "%d, of which %d were cancelled before their answer", b.asked, b.cancelled)

		w.phase("an exporter that takes longer than its scrapes have holds up no other")
		slow.source.after = 2 * scrapeWithin
		longest, failed := time.Duration(0), 0
		for range slowRounds {
			for _, c := range w.clients {
				w.scrape(s, c.alias, func(took time.Duration, err error) {
					switch {
					case c == slow:
					case err != nil:
						failed++
					default:
						longest = max(longest, took)
					}
				})
			}
			w.run(slowEvery)
		}
		w.run(scrapeWithin + scrapeMargin)
		w.expect(failed == 0 && longest < besideSlow, "beside a slow exporter %d scrapes fail, and the longest takes %v", failed, longest)
		w.result.row("scrapes beside a slow exporter", "the longest took %v", longest)
	},
}

const (
	// faultsEach is the number of faults of a kind.
	faultsEach = 4
	// breakOffEach is the pause between two scrapes of one client, breakOffMost the longest time until one is cancelled.
	breakOffEach = 500 * time.Millisecond
	breakOffMost = time.Second
	// slowRounds is the number of scrapes of each client beside a slow exporter, slowEvery the time between two.
	slowRounds, slowEvery = 10, 3 * time.Second
	// besideSlow is the time of a scrape that nothing holds up: a large page over a home's line.
	besideSlow = 5 * time.Second
)

// ofScrapes lists what scrapes hold while they are under way.
var ofScrapes = []string{
	"scrapes of one client under way", "collections of texts", "collections of texts for one scraper that wait", "collections of a target for one scraper",
	"requests on links", "requests on channels", "scrapes on links", "scrapes on channels", "responses on channels", "credit of scrapes",
	"answers being collected", "requests on one connection that wait for room",
}

// breakOffs scrapes all clients and cancels each scrape at a random moment.
type breakOffs struct {
	w      *World
	s      *scraper
	random *rand.Rand
	over   bool

	asked, cancelled, late, under int // under: seen on channels
}

func (b *breakOffs) again() {
	if b.over {
		return
	}
	b.w.net.AfterFunc(breakOffEach, b.again)
	if b.s.app == nil || !b.s.up() {
		return
	}
	b.under += max(holdsOf(b.s.machine, "scrapes on channels"), 0)
	for _, c := range b.w.clients {
		after := time.Duration(b.random.Int64N(int64(breakOffMost)))
		b.asked++
		b.s.host.Do(func() {
			answered, gone := false, false
			cancel := b.s.app.Scrape(c.alias, scrapeWithin, func([]byte, error) {
				if answered = true; gone {
					b.late++
				}
			})
			b.s.host.AfterFunc(after, func() {
				gone = true
				if cancel(); !answered {
					b.cancelled++
				}
			})
		})
	}
}
