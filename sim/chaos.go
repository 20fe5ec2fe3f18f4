package sim

import (
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
)

var chaosScenario = &Scenario{
	Name:  "chaos",
	About: "everything that can go wrong, drawn by swarm: machines, links, routers, disk, TURN servers, UDP that is blocked for a while",
	Nodes: 16, Clients: 8, For: 10 * time.Minute,
	Least:  Least{Nodes: 4, Clients: 1, For: 5 * time.Second},
	Faults: slices.DeleteFunc(FaultKinds(), func(kind string) bool { return kind == faultJumps }),
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		g := w.homes(scraperAnywhere)
		var public domain.Address
		var known []domain.Address
		if w.drawWaysOut(&g) {
			public = domain.Address{Host: publicName, Port: webPort}
			known = append(known, public)
		}
		s := w.newScraper("scraper", scraperSetup{at: g.scraper, transport: g.transport, public: public})
		if len(known) > 0 {
			w.follow(publicName, s.machine)
		}
		s.boot()
		w.until("scraper listens", startWithin, s.listens)
		w.populateAt(s, w.opts.Clients, g, clientSetup{addrs: known})
		// A wall clock that is a day ahead for a while makes the scraper forget all aliases, as it should; scenario clocks
		// covers that.
		w.suffer(w.drawFaults().without(faultJumps), w.machines, w.opts.For, healWithin)
	},
}

// drawWaysOut gives half of all settings other ways out than UDP to anywhere: clients that may use TURN servers, half of them without UDP; and
// either a scraper that may use them, too, or one on a public address, to which the networks of all other clients let out one port. It reports
// whether the clients know that address.
func (w *World) drawWaysOut(g *setting) (public bool) {
	r := w.randFor("ways out")
	if r.IntN(2) == 0 {
		return false
	}
	servers := w.newTURN(2)
	if public = r.IntN(3) == 0; public {
		g.scraper = open
	}
	onTURN := func(p *place) {
		p.turn, p.noUDP = servers, r.IntN(2) == 0
	}
	if !public {
		onTURN(&g.scraper)
	}
	for i := range g.clients {
		p := &g.clients[i]
		switch {
		case r.IntN(2) == 0:
			onTURN(p)
		case public && p.nat != nil:
			p.nat = new(simnet.OnePort(*p.nat, webPort))
		}
	}
	return public
}

var clocksScenario = &Scenario{
	Name:  "clocks",
	About: "wall clocks jump by up to a day and drift, steady clocks drift; clients register each minute",
	Nodes: 12, Clients: 6, For: 20 * time.Minute,
	Least:  Least{Nodes: 4, Clients: 1, For: 5 * time.Second},
	Faults: []string{faultJumps, faultDrift},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{})
		w.populate(s, w.opts.Clients, clientSetup{change: func(c *app.ClientConfig) { c.RegisterInterval = time.Minute }})
		t := w.drawFaults().only(faultJumps, faultDrift)
		if t.Jumps.Every == 0 {
			t.Jumps.Every, t.Jumps.For = 20*time.Minute, 5*time.Minute
		}
		w.suffer(t, w.machines, w.opts.For, healWithin)
	},
}

var churnScenario = &Scenario{
	Name:  "churn",
	About: "nodes of the DHT crash and come back without their memory, clients come and go",
	Nodes: 40, Clients: 8, For: 15 * time.Minute,
	Least:  Least{Nodes: 4, Clients: 1, For: 5 * time.Second},
	Faults: []string{faultCrashes},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		g := w.homes(scraperBehindRouter)
		s := w.addScraper("scraper", scraperSetup{at: g.scraper, transport: g.transport})
		w.populateAt(s, w.opts.Clients, g, clientSetup{})
		t := w.drawFaults().only(faultCrashes)
		// Every node once in ten minutes: half of all nodes of the public network are older than that.
		w.ensureFault(faultCrashes, &t.Crashes, 10*time.Minute, 30*time.Second)
		w.run(time.Minute)
		survivors := slices.Clone(w.machines)
		held := w.count(survivors)
		w.comeAndGo(s, g, w.opts.For/8)
		w.suffer(t, w.nodes, w.opts.For, healWithin)
		w.phase("lookups find all clients again")
		w.lookUpClients(announcedWithin)
		w.phase("a third of the nodes is switched off for good; half an hour later they are not asked any more")
		for i, m := range w.nodes {
			if i%3 == 2 {
				m.crash()
			}
		}
		w.run(30 * time.Minute)
		first, others := w.timeouts()
		w.run(10 * time.Minute)
		firstAfter, othersAfter := w.timeouts()
		byFirst, perNode := firstAfter-first, float64(othersAfter-others)/float64(len(w.nodes))
		w.result.row("unanswered requests", "%.2f by each node in ten minutes, %d by the first", perNode, byFirst)
		w.expect(perNode < 1, "each node has %.1f unanswered requests in ten minutes", perNode)
		w.expect(byFirst <= formerAsked, "the first node has %d unanswered requests in ten minutes, %d are the most", byFirst, formerAsked)
		w.lookUp(w.keysOfClients(), 100, 20*time.Second).report(w)
		w.run(10 * time.Second)
		w.mustShrink(survivors, held)
	},
}

