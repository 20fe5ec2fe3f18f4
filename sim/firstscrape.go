package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/ports/host"
)

var firstScrapeScenario = &Scenario{
	Name:  "firstscrape",
	About: "one client and one scraper, both at home behind a router: how the first metrics get from one to the other",
	Nodes: 8, Clients: 1, For: 30 * time.Second,
	Least: Least{Nodes: 4, Clients: 1, For: 5 * time.Second},
	Play: func(w *World) {
		w.phase("A private DHT of %d nodes: machines on the open internet, which will store the addresses of peers.", w.opts.Nodes)
		w.quietly(func() { w.bootNodes(w.opts.Nodes) })
		w.net.SetObserver(w.watchHomes)

		w.phase("A scraper boots, behind a home router that accepts packets only from addresses it has sent to. It learns its public address " +
			"from the nodes, and announces on three of them the hash of its key: a lookup of the key there finds it.")
		s := w.addScraper("scraper", scraperSetup{at: behind(simnet.PortRestricted())})
		w.run(5 * time.Second)

		w.phase("A client boots, behind another such router. It announces itself in the same way, for the scraper to find, and " +
			"registers an alias. It finds the scraper's key on the DHT, and a node that both know passes their first two messages " +
			"on, which agree on keys. Then both send to each other's public address at the same time until both routers are open.")
		c := w.addClient(s, clientSetup{alias: "web-1", at: behind(simnet.PortRestricted())})
		w.until("the client is registered", startWithin, func() bool { return c.app.Status().Registered })

		w.phase("The client has proven that it holds the key that it registered, so the scraper needs no second connection. " +
			"Prometheus asks the scraper for the metrics of web-1.")
		w.run(time.Second)
		took, err := w.scrapeNow(s, "web-1")
		w.expect(err == nil, "the scrape fails: %v", err)
		w.log.tell("prometheus", "has the metrics of web-1 after %v", took.Round(time.Millisecond))

		w.phase("%v later the connection is still open; nothing is announced or punched again.", w.opts.For)
		w.run(w.opts.For)
		took, err = w.scrapeNow(s, "web-1")
		w.expect(err == nil, "the second scrape fails: %v", err)
		w.log.tell("prometheus", "has the metrics of web-1 after %v", took.Round(time.Millisecond))

		w.phase("The client is stopped. It deregisters, and the alias is gone at once.")
		c.retire()
		_, err = w.scrapeNow(s, "web-1")
		w.log.tell("prometheus", "receives: %v", err)
		w.expect(err != nil, "a client that has gone is scraped")
		w.net.SetObserver(w.observe)
	},
}

// watchHomes adds trace events of clients and scrapers to the transcript.
func (w *World) watchHomes(h *simnet.Host, e host.Event) {
	w.observe(h, e)
	m := w.byName[h.Name()]
	if m == nil || m.isNode {
		return
	}
	text, err := e.AppendText(nil)
	if err != nil {
		text = fmt.Append(nil, err)
	}
	w.log.tell(m.name, "  · %s", w.named(string(text)))
}

// named replaces the beginnings of keys by names.
func (w *World) named(text string) string {
	before, after, found := strings.Cut(text, "peer=")
	if !found {
		return text
	}
	short, rest, _ := strings.Cut(after, " ")
	if name := w.names.byShort[short]; name != "" {
		short = name
	}
	return before + "peer=" + short + " " + rest
}

// quietly plays a part without logging its phases.
func (w *World) quietly(part func()) {
	w.story.quiet = true
	part()
	w.story.quiet = false
}
