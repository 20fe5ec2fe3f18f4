package sim

import (
	"fmt"
	"time"
)

// bootstrapName is the name of the first node of the DHT.
const bootstrapName = "dht.example.org"

var dnsScenario = &Scenario{
	Name:  "dns",
	About: "all machines know the first node of the DHT by its name: the name cannot be resolved for a while, leads to an unused address, and moves",
	Nodes: 12, Clients: 4, For: 10 * time.Minute,
	Least: Least{Nodes: 4, Clients: 1, For: 10 * time.Second},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		entry := w.nodes[0]
		w.bootstrap = []string{fmt.Sprintf("%s:%d", bootstrapName, dhtPort)}
		w.net.SetName(bootstrapName, entry.host.Addr())
		s := w.addScraper("scraper", scraperSetup{at: home})
		w.populateAt(s, w.opts.Clients, setting{clients: steady()}, clientSetup{})
		w.run(2 * time.Minute) // and the known nodes are on the disks

		w.phase("the name cannot be looked up for %v, in which machines restart: they know other nodes", w.opts.For)
		w.net.SetName(bootstrapName)
		w.clients[0].restart()
		s.restart()
		w.mustHeal(healWithin)
		w.phase("a new client knows no node, and comes soon after the name is back")
		late := w.addClient(s, clientSetup{at: home})
		w.run(w.opts.For)
		w.expect(!late.app.Status().Registered, "a client registers that cannot know any node")
		w.net.SetName(bootstrapName, entry.host.Addr())
		w.stirs(late.machine)
		w.mustHeal(namedWithin)

		w.phase("the name leads to an unused address")
		nowhere := w.addrs.newPublic()
		w.net.SetName(bootstrapName, nowhere)
		w.clients[0].restart()
		w.mustHeal(healWithin)

		w.phase("the first node moves, and its name follows: a new client comes in by it")
		entry.host.SetAddrs(w.addrs.newPublic())
		w.stirs(entry)
		w.net.SetName(bootstrapName, entry.host.Addr())
		w.addClient(s, clientSetup{at: home})
		w.mustHeal(startWithin)
	},
}

// namedWithin bounds the time in which a new client registers after the name of its only known node can be resolved again:
// names without an answering node are asked about each minute (hyperdht/internal/rpc/params.go, silentTicks), and a failed
// registration is repeated after at most a minute.
const namedWithin = 150 * time.Second
