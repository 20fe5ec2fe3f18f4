package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// reunionWithin bounds the time after an outage of the DHT until a new client is registered and every node finds every
// client: silent bootstrap nodes are asked each minute (hyperdht/internal/rpc/params.go, silentTicks), a failed
// registration is repeated after at most a minute, and records are announced again when the network has been joined again.
const reunionWithin = 5 * time.Minute

// nodesGrown is the time in which reachable machines become nodes of the DHT themselves (dht-rpc index.js: 20 minutes), so
// that without its first nodes the network consists of the clients.
const nodesGrown = 25 * time.Minute

var outageScenario = &Scenario{
	Name:  "outage",
	About: "the first node of the DHT is off for a while, then all of its nodes, then the network is in two: each time it becomes one again",
	Nodes: 24, Clients: 4, For: 10 * time.Minute,
	Least: Least{Nodes: 4, Clients: 1, For: time.Second},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{})
		w.populateAt(s, w.opts.Clients, setting{clients: steady()}, clientSetup{})
		w.run(nodesGrown)
		w.bootstrapOff(s)
		w.run(nodesGrown)
		w.allOff(s)
		w.run(nodesGrown)
		w.inTwo(s)
	},
}

// steady are the places whose routers keep a socket's port: clients at others are reached one after the other, which takes
// longer than the times tested here.
func steady() []place { return nats()[:6] }

// bootstrapOff is an outage of the first node, which comes back with an empty table.
func (w *World) bootstrapOff(s *scraper) {
	w.phase("the first node is off for %v", w.opts.For)
	w.unsettled(func() {
		w.nodes[0].crash()
		w.run(w.opts.For)
		w.phase("the first node is back")
		w.nodes[0].restart()
	})
	w.reunited(s, "first node off")
}

// allOff is an outage of all nodes, which come back in random order, in a time as long as the outage on average.
func (w *World) allOff(s *scraper) {
	w.phase("all nodes are off for %v", w.opts.For)
	w.unsettled(func() {
		for _, m := range w.nodes {
			m.crash()
		}
		w.run(w.opts.For)
		r := w.randFor("order")
		order := r.Perm(len(w.nodes))
		w.phase("all nodes are back, the first one as the %d. of %d", slices.Index(order, 0)+1, len(order))
		for _, i := range order {
			w.nodes[i].restart()
			w.run(time.Duration(r.Int64N(1 + 2*int64(w.opts.For)/int64(len(order)))))
		}
	})
	w.reunited(s, "all nodes off")
}

// inTwo is a partition of the machines. The first node is in one part, the scraper in any.
func (w *World) inTwo(s *scraper) {
	w.phase("the network is in two for %v", w.opts.For)
	r := w.randFor("halves")
	var parts [2][]*machine
	for _, m := range w.machines {
		side := r.IntN(2)
		parts[side] = append(parts[side], m)
	}
	for _, a := range parts[0] {
		for _, b := range parts[1] {
			w.net.Block(a.host, b.host)
			w.net.Block(b.host, a.host)
		}
	}
	w.unsettled(func() {
		w.run(w.opts.For)
		w.phase("the network is one again: %d and %d machines", len(parts[0]), len(parts[1]))
		w.net.Heal()
	})
	w.reunited(s, "in two parts")
}

// unsettled plays a part in which machines that stay up may lose and find their network.
func (w *World) unsettled(part func()) {
	w.check.unrest = true
	part()
	w.check.unrest = false
	w.stirs(w.machines...)
}

// reunited demands that a new client registers and is scraped, and that every node finds every client, within
// reunionWithin.
func (w *World) reunited(s *scraper, what string) {
	began := w.net.Now()
	c := w.addClient(s, clientSetup{at: steady()[len(w.clients)%len(steady())]})
	took := time.Duration(-1)
	ok := w.reached(reunionWithin, func() bool { return c.app != nil && c.app.Status().Registered })
	if ok {
		took = w.net.Now() - began
	}
	w.expect(ok, "a new client is not registered %v after an outage", reunionWithin)
	missing := 0
	for {
		missing = w.missing()
		if missing == 0 || w.net.Now()-began >= reunionWithin {
			break
		}
		w.run(10 * time.Second)
	}
	w.expect(missing == 0, "%d lookups of nodes do not find a client %v after an outage", missing, reunionWithin)
	w.result.row(what, "a new client registered after %v, every node found every client after %v", took.Round(time.Millisecond),
		(w.net.Now() - began).Round(time.Second))
	w.result.samples.reunions = append(w.result.samples.reunions, reunion{what, took, w.net.Now() - began})
	w.mustHeal(max(reunionWithin-(w.net.Now()-began), time.Minute))
	c.retire()
}

// reunion is the recovery time after an outage.
type reunion struct {
	what       string
	registered time.Duration // negative: not in time
	found      time.Duration
}

// missing returns the number of failed lookups, where every node of the DHT looks for every client now.
func (w *World) missing() int {
	lookups, done, found := 0, 0, 0
	for _, m := range w.nodes {
		for _, c := range w.clients {
			if !m.up() || c.retired || !c.up() {
				continue
			}
			lookups++
			m.host.Do(func() {
				seen := false
				m.node.FindPeer(id.PublicKey(c.keys.Public), func(f hyperdht.Found) { seen = seen || len(f.Peers) > 0 }, func(error) {
					done++
					if seen {
						found++
					}
				})
			})
		}
	}
	w.until("all lookups have ended", startWithin, func() bool { return done == lookups })
	return lookups - found
}

var outagesScenario = &Scenario{
	Name:  "outages",
	About: "outage with 4 to 40 nodes, for 20 s, 1 min, 10 min and an hour",
	Nodes: 40, Clients: 6, For: time.Hour,
	Least: Least{Nodes: 4, Clients: 1, For: time.Second},
	Large: true,
	Play: func(w *World) {
		for _, size := range []struct{ nodes, clients int }{{4, 5}, {8, 1}, {12, 1}, {20, 1}, {30, 1}, {40, 1}} {
			for _, off := range []time.Duration{20 * time.Second, time.Minute, 10 * time.Minute, time.Hour} {
				o := w.opts
				if size.nodes > o.Nodes || off > o.For {
					continue
				}
				// The first is the documented private DHT: four nodes on one machine, and many clients that have become nodes.
				o.Nodes, o.For, o.Clients = size.nodes, off, o.Clients*size.clients
				o.Trace, o.Capture = nil, nil
				w.phase("%d nodes, %v", o.Nodes, off)
				r := outageScenario.run(o)
				cell := fmt.Sprintf("%d nodes, off %v", o.Nodes, off)
				for _, f := range r.Failures {
					f.What = cell + ": " + f.What
					w.failed(f)
				}
				w.result.inner = append(w.result.inner, r)
				w.log.say("hash %016x", r.Hash)
				var told []string
				for _, u := range r.samples.reunions {
					told = append(told, fmt.Sprintf("%s %.0f s, %.0f s", u.what, u.registered.Seconds(), u.found.Seconds()))
				}
				w.result.row(cell, "%s", orNone(told))
			}
		}
	},
}
