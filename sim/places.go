package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

// setting is the set of places of a world's machines.
type setting struct {
	scraper   place
	clients   []place // in turn, starting over after the last
	transport dht.Config
}

// client returns the place of the n-th client.
func (s *setting) client(n int) place { return s.clients[n%len(s.clients)] }

// scraperPlace restricts the place of a drawn scraper.
type scraperPlace uint8

const (
	scraperAnywhere scraperPlace = iota
	scraperBehindRouter
)

// homes draws a setting in which a scraper can reach every client soon: routers from their independent axes, and a relay or
// not. Without a relay, the scraper's ports can be guessed, and those of two clients at most cannot: ports are guessed for
// one peer at a time, with a pause after a failed guess (hyperdht index.js), see guessWithin.
func (w *World) homes(at scraperPlace) setting {
	r := w.randFor("places")
	var g setting
	relay, randomScraper := r.IntN(2) == 0, r.IntN(2) == 0
	// A machine on the open internet reaches all others without help, which is the easiest case and so the rarest here.
	if at == scraperBehindRouter || r.IntN(4) > 0 {
		nat := w.drawNAT(r, relay && randomScraper)
		nat.Filtering = simnet.AddressAndPortDependent
		g.scraper = behind(nat)
	}
	left := 2
	for range max(8, w.opts.Clients) {
		random := r.IntN(3) == 0 && (relay || left > 0)
		if random {
			left--
		}
		one := behind(w.drawNAT(r, random))
		if r.IntN(2) == 0 {
			one.access = &simnet.Link{Bandwidth: homeUplink, Queue: homeQueue}
		}
		g.clients = append(g.clients, one)
	}
	g.clients[r.IntN(8)] = open
	if relay {
		g.transport.RelayThrough = []domain.PublicKey{domain.PublicKey(w.addRelay("relay"))}
	}
	return g
}

// A cheap home's way up, in bytes a second and in bytes of the queue in its router.
const (
	homeUplink = 1 << 20
	homeQueue  = 256 << 10
)

// drawNAT draws a router, each axis by itself. A random one gives every remote end another port.
func (w *World) drawNAT(r *rand.Rand, random bool) simnet.NAT {
	n := simnet.NAT{
		Mapping:   simnet.EndpointIndependent,
		Filtering: []simnet.Dependence{simnet.EndpointIndependent, simnet.AddressDependent, simnet.AddressAndPortDependent, simnet.AddressAndPortDependent}[r.IntN(4)],
		Ports:     []simnet.PortChoice{simnet.PreservePort, simnet.NextPort, simnet.RandomPort}[r.IntN(3)],
		Refresh:   []simnet.Refresh{simnet.RefreshOutbound, simnet.RefreshBoth}[r.IntN(2)],
		Lifetime:  []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute}[r.IntN(4)],
		Hairpin:   r.IntN(2) == 0,
	}
	full := []simnet.WhenFull{simnet.RefuseNew, simnet.EvictOldest}[r.IntN(2)]
	small := r.IntN(3) == 0
	dependent := r.IntN(2) == 0
	if random || dependent {
		n.Mapping, n.Filtering = simnet.AddressAndPortDependent, simnet.AddressAndPortDependent
	}
	switch {
	case random:
		n.Ports = []simnet.PortChoice{simnet.NextPort, simnet.RandomPort}[r.IntN(2)]
	case dependent:
		n.Ports, n.Overload = simnet.PreservePort, true // as Linux does
	}
	if small {
		// Small for a router, with room for one guess of ports, which opens two thousand sessions.
		n.Size, n.Full = 4096, full
	}
	return n
}

// nats returns the routers of clients where a scenario does not choose them, most common first.
func nats() []place {
	return []place{
		behind(simnet.PortRestricted()), behind(simnet.Masquerade()), open, behind(simnet.FullCone()),
		behind(simnet.RestrictedCone()), behind(simnet.FirewallOnly()), behind(simnet.SymmetricRandom()), behind(simnet.MasqueradeRandom()),
	}
}

// populate boots clients of a scraper behind all kinds of routers and waits until all of them were scraped.
func (w *World) populate(s *scraper, n int, how clientSetup) {
	w.populateAt(s, n, setting{clients: nats(), transport: how.transport}, how)
}

// populateAt does the same in a setting.
func (w *World) populateAt(s *scraper, n int, g setting, how clientSetup) {
	w.phase("%d clients", n)
	if s.router != nil {
		w.log.say("the scraper's router: %s", describe(s.router.NAT()))
	}
	how.transport = g.transport
	for i := range n {
		one := how
		if one.at == (place{}) {
			one.at = g.client(i)
		}
		c := w.addClient(s, one)
		if c.router != nil {
			w.log.tell(c.name, "is behind a router: %s", describe(c.router.NAT()))
		}
	}
	w.allScrapeable(startWithin)
}

// describe describes a kind of router in a line.
func describe(n simnet.NAT) string {
	var b strings.Builder
	fmt.Fprintf(&b, "mapping %v, filtering %v, ports %d", n.Mapping, n.Filtering, n.Ports)
	if n.Overload {
		b.WriteString(", overloaded")
	}
	if n.Lifetime > 0 {
		fmt.Fprintf(&b, ", sessions live for %v", n.Lifetime)
	}
	if n.Refresh == simnet.RefreshBoth {
		b.WriteString(", refreshed both ways")
	}
	if n.Size > 0 {
		fmt.Fprintf(&b, ", %d sessions", n.Size)
	}
	return b.String()
}

// roam moves a machine on the open internet to another address.
func (w *World) roam(m *machine) {
	w.log.tell(m.name, "moves to another address")
	m.host.SetAddrs(w.addrs.newPublic())
	w.stirs(m)
}

// openHosts returns the machines on the open internet that may move. The first node, by which all others join, does not.
func (w *World) openHosts() []*machine {
	return slices.DeleteFunc(slices.Clone(w.machines), func(m *machine) bool {
		return m.router != nil || m.isRelay || len(w.nodes) > 0 && m == w.nodes[0]
	})
}
