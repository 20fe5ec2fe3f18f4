package sim

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

var lookupsScenario = &Scenario{
	Name:  "lookups",
	About: "servers announce themselves on a large DHT, and nodes anywhere in it look them up",
	Nodes: 1000, Clients: 25, For: 20 * time.Second,
	Least:  Least{Nodes: 4, Clients: 1, For: time.Second},
	Coarse: true,
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		keys := w.announce(w.opts.Clients)
		w.phase("%d lookups", lookupsEach*len(keys))
		stats := w.lookUp(keys, lookupsEach*len(keys), w.opts.For)
		stats.report(w)
	},
}

var publicLookupsScenario = &Scenario{
	Name:  "publiclookups",
	About: "lookups on a DHT as large as the public one, 100 ms from node to node, a fifth of which has just died",
	Nodes: 10000, Clients: 25, For: 20 * time.Second,
	Least:  Least{Nodes: 4, Clients: 1, For: time.Second},
	Large:  true,
	Coarse: true,
	Lanes:  true,
	Link:   &simnet.Link{Delay: publicRTT / 2},
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		keys := w.announce(w.opts.Clients)
		holders := w.holders(keys)
		dead := map[netip.Addr]bool{}
		for _, i := range w.rand.Perm(len(w.nodes) - 1)[:len(w.nodes)/publicDead] {
			dead[w.nodes[1+i].host.Addr()] = true
			w.nodes[1+i].crash()
		}
		// Where all holders of a record have died, as of one in 125, it cannot be found until its server announces it again. Where one is left,
		// that one cannot find it, since nodes do not ask themselves.
		last := map[id.PublicKey]netip.Addr{}
		keys = slices.DeleteFunc(keys, func(key id.PublicKey) bool {
			living := slices.DeleteFunc(holders[key], func(a netip.Addr) bool { return dead[a] })
			if len(living) == 1 {
				last[key] = living[0]
			}
			return len(living) == 0
		})
		w.result.row("records whose holders are all dead", "%d of %d", len(holders)-len(keys), len(holders))
		w.phase("%d lookups", lookupsEach*len(keys))
		stats := w.lookUpBut(last, keys, lookupsEach*len(keys), w.opts.For)
		stats.report(w)
		slow, all := 0, len(stats.first)
		for _, took := range stats.first {
			if took >= publicLookup {
				slow++
			}
		}
		w.expect(slow <= max(1, (all-1)/100), "%d of %d lookups take %v or more to their first record: one of a hundred may, or a single one of fewer", slow, all, publicLookup)
	},
}

const (
	publicRTT    = 100 * time.Millisecond
	publicDead   = 5           // one of so many nodes
	publicLookup = time.Second // bounds the time to the first record, of 99 in a hundred lookups
)

// lookupsEach is the number of lookups of each server.
const lookupsEach = 8

// RequestsPerDecade bounds the additional requests of a lookup with ten times as many nodes: a hop halves the distance at
// least, and each asks the ten nodes that a lookup asks at a time (dht-rpc lib/query.js), and half as many that are named
// late.
const RequestsPerDecade = 3.33 * 10 * 1.5

// lookupStats are the results of lookups.
type lookupStats struct {
	asked, found int
	hops, sent   []int
	unanswered   []int
	took         []time.Duration
	first        []time.Duration // until the first record
}

// announce makes n of the DHT's nodes servers and returns their keys.
func (w *World) announce(n int) []id.PublicKey {
	w.phase("%d servers announce themselves", n)
	keys := make([]id.PublicKey, n)
	announced := 0
	for i := range n {
		pair := id.KeyPairFromSeed(id.Seed(w.seedOf(fmt.Sprintf("server %d", i))))
		keys[i] = pair.Public
		m := w.nodes[w.rand.IntN(len(w.nodes))]
		m.host.Do(func() {
			_, err := m.node.Listen(hyperdht.ListenOptions{
				Keys: pair, OnConnection: func(c *hyperdht.Connection) { c.Destroy(nil) },
			}, func(err error) {
				m.host.Outside(func() {
					announced++
					if err != nil {
						w.fail("outcome", "%s cannot announce: %v", m.name, err)
					}
				})
			})
			if err != nil {
				panic(err)
			}
		})
	}
	w.until("all servers are announced", startWithin, func() bool { return announced == n })
	return keys
}

