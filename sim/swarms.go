package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

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
		sg := newSwarms(w)
		w.phase("%d peers of %d topics join", w.opts.Clients, sg.topics)
		for range w.opts.Clients {
			sg.add(r)
			w.run(time.Duration(r.IntN(3000)) * time.Millisecond)
		}
		w.result.row("all are connected", "%v after the last has joined", sg.mustMeet())

		w.phase("for %v, peers crash, routers reboot, connections end, topics are left, and much is lost", w.opts.For)
		w.check.unrest = true
		for end := w.net.Now() + w.opts.For; w.net.Now() < end; {
			sg.disturb(r, func(p *participant) { sg.alter(p, r) })
			w.run(time.Duration(r.IntN(6000)) * time.Millisecond)
		}
		sg.calm()
		w.result.row("all are connected again", "%v after that", sg.mustMeet())
		sg.report()
	},
}

// meetWithin bounds the time until all peers are connected: a lookup may have missed a record, or a peer been given up after four
// dials, until the next refresh, up to twelve minutes later; then there are dials.
const meetWithin = 13 * time.Minute

// swarmGathering are the peers of a world, and the topics that they may join.
type swarmGathering struct {
	gathering
	topics int
	of     map[*participant]*swarmPeer
}

func newSwarms(w *World) *swarmGathering {
	sg := &swarmGathering{gathering: gathering{w: w, within: meetWithin}, topics: 3, of: map[*participant]*swarmPeer{}}
	sg.fits = func(p, q *participant) bool { return fits(sg.of[p], sg.of[q]) }
	return sg
}

// swarmPeer is a machine with a swarm.
type swarmPeer struct {
	*participant
	topics int
	roles  map[int]swarm.Mode // by topic
	swarm  *swarm.Swarm
}

// add boots a peer, which joins one or more of the topics.
func (sg *swarmGathering) add(r *rand.Rand) {
	p := &swarmPeer{participant: sg.settle(r), topics: sg.topics, roles: map[int]swarm.Mode{}}
	sg.of[p.participant] = p
	for len(p.roles) == 0 {
		for topic := range sg.topics {
			if r.IntN(2) == 0 {
				p.roles[topic] = drawMode(r)
			}
		}
	}
	p.run = p.start
	p.stop = func(done func()) { p.swarm.Close(func() { p.node.Close(done) }) }
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
	for topic := range p.topics {
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
	p.participant.connected(c)
	if peer.PublicKey != c.RemotePublicKey() || !peer.Connected {
		p.w.fail("outcome", "%s gets a connection with the description of another peer", p.name)
	}
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

// alter has a peer leave or join a topic, or change its role.
func (sg *swarmGathering) alter(of *participant, r *rand.Rand) {
	p := sg.of[of]
	topic, mode := r.IntN(sg.topics), drawMode(r)
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

// report adds rows, and demands that no machine has made an invalid transition.
func (sg *swarmGathering) report() {
	var stats swarm.Stats
	links := 0
	for _, p := range sg.peers {
		s := sg.of[p].swarm.Status()
		stats.Dials += s.Stats.Dials
		stats.Duplicates += s.Stats.Duplicates
		links += s.Dialled
		sg.w.expect(s.Stats.WrongTransitions == 0, "%s has made %d invalid transitions", p.name, s.Stats.WrongTransitions)
	}
	sg.demandOne()
	sg.w.result.row("connections", "%d in the end, %d were reported on either side", links, sg.reported)
	sg.w.result.row("dials", "%d since the last crash of each peer, of which %d were duplicates", stats.Dials, stats.Duplicates)
	sg.w.result.row("crashes", "%d", sg.crashes)
}
