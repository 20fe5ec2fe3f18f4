package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/uplinks"
	"github.com/dhtprom/dhtprom/domain"
)

// The paths on which a scraper can reach a client.
const (
	wayLAN     = "on their LAN"   // both are behind the same router
	wayDirect  = "direct"         // one of them is reachable without help
	wayPunched = "punched"        // both send until both NATs are open
	wayRandom  = "random-punched" // one NAT gives every remote end another port, which has to be guessed
	wayRelayed = "relayed"        // over a relay
	wayTURN    = "over TURN"      // a TURN server carries the datagrams of one of them, or of both
	wayNone    = "refused"
)

// pairing is a pair of places.
type pairing struct {
	scraper, client string // kinds of places
	relay           bool
	known           bool // the client knows the scraper's address, at webPort
	at              func(w *World) (scraper, client place)

	want string // the expected path
	// race lists paths that are right, too, where it depends on milliseconds; why explains on what. At most maxEarlyGuesses
	// pairs of the table may take another path than want.
	race []string
	why  string

	s           *scraper
	c           *client
	sent        int // datagrams of both, until the first scrape
	began, took time.Duration
	path        domain.Path // of the connection that was scraped first
}

// maxEarlyGuesses bounds the pairs that may meet by an early right guess where a relay is expected: of some fifty, a third.
// A relayed connection opens after a few round trips, in which two of our nodes make a dozen guesses.
const maxEarlyGuesses = 16

func (p *pairing) String() string {
	relay := "no relay"
	if p.relay {
		relay = "a relay"
	}
	return fmt.Sprintf("scraper %s, client %s, %s", p.scraper, p.client, relay)
}

func isRandom(n simnet.NAT) bool { return n.Mapping > simnet.EndpointIndependent && !portPreserved(n) }

// portPreserved reports whether a mapping for each remote end still has the same port towards all of them, as long as
// no other inside host wants it.
func portPreserved(n simnet.NAT) bool { return n.Ports == simnet.PreservePort && n.Overload }

func isOpen(n simnet.NAT) bool {
	return n.Mapping == simnet.Never && n.Filtering == simnet.Never && !n.Block
}

// routers is a pair behind two routers.
func routers(scraper, client simnet.Preset, relay bool) *pairing {
	a, b := scraper.NAT, client.NAT
	p := &pairing{
		scraper: scraper.Name, client: client.Name, relay: relay,
		at: places(behind(a), behind(b)),
	}
	switch {
	case a.Block || b.Block:
		p.want = wayNone
	case isOpen(a) || isOpen(b):
		p.want = wayDirect
	case isRandom(a) && isRandom(b) && relay:
		p.want = wayRelayed
	case isRandom(a) && isRandom(b):
		p.want = wayNone
	case (isRandom(a) || isRandom(b)) && relay:
		p.want, p.race, p.why = wayRelayed, []string{wayRandom}, "a guess may succeed before the relay is there"
	case isRandom(a) || isRandom(b):
		p.want = wayRandom
	default:
		p.want = wayPunched
	}
	return p
}

// webOnly returns pairs of a scraper on the open internet and a client whose router lets out one port.
func webOnly() (all []*pairing) {
	for _, p := range simnet.Presets() {
		if p.NAT.Filtering == simnet.Never {
			continue
		}
		for _, known := range []bool{true, false} {
			pair := &pairing{
				scraper: "open", client: p.Name + " that lets out one port, without its address", known: known, want: wayNone,
				at: places(open, onePort(p.NAT)),
			}
			if known {
				pair.client, pair.want = p.Name+" that lets out one port", wayDirect
			}
			all = append(all, pair)
		}
	}
	return all
}

// overTURN returns pairs in which the network of one machine, or of both, passes no UDP, and TURN servers are its way out.
func overTURN(servers *turnServers) (all []*pairing) {
	const name = "on TURN"
	blocked := behind(simnet.UDPBlocked()).with(servers)
	for _, p := range simnet.Presets() {
		if p.NAT.Block {
			continue
		}
		all = append(all,
			&pairing{scraper: name, client: p.Name, want: wayTURN, at: places(blocked, behind(p.NAT))},
			&pairing{scraper: p.Name, client: name, want: wayTURN, at: places(behind(p.NAT), blocked)})
	}
	return append(all,
		&pairing{scraper: name, client: name, want: wayTURN, at: places(blocked, blocked)},
		&pairing{scraper: "open, at a known address", client: name, known: true, want: wayTURN, at: places(open, blocked)},
		&pairing{scraper: name, client: "port-restricted that lets out one port", want: wayNone, at: places(blocked, onePort(simnet.PortRestricted()))})
}

