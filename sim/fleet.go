package sim

import (
	"fmt"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

var fleetScenario = &Scenario{
	Name:  "fleet",
	About: "a scraper with thousands of clients stops in good order, starts, crashes and loses its site: it stops in time and is connected soon",
	Nodes: 30, Clients: 5_000, For: 10 * time.Second,
	Least: Least{Nodes: 16, Clients: 1, For: 5 * time.Second},
	Large: true, Coarse: true,
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{})
		spread := time.Duration(w.opts.Clients) * time.Second / 50
		w.phase("%d clients, which boot within %v", w.opts.Clients, spread)
		kinds := []place{behind(simnet.PortRestricted()), behind(simnet.FullCone()), open, behind(simnet.RestrictedCone())}
		for i := range w.opts.Clients {
			w.net.AfterFunc(spread*time.Duration(i)/time.Duration(w.opts.Clients), func() {
				w.addClient(s, clientSetup{at: kinds[i%len(kinds)]})
			})
		}
		w.run(spread)
		w.connect(s, "first start", 50, 95, 100)

		w.phase("the scraper stops in good order")
		w.stopFleet(s)
		w.run(w.opts.For)
		w.phase("it starts again")
		s.host.Do(s.run)
		w.bootGone()
		before, failed := w.result.Scrapes, w.failedScrapes()
		w.run(step) // the table is loaded
		end := w.prometheus(s, scrapeEvery)
		w.connect(s, "restart", 50, 95, 100)
		w.run(scrapeEvery)
		end()
		w.run(scrapeWithin)
		w.result.row("scrapes from the restart on", "%d each %v, %d failed", w.result.Scrapes-before, scrapeEvery, w.failedScrapes()-failed)

		w.phase("the scraper crashes and boots again")
		s.crash()
		w.run(w.opts.For)
		s.restart()
		w.connect(s, "restart after a crash", 50, 95, 100)

		w.phase("the power of all machines with clients and of the scraper's is cut; they boot within a second")
		s.crash()
		for _, c := range w.clients {
			c.crash()
		}
		w.run(w.opts.For)
		s.restart()
		for i, c := range w.clients {
			w.net.AfterFunc(time.Second*time.Duration(i)/time.Duration(len(w.clients)), c.restart)
		}
		w.run(time.Second)
		w.connect(s, "power cut at all sites", 50, 100)
	},
}

// scrapeEvery is the scrape interval of Prometheus while the scraper connects to all clients.
const scrapeEvery = 15 * time.Second

// connectWithin bounds the time in which a scraper connects to a share of its clients, in percent: 250 a second, after it
// has joined the DHT. The last ones are dialled at an old address, or before they are back, and again ten seconds later.
func connectWithin(share, clients int) time.Duration {
	d := 1500*time.Millisecond + time.Duration(clients)*4*time.Millisecond
	if share == 100 {
		d += 15 * time.Second
	}
	return d
}

// connect lets time pass until the scraper has a connection to each client, and records how long that takes.
func (w *World) connect(s *scraper, what string, shares ...int) {
	began, failed, count := w.net.Now(), w.check.dials, w.countDatagrams(s.machine)
	for _, share := range shares {
		want := (len(w.clients)*share + 99) / 100
		ok := w.reached(began+connectWithin(share, len(w.clients))-w.net.Now(), func() bool { return s.app != nil && s.app.Sessions()[domain.SessionOpen] >= want })
		w.expect(ok, "%s: %d of %d clients are connected", what, s.app.Sessions()[domain.SessionOpen], len(w.clients))
		w.result.row(fmt.Sprintf("%s: connected to %d %%", what, share), "%v", (w.net.Now() - began).Round(step))
	}
	w.result.row(what+": handshakes", "%d read, refused: %+v", s.node.Status().Peering.HandshakesRead, s.node.Status().Peering.Refused)
	w.result.row(what+": cost", "%d datagrams with the scraper, %d dials, %d failed", count(), s.app.Stats().Dials, w.check.dials-failed)
}

// countDatagrams counts the datagrams from and to a machine until the returned function is called.
func (w *World) countDatagrams(m *machine) (count func() int) {
	n := 0
	w.net.SetFilter(func(d simnet.Datagram) bool {
		if d.From.Addr() == m.host.Addr() || d.To.Addr() == m.host.Addr() {
			n++
		}
		return true
	})
	return func() int {
		w.net.SetFilter(nil)
		return n
	}
}

// stopFleet stops a scraper while one in fifty of its clients has just lost its power, and records the cost.
func (w *World) stopFleet(s *scraper) {
	gone := 0
	for i := 0; i < len(w.clients); i += 50 {
		w.clients[i].crash()
		gone++
	}
	began, dials, count := w.net.Now(), s.app.Stats().Dials, w.countDatagrams(s.machine)
	s.close()
	took, exchanged := w.net.Now()-began, count()
	w.result.row("stop", "%v, %d datagrams with the scraper, %d dials", took, exchanged, s.app.Stats().Dials-dials)
	held := 0
	for _, c := range w.clients {
		if c.up() && c.app.Status().Connections > 0 {
			held++
		}
	}
	w.result.row("clients that still hold a connection then", "%d of %d, %d gone", held, len(w.clients), gone)
	// Only the unacknowledged ends of connections to lost clients are waited for.
	w.expect(took <= stopWithin, "the stop takes %v, %v are the bound", took, stopWithin)
	w.expect(held == 0, "%d clients were not notified that the scraper stops", held)
	limit := 200 + 8*len(w.clients)
	w.expect(exchanged <= limit, "the stop takes %d datagrams, %d are the bound", exchanged, limit)
	w.expect(s.app.Stats().Dials == dials, "the stop dials %d times", s.app.Stats().Dials-dials)
}

// stopWithin is the time for which a scraper waits for clients that no longer answer (adapters/dht closeGrace), with a
// margin.
const stopWithin = 3500 * time.Millisecond

// bootGone restarts the clients that lost their power while the scraper stopped.
func (w *World) bootGone() {
	for _, c := range w.clients {
		if c.node == nil {
			c.restart()
		}
	}
}
