package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/swarm"
)

var swarmsScenario = &Scenario{
	Name:  "swarms",
	About: "peers of several topics, behind routers, with restarts and losses: in the end, each has one connection with each that it can find",
	Nodes: 16, Clients: 10, For: 3 * time.Minute,
	Least:  Least{Nodes: 4, Clients: 2, For: 10 * time.Second},
	Loss:   0.01,
	Coarse: true,
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		r := w.randFor("swarms")
		g := &gathering{w: w, topics: 3}
		w.phase("%d peers of %d topics join", w.opts.Clients, g.topics)
		for range w.opts.Clients {
			g.add(r)
			w.run(time.Duration(r.IntN(3000)) * time.Millisecond)
		}
		w.result.row("all are connected", "%v after the last has joined", g.mustMeet())

		w.phase("for %v, peers crash, routers reboot, connections end, topics are left, and much is lost", w.opts.For)
		w.check.unrest = true
		for end := w.net.Now() + w.opts.For; w.net.Now() < end; {
			g.disturb(r)
			w.run(time.Duration(r.IntN(6000)) * time.Millisecond)
		}
		g.calm()
		w.result.row("all are connected again", "%v after that", g.mustMeet())
		g.report()
	},
}

// meetWithin bounds the time until all peers are connected: a lookup may have missed a record, or a peer been given up after four
// dials, until the next refresh, up to twelve minutes later; then there are dials.
const meetWithin = 13 * time.Minute

// gathering is the set of the peers in a world.
type gathering struct {
	w        *World
	topics   int
	peers    []*swarmPeer
	reported int // connections
	most     int // of one pair at a time
	crashes  int
}

// swarmPeer is a machine with a swarm.
type swarmPeer struct {
	*machine
	g     *gathering
	keys  id.KeyPair
	roles map[int]swarm.Mode // by topic
	swarm *swarm.Swarm
	open  []*hyperdht.Connection
	lossy bool
}

// randomPorts leaves out routers with random ports, pairs of which cannot connect without a relay.
const randomPorts = false

// add boots a peer, which joins one or more of the topics.
func (g *gathering) add(r *rand.Rand) {
	w, name := g.w, fmt.Sprintf("peer-%d", len(g.peers))
	at := open
	if r.IntN(3) > 0 {
		at = behind(w.drawNAT(r, randomPorts))
	}
	p := &swarmPeer{machine: w.settle(name, at), g: g, keys: id.KeyPairFromSeed(id.Seed(w.seedOf(name))), roles: map[int]swarm.Mode{}}
	p.spare = 8 * w.opts.Clients // it reports no events of connections
	w.names.byKey[p.keys.Public] = name
	for len(p.roles) == 0 {
		for topic := range g.topics {
			if r.IntN(2) == 0 {
				p.roles[topic] = drawMode(r)
			}
		}
	}
	p.run = p.start
	p.stop = func(done func()) { p.swarm.Close(func() { p.node.Close(done) }) }
	g.peers = append(g.peers, p)
	p.boot()
}

// drawMode draws a role: three of five are servers and clients.
func drawMode(r *rand.Rand) swarm.Mode {
	return []swarm.Mode{swarm.ServerAndClient, swarm.ServerAndClient, swarm.ServerAndClient, swarm.ServerOnly, swarm.ClientOnly}[r.IntN(5)]
}

// start runs the software.
func (p *swarmPeer) start() {
	p.join(hyperdht.Config{})
	p.open = nil
	s, err := swarm.New(p.node, swarm.Config{Keys: p.keys, OnConnection: p.connected})
	if err != nil {
		panic(fmt.Sprintf("sim: %s: %v", p.name, err))
	}
	p.swarm = s
	p.sizers = append(p.sizers, s.Sizes)
	for topic := range p.g.topics {
		if mode, joined := p.roles[topic]; joined {
			p.enter(topic, mode)
		}
	}
}

// enter joins a topic.
func (p *swarmPeer) enter(topic int, mode swarm.Mode) {
	p.roles[topic] = mode
	if _, err := p.swarm.Join(target(topic), swarm.JoinOptions{Mode: mode}); err != nil {
		p.w.fail("outcome", "%s cannot join: %v", p.name, err)
	}
}

func target(topic int) id.Target { return id.Target(id.Hash(fmt.Appendf(nil, "topic %d", topic))) }

func (p *swarmPeer) connected(c *hyperdht.Connection, peer swarm.Peer) {
	p.open = slices.DeleteFunc(append(p.open, c), func(c *hyperdht.Connection) bool { return c.Closed() })
	p.g.reported++
	n := 0
	for _, other := range p.open {
		if other.RemotePublicKey() == peer.PublicKey {
			n++
		}
	}
	p.g.most = max(p.g.most, n)
	if peer.PublicKey != c.RemotePublicKey() || !peer.Connected {
		p.w.fail("outcome", "%s gets a connection with the description of another peer", p.name)
	}
}