// places returns two places for any world.
func places(scraper, client place) func(*World) (place, place) {
	return func(*World) (place, place) { return scraper, client }
}

// nested returns pairs in which routers stand behind routers, or both machines behind the same one.
func nested(relay bool) []*pairing {
	home, random := simnet.PortRestricted(), simnet.SymmetricRandom()
	hairpin := home
	hairpin.Hairpin = true
	outer := func(w *World, nat simnet.NAT) *simnet.Segment {
		return w.net.AddRouter(fmt.Sprintf("outer router %d", w.addrs.public), nat, w.addrs.newPublic()).LAN()
	}
	inside := func(nat simnet.NAT) func(*World) (place, place) {
		return func(w *World) (place, place) { return behind(home), behind(home).under(outer(w, nat)) }
	}
	lan := func(nat simnet.NAT) func(*World) (place, place) {
		return func(w *World) (place, place) {
			on := outer(w, nat)
			return place{on: on}, place{on: on}
		}
	}
	neighbours := func(nat simnet.NAT) func(*World) (place, place) {
		return func(w *World) (place, place) {
			on := outer(w, nat)
			return behind(home).under(on), behind(home).under(on)
		}
	}
	perAddress := simnet.NAT{Mapping: simnet.AddressDependent, Filtering: simnet.AddressDependent, Overload: true}
	perAddressRandom := perAddress
	perAddressRandom.Ports = simnet.RandomPort
	with := func(direct string) string {
		if relay {
			return wayRelayed
		}
		return direct
	}
	hairpins := &pairing{
		scraper: "port-restricted", client: "port-restricted, both in one carrier's that hairpins", at: neighbours(hairpin), want: with(wayPunched),
	}
	all := []*pairing{
		{scraper: "port-restricted", client: "port-restricted twice over", at: inside(home), want: wayPunched},
		{scraper: "port-restricted", client: "port-restricted in a carrier's full cone", at: inside(simnet.FullCone()), want: wayPunched},
		{scraper: "port-restricted", client: "port-restricted in a carrier's symmetric-random", at: inside(random), want: with(wayRandom)},
		{scraper: "with the client", client: "behind one router", at: lan(home), want: wayLAN},
		{scraper: "with the client", client: "behind one router that hairpins", at: lan(hairpin), want: wayLAN},
		{scraper: "port-restricted", client: "port-restricted, both in one carrier's", at: neighbours(home), want: with(wayNone)},
		hairpins,
		{scraper: "port-restricted", client: "a port per address, the same one", want: wayPunched,
			at: places(behind(home), behind(perAddress))},
		{scraper: "port-restricted", client: "a port per address, any", want: with(wayRandom),
			at: places(behind(home), behind(perAddressRandom))},
	}
	for _, p := range all {
		p.relay = relay
		if relay && p.want == wayRelayed {
			p.race, p.why = []string{wayRandom}, "a guess may succeed before the relay is there"
		}
		if p == hairpins {
			p.race, p.why = []string{wayPunched}, "the second round of probes may come before the first scrape"
		}
	}
	return all
}

// way returns the path on which they met, by the scraper's event about its connection and the counts of both nodes.
func (p *pairing) way() string {
	if p.took == 0 {
		return wayNone
	}
	switch {
	case p.path == domain.PathRelay:
		return wayRelayed
	case p.s.uplink() == uplinks.TURN.String() || p.c.uplink() == uplinks.TURN.String():
		return wayTURN
	case p.path == domain.PathDirect:
		return wayDirect
	case p.path == domain.PathLAN:
		return wayLAN
	case p.guessed():
		return wayRandom
	}
	return wayPunched
}

// guessed reports whether they met by guessing ports, as a random NAT and a machine on TURN do, too: servers let datagrams of a host in that
// was written to, from any port, but a node does not know that.
func (p *pairing) guessed() bool {
	return p.s.node.Status().Peering.PunchesRandom+p.c.node.Status().Peering.PunchesRandom > 0
}

