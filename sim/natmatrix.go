package sim

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

// The ways on which a scraper can reach a client.
const (
	wayDirect  = "direct"         // one of them is reachable without help
	wayPunched = "punched"        // both send until both NATs are open
	wayRandom  = "random-punched" // one NAT gives every remote another port, which has to be guessed
	wayRelayed = "relayed"        // over a third party
	wayNone    = "refused"
)

// pairing is one pair of routers.
type pairing struct {
	scraper, client simnet.Preset
	relay           bool
	s               *scraper
	c               *client
	sent            int // datagrams of both, until the first scrape
	began, took     time.Duration
	path            domain.Path // of the connection that was scraped first
}

func (p *pairing) String() string {
	relay := "no relay"
	if p.relay {
		relay = "a relay"
	}
	return fmt.Sprintf("scraper %s, client %s, %s", p.scraper.Name, p.client.Name, relay)
}

func isRandom(n simnet.NAT) bool {
	return n.Mapping == simnet.AddressDependent || n.Mapping == simnet.AddressAndPortDependent && !portPreserved(n)
}

// portPreserved reports whether a mapping for each remote end still has the same port towards all of them, as long as
// no other inside host wants it.
func portPreserved(n simnet.NAT) bool { return n.Ports == simnet.PreservePort }

func isOpen(n simnet.NAT) bool {
	return n.Mapping == simnet.Never && n.Filtering == simnet.Never && !n.Block
}

// expected lists the ways that are right for a pair.
func (p *pairing) expected() []string {
	a, b := p.scraper.NAT, p.client.NAT
	switch {
	case a.Block || b.Block:
		return []string{wayNone}
	case isOpen(a):
		return []string{wayDirect}
	// An open client registers half a second after it has booted, and does not know yet that it can be reached.
	case isOpen(b) && isRandom(a):
		return []string{wayDirect, wayPunched, wayRandom, wayRelayed}
	case isOpen(b):
		return []string{wayDirect, wayPunched}
	case isRandom(a) && isRandom(b) && p.relay:
		return []string{wayRelayed}
	case isRandom(a) && isRandom(b):
		return []string{wayNone}
	case (isRandom(a) || isRandom(b)) && p.relay:
		// The relay is quicker, and the guessing goes on meanwhile.
		return []string{wayRelayed, wayRandom}
	case isRandom(a) || isRandom(b):
		return []string{wayRandom}
	}
	return []string{wayPunched}
}

// way is on which they met, by what the scraper was told of its connection and both nodes counted.
func (p *pairing) way() string {
	if p.took == 0 {
		return wayNone
	}
	a, b := p.s.node.Status().Peering, p.c.node.Status().Peering
	switch {
	case p.path == domain.PathRelay:
		return wayRelayed
	case p.path == domain.PathDirect:
		return wayDirect
	case a.PunchesRandom+b.PunchesRandom > 0:
		return wayRandom
	}
	return wayPunched
}

// within is how long the first scrape may take from the client's boot on each way.
func within(way string) time.Duration {
	switch way {
	case wayRandom:
		return 90 * time.Second // 1750 guesses of 20 ms, a pause of 20 s where they were in vain, and again
	case wayRelayed:
		return 5 * time.Second
	}
	return 2 * time.Second
}

var natMatrixScenario = &Scenario{
	Name:  "natmatrix",
	About: "every pair of kinds of routers, with a relay and without: on which way they meet, how fast, and with how many datagrams",
	Nodes: 12, Clients: 1, For: 4 * time.Minute,
	Least:  Least{Nodes: 12, Clients: 1, For: 30 * time.Second},
	Coarse: true,
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		relay := domain.PublicKey(w.addRelay("relay"))
		var all []*pairing
		for _, withRelay := range []bool{false, true} {
			for _, a := range simnet.Presets() {
				for _, b := range simnet.Presets() {
					all = append(all, &pairing{scraper: a, client: b, relay: withRelay})
				}
			}
		}
		w.phase("%d pairs", len(all))
		for i, p := range all {
			w.pairUp(i, p, relay)
		}
		w.meet(all)
		w.tabulatePairs(all)
	},
}

// pairUp boots the two machines of a pair; they do not wait for each other.
func (w *World) pairUp(i int, p *pairing, relay domain.PublicKey) {
	var transport dht.Config
	if p.relay {
		transport.RelayThrough = []domain.PublicKey{relay}
	}
	p.s = w.newScraper(fmt.Sprintf("scraper-%d", i), scraperSetup{at: behind(p.scraper.NAT), transport: transport})
	p.s.boot()
	p.c = w.addClient(p.s, clientSetup{at: behind(p.client.NAT), transport: transport, late: true})
}

// meet boots the clients once their scrapers have had time to announce themselves, and scrapes until it works.
func (w *World) meet(all []*pairing) {
	w.run(15 * time.Second)
	counting := map[netip.Addr]*pairing{}
	for _, p := range all {
		counting[p.s.host.Addr()], counting[p.c.host.Addr()] = p, p
	}
	w.net.SetFilter(func(d simnet.Datagram) bool {
		if p := counting[d.From.Addr()]; p != nil && p.began > 0 && p.took == 0 {
			p.sent++
		}
		return true
	})
	for i, p := range all {
		// One after the other, so that the transcript can be read.
		w.net.AfterFunc(time.Duration(i)*50*time.Millisecond, func() {
			p.began = w.net.Now()
			p.c.boot()
			var again func()
			again = func() {
				w.ask(p.s, p.c.alias, w.result.polled, func(_ time.Duration, err error) {
					switch {
					case err == nil:
						p.took = w.net.Now() - p.began
						p.path = p.s.app.Aliases()[0].Peer.Path
					default:
						w.net.AfterFunc(250*time.Millisecond, again)
					}
				})
			}
			again()
		})
	}
	w.run(w.opts.For)
	// Longer than NATs remember what is not used: the connections must have been kept alive.
	for _, p := range all {
		if p.took > 0 {
			_, err := w.scrapeNow(p.s, p.c.alias)
			w.expect(err == nil, "%s: a scrape after an idle while fails: %v", p, err)
		}
	}
}

func (w *World) tabulatePairs(all []*pairing) {
	ways := map[string]int{}
	for _, p := range all {
		way, ok := p.way(), false
		want := p.expected()
		for _, e := range want {
			ok = ok || way == e
		}
		ways[way]++
		w.expect(ok, "%s: %s, expected %v", p, way, want)
		if way == wayNone {
			w.result.row(p.String(), "%s", way)
			continue
		}
		w.expect(p.took <= within(way), "%s: %s, but only after %v", p, way, p.took)
		w.result.row(p.String(), "%s after %v, %d datagrams", way, p.took.Round(time.Millisecond), p.sent)
	}
	bars := Plot{Title: "Ways on which pairs of routers meet", X: "way", Y: "pairs", Bars: true}
	for i, way := range []string{wayDirect, wayPunched, wayRandom, wayRelayed, wayNone} {
		bars.Labels = append(bars.Labels, way)
		bars.Points = append(bars.Points, Point{float64(i), float64(ways[way])})
	}
	w.result.Plots = append(w.result.Plots, bars)
	var connect []time.Duration
	for _, p := range all {
		if p.took > 0 {
			connect = append(connect, p.took)
		}
	}
	w.result.Plots = append(w.result.Plots, histogram("Time from boot to first scrape", connect))
}