// holders returns the addresses of the nodes that have the records of keys.
func (w *World) holders(keys []id.PublicKey) map[id.PublicKey][]netip.Addr {
	all, done := map[id.PublicKey][]netip.Addr{}, 0
	w.nodes[0].host.Do(func() {
		for _, key := range keys {
			all[key] = nil
			w.nodes[0].node.FindPeer(key, func(f hyperdht.Found) {
				if len(f.Peers) > 0 {
					all[key] = append(all[key], f.From.Addr())
				}
			}, func(error) { done++ })
		}
	})
	w.until("all holders are known", startWithin, func() bool { return done == len(keys) })
	return all
}

// lookUp has random nodes look keys up, n times in all, evenly spread over a while.
func (w *World) lookUp(keys []id.PublicKey, n int, over time.Duration) *lookupStats {
	return w.lookUpBut(nil, keys, n, over)
}

// lookUpBut is lookUp, in which no node looks a key up whose last holder it is.
func (w *World) lookUpBut(last map[id.PublicKey]netip.Addr, keys []id.PublicKey, n int, over time.Duration) *lookupStats {
	s := &lookupStats{}
	done := 0
	for i := range n {
		w.net.AfterFunc(over*time.Duration(i)/time.Duration(n), func() {
			key := keys[i%len(keys)]
			m := w.nodes[w.rand.IntN(len(w.nodes))]
			for !m.up() || m.host.Addr() == last[key] {
				m = w.nodes[w.rand.IntN(len(w.nodes))]
			}
			s.asked++
			m.host.Do(func() {
				began := m.host.Elapsed()
				var first time.Duration // until the first record; 0 for none
				var q *hyperdht.Query
				q = m.node.FindPeer(key, func(f hyperdht.Found) {
					if first == 0 && len(f.Peers) > 0 {
						first = m.host.Elapsed() - began
					}
				}, func(error) {
					took, hops, sent, unanswered := m.host.Elapsed()-began, q.Hops(), q.Successes()+q.Errors(), q.Errors()
					m.host.Outside(func() {
						done++
						w.result.chronicle.lookup(took, first > 0)
						s.took = append(s.took, took)
						s.hops = append(s.hops, hops)
						s.sent = append(s.sent, sent)
						s.unanswered = append(s.unanswered, unanswered)
						if first > 0 {
							s.found++
							s.first = append(s.first, first)
						}
					})
				})
			})
		})
	}
	w.run(over)
	w.until("all lookups have ended", startWithin, func() bool { return done == n })
	return s
}

// keysOfClients returns the keys of all clients, for lookups.
func (w *World) keysOfClients() []id.PublicKey {
	var keys []id.PublicKey
	for _, c := range w.clients {
		if c.knows && !c.retired {
			keys = append(keys, id.PublicKey(c.keys.Public))
		}
	}
	return keys
}

// findable reports whether some node finds a client's server now.
func (w *World) findable(c *client) bool {
	asker := w.nodes[w.rand.IntN(len(w.nodes))]
	for !asker.up() {
		asker = w.nodes[w.rand.IntN(len(w.nodes))]
	}
	found, done := false, false
	asker.host.Do(func() {
		asker.node.FindPeer(id.PublicKey(c.keys.Public), func(f hyperdht.Found) { found = found || len(f.Peers) > 0 }, func(error) { done = true })
	})
	w.until("the lookup ends", startWithin, func() bool { return done })
	return found
}