// within bounds the time from the client's boot to the first scrape, for each path.
func (p *pairing) within(way string) time.Duration {
	switch {
	case p.guessed():
		return 90 * time.Second // 1750 guesses of 10 ms, a pause of 20 s where they failed, and again
	case way == wayRelayed:
		return 5 * time.Second
	case way == wayTURN:
		return coldWithin
	}
	return 2500 * time.Millisecond // behind a carrier's router that hairpins: the second round of probes, after 2 s
}

var natMatrixScenario = &Scenario{
	Name:  "natmatrix",
	About: "every pair of kinds of routers, with a relay and without, and with TURN: on which way they meet, how fast, and with how many datagrams",
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
					all = append(all, routers(a, b, withRelay))
				}
			}
			all = append(all, nested(withRelay)...)
		}
		all = append(all, webOnly()...)
		servers := w.newTURN(1)
		all = append(all, overTURN(servers)...)
		w.phase("%d pairs", len(all))
		for i, p := range all {
			w.pairUp(i, p, relay)
		}
		w.meet(all, servers)
		w.tabulatePairs(all)
	},
}

// pairUp boots the two machines of a pair without waiting for either.
func (w *World) pairUp(i int, p *pairing, relay domain.PublicKey) {
	var transport dht.Config
	if p.relay {
		transport.RelayThrough = []domain.PublicKey{relay}
	}
	scraper, client := p.at(w)
	s, c := scraperSetup{at: scraper, transport: transport}, clientSetup{at: client, transport: transport, late: true}
	if p.known {
		s.public = domain.Address{Host: fmt.Sprintf("scraper-%d.example", i), Port: webPort}
		c.addrs = []domain.Address{s.public}
	}
	p.s = w.newScraper(fmt.Sprintf("scraper-%d", i), s)
	if p.known {
		w.net.SetName(s.public.Host, p.s.host.Addr())
	}
	p.s.boot()
	p.c = w.addClient(p.s, c)
}

// meet boots the clients once their scrapers have had time to announce themselves, and scrapes until it succeeds.
func (w *World) meet(all []*pairing, servers *turnServers) {
	w.run(15 * time.Second)
	counting := map[netip.Addr]*pairing{}
	for _, p := range all {
		counting[p.s.host.Addr()], counting[p.c.host.Addr()] = p, p
	}
	w.net.SetFilter(func(d simnet.Datagram) bool {
		if p := counting[d.From.Addr()]; p != nil && p.began > 0 && p.took == 0 {
			p.sent++
		}
		return servers.passes(d)
	})
	for i, p := range all {
		// One after the other, so that the transcript is readable.
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
	// Longer than NATs keep unused sessions: the connections must have been kept alive.
	for _, p := range all {
		if p.took > 0 {
			_, err := w.scrapeNow(p.s, p.c.alias)
			w.expect(err == nil, "%s: a scrape after an idle while fails: %v", p, err)
		}
	}
}

func (w *World) tabulatePairs(all []*pairing) {
	ways, lucky := map[string]int{}, 0
	for _, p := range all {
		way := p.way()
		ways[way]++
		note := ""
		switch {
		case way == p.want:
		case slices.Contains(p.race, way):
			if way == wayRandom {
				lucky++
			}
			note = fmt.Sprintf("; usually %s: %s", p.want, p.why)
		default:
			w.fail("outcome", "%s: %s, expected %s", p, way, p.want)
		}
		if way == wayNone {
			w.result.row(p.String(), "%s%s", way, note)
			continue
		}
		within := p.within(way)
		if w.opts.Nodes > usualNodes {
			within += moreRounds * usualRTT // of lookups, as in scenario recovery
		}
		w.expect(p.took <= within, "%s: %s, but only after %v", p, way, p.took)
		w.result.row(p.String(), "%s after %v, %d datagrams%s", way, p.took.Round(time.Millisecond), p.sent, note)
	}
	w.expect(lucky <= maxEarlyGuesses, "%d pairs meet by a guess before the relay is there, %d are the most", lucky, maxEarlyGuesses)
	bars := Plot{Title: "Ways on which pairs of routers meet", X: "way", Y: "pairs", Bars: true}
	for i, way := range []string{wayLAN, wayDirect, wayPunched, wayRandom, wayRelayed, wayTURN, wayNone} {
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
