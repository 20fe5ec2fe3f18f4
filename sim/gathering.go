package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// gathering is a set of peers, of which each is to have one connection with each that it fits.
type gathering struct {
	w        *World
	peers    []*participant
	fits     func(p, q *participant) bool
	within   time.Duration // of which they have to be connected
	reported int           // connections
	most     int           // of one pair at a time
	crashes  int
}

// participant is a machine in a gathering.
type participant struct {
	*machine
	g     *gathering
	keys  id.KeyPair
	open  []*hyperdht.Connection
	lossy bool
}

// randomPorts leaves out routers with random ports, pairs of which cannot connect without a relay.
const randomPorts = false

// settle adds a machine, without software.
func (g *gathering) settle(r *rand.Rand) *participant {
	w, name := g.w, fmt.Sprintf("peer-%d", len(g.peers))
	at := open
	if r.IntN(3) > 0 {
		at = behind(w.drawNAT(r, randomPorts))
	}
	p := &participant{machine: w.settle(name, at), g: g, keys: id.KeyPairFromSeed(id.Seed(w.seedOf(name)))}
	p.spare = 8 * w.opts.Clients // it reports no events of connections
	w.names.byKey[p.keys.Public] = name
	g.peers = append(g.peers, p)
	return p
}

// connected counts a connection that the software reports.
func (p *participant) connected(c *hyperdht.Connection) {
	p.open = slices.DeleteFunc(append(p.open, c), func(c *hyperdht.Connection) bool { return c.Closed() })
	p.g.reported++
	n := 0
	for _, other := range p.open {
		if other.RemotePublicKey() == c.RemotePublicKey() {
			n++
		}
	}
	p.g.most = max(p.g.most, n)
}

// with returns the open connections with a peer.
func (p *participant) with(q *participant) (list []*hyperdht.Connection) {
	for _, c := range p.open {
		if !c.Closed() && c.RemotePublicKey() == q.keys.Public {
			list = append(list, c)
		}
	}
	return list
}

// apart describes the first pair whose connection is missing, or not the same on both sides; "" if there is none.
func (g *gathering) apart() string {
	for i, p := range g.peers {
		for _, q := range g.peers[:i] {
			x, y := p.with(q), q.with(p)
			same := len(x) == 1 && len(y) == 1 && x[0].HandshakeHash() == y[0].HandshakeHash()
			if !same && (g.fits(p, q) || len(x)+len(y) > 0) {
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
		if !w.reached(g.within-(w.net.Now()-began), func() bool { return g.apart() == "" }) {
			w.fail("outcome", "not connected after %v: %s", g.within, g.apart())
			return g.within
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

// disturb strikes one peer. alter is what its program does besides.
func (g *gathering) disturb(r *rand.Rand, alter func(*participant)) {
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
		alter(p)
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

// demandOne demands that no application had two connections with one peer at a time.
func (g *gathering) demandOne() {
	g.w.expect(g.most <= 1, "an application had %d connections with one peer at a time", g.most)
}
