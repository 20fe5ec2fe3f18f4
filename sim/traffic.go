package sim

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

var trafficScenario = &Scenario{
	Name:  "traffic",
	About: "what clients, their scraper, the DHT and a relay send to each other while nothing happens, for a restart of the scraper, and for scrapes",
	Nodes: 30, Clients: 20, For: time.Hour,
	Least: Least{Nodes: 8, Clients: 2, For: 10 * time.Minute},
	Large: true, // only to measure
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		home := behind(simnet.PortRestricted())
		s := w.addScraper("scraper", scraperSetup{})
		w.populateAt(s, w.opts.Clients, setting{clients: []place{home}}, clientSetup{})
		w.run(5 * time.Minute) // until routing tables are full
		w.measureTraffic(s, "direct", w.clients)

		w.phase("as many clients that a relay connects")
		near := w.clients
		for _, c := range near {
			c.retired = true
			c.close()
		}
		how := dht.Config{RelayThrough: []domain.PublicKey{domain.PublicKey(w.addRelay("relay"))}}
		random := behind(simnet.SymmetricRandom())
		far := w.addScraper("far", scraperSetup{at: random, transport: how})
		w.populateAt(far, w.opts.Clients, setting{clients: []place{random}, transport: how}, clientSetup{})
		w.run(5 * time.Minute)
		w.measureTraffic(far, "relayed", w.clients[len(near):])
	},
}

// An idle client may exchange so many datagrams in an hour: with the DHT for its own node and its announcement, and with its scraper, or the
// relay between them, for keepalives.
const (
	idleWithDHT     = 14_000
	idleWithScraper = 6_000
)

// measureTraffic measures an idle time, a restart of a scraper, and scrapes.
func (w *World) measureTraffic(s *scraper, what string, clients []*client) {
	n := len(clients)
	w.phase("%s: nothing happens for %v", what, w.opts.For)
	t := w.traffic(s)
	w.run(w.opts.For)
	hours := w.opts.For.Hours()
	idle := t.end()
	show := func(when string, c byFlow, pair flow, per float64, unit string) {
		if got := c[pair]; got.datagrams > 0 {
			w.result.row(fmt.Sprintf("%s, %s: %s and %s", what, when, pair[0], pair[1]), "%.1f datagrams, %.0f bytes %s",
				float64(got.datagrams)/per, float64(got.bytes)/per, unit)
		}
	}
	withClients := []flow{{ofClient, ofScraper}, {ofClient, ofNode}, {ofClient, ofRelay}, {ofScraper, ofRelay}}
	for _, pair := range withClients {
		show("idle", idle, pair, float64(n)*hours, "for each client and hour")
	}
	show("idle", idle, flow{ofScraper, ofNode}, hours, "in an hour") // it does not depend on the number of clients
	perHour := func(pair flow) float64 { return float64(idle[pair].datagrams) / float64(n) / hours }
	withDHT, withScraper := perHour(flow{ofClient, ofNode}), perHour(flow{ofClient, ofScraper})+perHour(flow{ofClient, ofRelay})
	w.expect(withDHT <= idleWithDHT, "%s: an idle client exchanges %.0f datagrams an hour with the DHT", what, withDHT)
	w.expect(withScraper <= idleWithScraper, "%s: an idle client exchanges %.0f datagrams an hour with its scraper", what, withScraper)

	w.phase("%s: the scraper is restarted", what)
	s.crash()
	t = w.traffic(s)
	s.restart()
	w.until("all are connected", reunionWithin, func() bool { return s.app != nil && s.app.Sessions()[domain.SessionOpen] == n })
	again := t.end()
	for _, pair := range append(withClients, flow{ofScraper, ofNode}) {
		show("restart", again, pair, float64(n), "for each client")
	}

	w.phase("%s: all are scraped", what)
	const rounds = 20
	t = w.traffic(s)
	for range rounds {
		for _, c := range clients {
			if _, err := w.scrapeNow(s, c.alias); err != nil {
				w.fail("outcome", "%s cannot be scraped: %v", c.alias, err)
			}
		}
	}
	scraped := t.end()
	for _, pair := range []flow{{ofClient, ofScraper}, {ofClient, ofRelay}, {ofScraper, ofRelay}} {
		show("scrapes", scraped, pair, float64(n*rounds), "for each scrape, keepalives included")
	}
}

// role classifies machines.
type role string

// The roles.
const (
	ofClient  role = "client"
	ofScraper role = "scraper"
	ofNode    role = "DHT"
	ofRelay   role = "relay"
)

// flow is a pair of roles whose machines exchange datagrams.
type flow [2]role

// byFlow has the datagrams, with the bytes of their payloads, by flow.
type byFlow map[flow]struct{ datagrams, bytes int }

// trafficCount counts datagrams.
type trafficCount struct {
	w *World
	c byFlow
}

// traffic counts datagrams by the roles of their senders and receivers.
func (w *World) traffic(s *scraper) *trafficCount {
	t := &trafficCount{w, byFlow{}}
	roles := map[netip.Addr]role{}
	for _, m := range w.machines {
		is := ofClient
		switch {
		case m == s.machine:
			is = ofScraper
		case m.isRelay:
			is = ofRelay
		case m.isNode:
			is = ofNode
		}
		roles[m.host.Addr()] = is
		if m.router != nil {
			roles[m.router.Addr()] = is
		}
	}
	w.net.SetFilter(func(d simnet.Datagram) bool {
		a, b := roles[d.From.Addr()], roles[d.To.Addr()]
		for _, pair := range []flow{{a, b}, {b, a}} {
			if pair[0] < pair[1] || a == b {
				got := t.c[pair]
				got.datagrams++
				got.bytes += len(d.Payload)
				t.c[pair] = got
				break
			}
		}
		return true
	})
	return t
}

// end returns what was counted. The pairs of roles are in both orders.
func (t *trafficCount) end() byFlow {
	t.w.net.SetFilter(nil)
	for pair, got := range t.c {
		t.c[flow{pair[1], pair[0]}] = got
	}
	return t.c
}
