package sim

import (
	"math/rand/v2"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

var hangupsScenario = &Scenario{
	Name:  "hangups",
	About: "beside a Prometheus that waits, others request the same pages and hang up or time out: it gets every page, and their requests leave nothing behind",
	Nodes: 8, Clients: 6, For: 5 * time.Minute,
	Least: Least{Nodes: 4, Clients: 1, For: 30 * time.Second},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{at: home})
		w.populateAt(s, w.opts.Clients, setting{clients: steady()}, clientSetup{})
		slow := w.clients[0]
		slow.source.after = 2 * time.Second
		w.run(10 * time.Second)
		before := w.count(w.machines)

		w.phase("one waits, one hangs up at any moment, one has less patience than pages take")
		p := &impatient{w: w, s: s, random: w.randFor("hangups")}
		failed, scraped := 0, 0
		stop := w.scraping(s, func(err error) {
			scraped++
			if err != nil {
				failed++
			}
		})
		p.again()
		w.run(w.opts.For)
		p.over = true
		stop()
		w.run(scrapeWithin + scrapeMargin)
		w.result.row("scrapes that wait", "%d, of which %d failed", scraped, failed)
		w.result.row("scrapes of the others", "%d: %d hung up, %d ran out of time, %d had an answer", p.asked, p.hungUp, p.late, p.answered)
		w.expect(scraped > 0 && failed == 0, "%d of %d scrapes that wait fail", failed, scraped)
		w.expect(p.hungUp > 0 && p.late > 0, "%d scrapes were hung up on and %d ran out of time: nothing was tried", p.hungUp, p.late)
		w.expect(p.hungUp+p.late+p.answered == p.asked, "%d scrapes that hang up had neither an end nor an answer", p.asked-p.hungUp-p.late-p.answered)
		w.expect(slow.source.most <= 2*maxAsked, "%s collects %d times at once for scrapes that do not wait", slow.alias, slow.source.most)
		w.mustShrink(w.machines, before)
	},
}

// maxAsked is the largest number of concurrent scrapes of one client by impatient servers: those of the longest patience.
const maxAsked = int(hangUpMost/hangUpEach) + 1

const (
	// hangUpEach is the pause between two scrapes of one client.
	hangUpEach = 500 * time.Millisecond
	// hangUpMost is the longest time until a scrape is hung up on, or runs out of time.
	hangUpMost = 3 * time.Second
)

// impatient is a set of Prometheus servers that do not wait.
type impatient struct {
	w      *World
	s      *scraper
	random *rand.Rand
	over   bool

	asked, hungUp, late, answered int
}

// again scrapes all clients, each in one of two ways, and repeats that until it is over.
func (i *impatient) again() {
	if i.over {
		return
	}
	for _, c := range i.w.clients {
		patience := time.Duration(i.random.Int64N(int64(hangUpMost)))
		if i.random.IntN(2) == 0 {
			i.hangUp(c.alias, patience)
		} else {
			i.timeOut(c.alias, max(patience, time.Millisecond))
		}
	}
	i.w.net.AfterFunc(hangUpEach, i.again)
}

// hangUp scrapes, and cancels after a while.
func (i *impatient) hangUp(a domain.Alias, after time.Duration) {
	i.asked++
	i.s.host.Do(func() {
		answered, gone := false, false
		cancel := i.s.app.Scrape(a, scrapeWithin, func([]byte, error) {
			if gone {
				i.w.fail("outcome", "a cancelled scrape of %q at %s is answered", a, i.s.name)
				return
			}
			answered = true
			i.answered++
		})
		i.s.host.AfterFunc(after, func() {
			gone = true
			cancel() // after the answer, too, as a server does when a request ends
			if !answered {
				i.hungUp++
			}
		})
	})
}

// timeOut scrapes with a short timeout.
func (i *impatient) timeOut(a domain.Alias, within time.Duration) {
	i.asked++
	i.s.host.Do(func() {
		i.s.app.Scrape(a, within, func(_ []byte, err error) {
			if err != nil {
				i.late++
			} else {
				i.answered++
			}
		})
	})
}