// with returns the open connections with a peer.
func (p *swarmPeer) with(q *swarmPeer) (list []*hyperdht.Connection) {
	for _, c := range p.open {
		if !c.Closed() && c.RemotePublicKey() == q.keys.Public {
			list = append(list, c)
		}
	}
	return list
}

// fits reports whether the roles of two peers lead one to the other.
func fits(p, q *swarmPeer) bool {
	for topic, mine := range p.roles {
		theirs, joined := q.roles[topic]
		if joined && !(mine == swarm.ServerOnly && theirs == swarm.ServerOnly) && !(mine == swarm.ClientOnly && theirs == swarm.ClientOnly) {
			return true
		}
	}
	return false
}

// apart describes the first pair whose connection is missing, or not the same on both sides; "" if there is none.
func (g *gathering) apart() string {
	for i, p := range g.peers {
		for _, q := range g.peers[:i] {
			x, y := p.with(q), q.with(p)
			same := len(x) == 1 && len(y) == 1 && x[0].HandshakeHash() == y[0].HandshakeHash()
			if !same && (fits(p, q) || len(x)+len(y) > 0) {
				return fmt.Sprintf("%s has %d connections with %s, which has %d with it", p.name, len(x), q.name, len(y))
			}
		}
	}
	return ""
}

// mustMeet demands that all peers that fit are connected once within a bound, and stay so. It returns the time that took.
func (g *gathering) mustMeet() time.Duration {
	w, began := g.w, g.w.net.Now()
	for {
		if !w.reached(meetWithin-(w.net.Now()-began), func() bool { return g.apart() == "" }) {
			w.fail("outcome", "not connected after %v: %s", meetWithin, g.apart())
			return meetWithin
		}
		took := w.net.Now() - began
		w.run(meetingLasts)
		if g.apart() == "" {
			return took.Round(time.Second)
		}
	}
}

// meetingLasts is the time for which the connections have to last.
const meetingLasts = 20 * time.Second

// disturb strikes one peer.
func (g *gathering) disturb(r *rand.Rand) {
	w, p := g.w, g.peers[r.IntN(len(g.peers))]
	switch r.IntN(6) {
	case 0:
		if p.host.Down() {
			p.restart()
			return
		}
		w.log.tell(p.name, "crashes")
		p.crash()
		p.open = nil
		g.crashes++
	case 1:
		if p.router != nil {
			w.log.tell(p.name, "has a router that reboots")
			p.router.Reboot(simnet.Reboot{})
			w.stirs(p.machine)
		}
	case 2:
		if p.router != nil {
			p.lossy = !p.lossy
			p.router.SetAccess(simnet.Link{Loss: map[bool]float64{true: 0.3}[p.lossy]})
			w.stirs(p.machine)
		}
	case 3:
		if open := p.open; len(open) > 0 && p.up() {
			c := open[r.IntN(len(open))]
			p.host.Do(func() { c.Destroy(nil) })
		}
	default:
		if !p.up() {
			return
		}
		topic, mode := r.IntN(g.topics), drawMode(r)
		p.host.Do(func() {
			if _, joined := p.roles[topic]; joined && len(p.roles) > 1 {
				delete(p.roles, topic)
				p.swarm.Leave(target(topic), nil)
				return
			}
			p.swarm.Leave(target(topic), nil)
			p.enter(topic, mode)
		})
	}
}

// calm ends all disturbances.
func (g *gathering) calm() {
	g.w.phase("no more disturbances")
	for _, p := range g.peers {
		if p.host.Down() {
			p.restart()
		}
		if p.router != nil {
			p.router.SetAccess(simnet.Link{})
		}
		g.w.stirs(p.machine)
	}
}

// report adds rows, and demands that no machine has made an invalid transition.
func (g *gathering) report() {
	var stats swarm.Stats
	links := 0
	for _, p := range g.peers {
		s := p.swarm.Status()
		stats.Dials += s.Stats.Dials
		stats.Duplicates += s.Stats.Duplicates
		links += s.Dialled
		g.w.expect(s.Stats.WrongTransitions == 0, "%s has made %d invalid transitions", p.name, s.Stats.WrongTransitions)
	}
	g.w.expect(g.most <= 1, "an application had %d connections with one peer at a time", g.most)
	g.w.result.row("connections", "%d in the end, %d were reported on either side", links, g.reported)
	g.w.result.row("dials", "%d since the last crash of each peer, of which %d were duplicates", stats.Dials, stats.Duplicates)
	g.w.result.row("crashes", "%d", g.crashes)
}