// timeouts returns the number of requests of DHT nodes that were never answered: of the first one, which goes on asking nodes that
// have left, and of all others.
func (w *World) timeouts() (first, others uint64) {
	for i, m := range w.nodes {
		switch {
		case !m.up():
		case i == 0:
			first = m.node.Status().RPC.Requests.Timeouts
		default:
			others += m.node.Status().RPC.Requests.Timeouts
		}
	}
	return first, others
}

// comeAndGo retires the oldest client and boots a new one, repeatedly during the main part.
func (w *World) comeAndGo(s *scraper, g setting, every time.Duration) {
	end := w.net.Now() + w.opts.For
	var next func()
	next = func() {
		if w.net.Now() >= end {
			return
		}
		for _, c := range w.clients {
			if !c.retired && c.up() {
				c.retired = true
				c.host.Do(func() { c.stop(func() { c.node = nil }) })
				break
			}
		}
		outside := !w.leadsIn()
		w.addClient(s, clientSetup{at: g.client(len(w.clients)), transport: g.transport}).outside = outside
		w.net.AfterFunc(every, next)
	}
	w.net.AfterFunc(every, next)
}

// leadsIn reports whether the first node of the DHT, the only one that new machines know, leads to others. One that has come back without
// its memory does not before one of the others asks it.
func (w *World) leadsIn() bool {
	first := w.nodes[0]
	return first.up() && first.node.Status().Nodes > 0
}

// lookUpClients demands that any node finds every client within a time.
func (w *World) lookUpClients(within time.Duration) {
	var missing int
	again := func() bool {
		missing = 0
		for _, c := range w.clients {
			if !c.retired && !w.findable(c) {
				missing++
			}
		}
		return missing == 0
	}
	end := w.net.Now() + within
	for !again() && w.net.Now() < end {
		w.run(10 * time.Second)
	}
	w.expect(missing == 0, "%d clients cannot be looked up", missing)
}

var partitionScenario = &Scenario{
	Name:  "partition",
	About: "the internet falls in two, in one direction or both, and grows together again",
	Nodes: 24, Clients: 8, For: 10 * time.Minute,
	Least:  Least{Nodes: 4, Clients: 1, For: 5 * time.Second},
	Faults: []string{faultPartitions},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		g := w.homes(scraperBehindRouter)
		s := w.addScraper("scraper", scraperSetup{at: g.scraper, transport: g.transport})
		w.populateAt(s, w.opts.Clients, g, clientSetup{})
		t := w.drawFaults().only(faultPartitions)
		w.ensureFault(faultPartitions, &t.Partitions, w.opts.For/4, w.opts.For/6)
		w.suffer(t, w.machines, w.opts.For, healWithin)
	},
}

var sleepersScenario = &Scenario{
	Name:  "sleepers",
	About: "laptops: clients whose machines sleep and wake, and at last the scraper's too",
	Nodes: 16, Clients: 6, For: 20 * time.Minute,
	Least:  Least{Nodes: 4, Clients: 1, For: 5 * time.Second},
	Faults: []string{faultSleeps},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		g := w.homes(scraperBehindRouter)
		s := w.addScraper("scraper", scraperSetup{at: g.scraper, transport: g.transport})
		w.populateAt(s, w.opts.Clients, g, clientSetup{})
		t := w.drawFaults().only(faultSleeps)
		w.ensureFault(faultSleeps, &t.Sleeps, 10*time.Minute, 4*time.Minute)
		w.suffer(t, machinesOf(w.clients), w.opts.For, healWithin)
		w.phase("the scraper sleeps for an hour")
		s.host.Sleep()
		w.run(time.Hour)
		s.host.Wake()
		w.stirs(s.machine)
		w.mustHeal(healWithin)
		w.phase("a client sleeps for four hours: its alias has expired when it wakes, and it registers again")
		sleeper := w.clients[0]
		sleeper.host.Sleep()
		w.run(4 * time.Hour)
		_, err := w.scrapeNow(s, sleeper.alias)
		w.expect(err != nil, "%s is scraped in its sleep", sleeper.alias)
		sleeper.host.Wake()
		w.stirs(sleeper.machine)
		w.mustHeal(healWithin)
	},
}
