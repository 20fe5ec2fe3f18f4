package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

var onePortScenario = &Scenario{
	Name:  "oneport",
	About: "networks let out one UDP port, to a scraper on a public address: its clients need no DHT node, whatever happens to it",
	Nodes: 8, Clients: 10, For: 4 * time.Minute,
	Least: Least{Nodes: 4, Clients: 2, For: time.Minute},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		w.net.SetName(publicName, w.addrs.newPublic()) // of another machine until the scraper is there
		s := w.newScraper("scraper", scraperSetup{public: domain.Address{Host: publicName, Port: webPort}})
		named := func() { w.net.SetName(publicName, s.host.Addr()) }
		named()
		s.boot()
		w.until("scraper listens", startWithin, s.listens)

		w.phase("%d clients, every second one in a network that lets out one port", w.opts.Clients)
		routers := []simnet.NAT{simnet.PortRestricted(), simnet.SymmetricRandom(), simnet.Masquerade(), simnet.FirewallOnly(), simnet.FullCone()}
		byName, byNumber := domain.Address{Host: publicName, Port: webPort}, domain.Address{Host: s.host.Addr().String(), Port: webPort}
		for i := range w.opts.Clients {
			how := clientSetup{at: behind(routers[i/2%len(routers)]), addrs: []domain.Address{byNumber}}
			if i%2 == 0 {
				how.at, how.addrs = onePort(*how.at.nat), []domain.Address{byName}
			}
			c := w.addClient(s, how)
			began := w.net.Now()
			w.until(c.name+" is registered", startWithin, func() bool { return c.app.Status().Registered })
			took := w.net.Now() - began
			w.expect(took <= knownWithin, "%s registers with a scraper at a known address after %v", c.name, took)
			_, err := w.scrapeNow(s, c.alias)
			w.expect(err == nil, "%s is not scraped right after its registration: %v", c.name, err)
			w.result.row(fmt.Sprintf("%s, %s", c.name, describe(*how.at.nat)), "registered after %v", took.Round(time.Millisecond))
		}
		w.mustHeal(healWithin)
		stop := w.prometheus(s, 15*time.Second)
		w.run(w.opts.For / 4)
		w.onlyDirect(s)

		w.phase("the scraper restarts")
		s.close()
		s.restart()
		w.mustHeal(healWithin)
		w.phase("the scraper crashes")
		s.restart()
		w.mustHeal(healWithin)
		w.run(w.opts.For / 4)
		w.onlyDirect(s)

		w.phase("no DHT node runs: new clients register all the same")
		for _, m := range w.nodes {
			m.close()
		}
		w.run(time.Minute)
		c := w.addClient(s, clientSetup{at: onePort(simnet.Masquerade()), addrs: []domain.Address{byName}})
		w.until(c.name+" is registered", knownWithin, func() bool { return c.app.Status().Registered })
		w.mustHeal(healWithin)
		s.close()
		s.restart()
		w.until("the scraper is ready without the DHT", startWithin, s.listens)
		w.mustHeal(healWithin)
		for _, m := range w.nodes {
			m.restart()
		}
		w.stirs(w.machines...) // their network is back
		w.run(w.opts.For / 4)

		w.phase("the scraper moves, and its name follows: clients with its old number find it by the DHT")
		w.roam(s.machine)
		named()
		w.mustHeal(healWithin)
		w.run(w.opts.For / 4)
		w.mustHeal(healWithin)
		stop()
	},
}

var onePortChaosScenario = &Scenario{
	Name:  "oneportchaos",
	About: "everything that can go wrong, where half of the networks let out one UDP port, to a scraper on a public address",
	Nodes: 12, Clients: 8, For: 10 * time.Minute,
	Least:  Least{Nodes: 4, Clients: 1, For: 5 * time.Second},
	Faults: slices.DeleteFunc(FaultKinds(), func(kind string) bool { return kind == faultJumps || kind == faultTURN }),
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		public := domain.Address{Host: publicName, Port: webPort}
		s := w.newScraper("scraper", scraperSetup{public: public})
		w.follow(publicName, s.machine)
		s.boot()
		w.until("scraper listens", startWithin, s.listens)
		g := w.homes(scraperAnywhere)
		g.transport = dht.Config{}
		for i := range g.clients {
			if nat := g.clients[i].nat; i%2 == 0 && nat != nil {
				g.clients[i].nat = new(simnet.OnePort(*nat, webPort))
			}
		}
		w.populateAt(s, w.opts.Clients, g, clientSetup{addrs: []domain.Address{public}})
		w.suffer(w.drawFaults().without(faultJumps), w.machines, w.opts.For, healWithin)
	},
}

// follow keeps a name at the address of a machine, wherever it moves.
func (w *World) follow(name string, m *machine) {
	w.net.SetName(name, m.host.Addr())
	w.net.AfterFunc(time.Second, func() { w.follow(name, m) })
}

// publicName is the name of the scraper on a public address, and webPort the port that networks let out.
const (
	publicName = "scraper.example"
	webPort    = 443
)

// knownWithin bounds a registration at a known address: a lookup of the name, a handshake, and the registration, of a round trip each.
const knownWithin = time.Second

// onePort is a place behind a router that lets out one port.
func onePort(nat simnet.NAT) place { return behind(simnet.OnePort(nat, webPort)) }

// onlyDirect checks that clients of one-port networks are connected without any help.
func (w *World) onlyDirect(s *scraper) {
	for _, v := range s.app.Aliases() {
		w.expect(v.Peer.Path == domain.PathDirect, "%s is connected by the path %v", v.Alias, v.Peer.Path)
	}
}