// report demands that everything was found and adds rows about the cost.
func (s *lookupStats) report(w *World) {
	w.expect(s.found == s.asked, "%d of %d lookups found nothing", s.asked-s.found, s.asked)
	hops, sent := meanOf(s.hops), meanOf(s.sent)
	r := w.result
	r.row("lookups", "%d of %d found", s.found, s.asked)
	r.row("hops", "%.2f on average, %d at most", hops, mostOf(s.hops))
	r.row("requests per lookup", "%.1f on average, %d at most", sent, mostOf(s.sent))
	r.row("time to the first record", "%s", spread(s.first))
	r.row("time of a lookup", "%s", spread(s.took))
	r.Hops, r.Requests = hops, sent
	r.Plots = append(r.Plots, countPlot("Hops of a lookup", "hops", s.hops), countPlot("Requests of a lookup", "requests", s.sent))
}

func meanOf(all []int) float64 {
	sum := 0
	for _, n := range all {
		sum += n
	}
	return float64(sum) / float64(max(len(all), 1))
}

func mostOf(all []int) (most int) {
	for _, n := range all {
		most = max(most, n)
	}
	return most
}

// countPlot plots the frequency of each number, in at most forty bars.
func countPlot(title, x string, all []int) Plot {
	p := Plot{Title: title, X: x, Y: "count", Bars: true}
	width := mostOf(all)/40 + 1
	counts := make([]int, mostOf(all)/width+1)
	for _, n := range all {
		counts[n/width]++
	}
	for i, n := range counts {
		p.Labels = append(p.Labels, fmt.Sprint(i*width))
		p.Points = append(p.Points, Point{float64(i), float64(n)})
	}
	return p
}

var growthScenario = &Scenario{
	Name:  "growth",
	About: "the same lookups on DHTs of 100, 1,000, 10,000 ... nodes: they grow as the logarithm",
	Nodes: 1000, Clients: 25, For: 20 * time.Second,
	Least:  Least{Nodes: 100, Clients: 1, For: time.Second},
	Coarse: true,
	Play: func(w *World) {
		hops := Plot{Title: "Hops of a lookup by the size of the DHT", X: "log10 of nodes", Y: "hops"}
		sent := Plot{Title: "Requests of a lookup by the size of the DHT", X: "log10 of nodes", Y: "requests"}
		for n := 100; n <= w.opts.Nodes; n *= 10 {
			w.phase("%d nodes", n)
			o := w.opts
			o.Nodes = n
			o.Trace, o.Capture = nil, nil
			r := lookupsScenario.run(o)
			for _, f := range r.Failures {
				f.What = fmt.Sprintf("%d nodes: %s", n, f.What)
				w.failed(f)
			}
			w.result.inner = append(w.result.inner, r)
			w.log.say("hash %016x", r.Hash)
			x := math.Log10(float64(n))
			hops.Points = append(hops.Points, Point{x, r.Hops})
			sent.Points = append(sent.Points, Point{x, r.Requests})
			w.result.row(fmt.Sprintf("%d nodes", n), "%.2f hops, %.1f requests per lookup, %s", r.Hops, r.Requests, r.Row("lookups"))
		}
		// A hop halves the distance at least, and asks as many nodes as a lookup asks at a time.
		w.growsAsLog("hops", hops.Points, math.Log2(10))
		w.growsAsLog("requests", sent.Points, RequestsPerDecade)
		w.result.Plots = append(w.result.Plots, hops, sent)
	},
}

// growsAsLog demands that a lookup among ten times as many nodes takes no more than perDecade in addition.
func (w *World) growsAsLog(what string, points []Point, perDecade float64) {
	for i := 1; i < len(points); i++ {
		from, to := points[i-1].Y, points[i].Y
		w.expect(to-from <= perDecade, "%s grow from %.2f to %.2f with a tenfold of nodes, by more than %.1f", what, from, to, perDecade)
	}
}
