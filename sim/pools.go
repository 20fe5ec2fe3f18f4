package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

var poolsScenario = &Scenario{
	Name:  "pools",
	About: "programs with pools of connections dial each other at once, behind routers, with crashes and losses: in the end, each pair has one connection",
	Nodes: 16, Clients: 8, For: 3 * time.Minute,
	Least:  Least{Nodes: 4, Clients: 2, For: 10 * time.Second},
	Loss:   0.01,
	Coarse: true,
	Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		r := w.randFor("pools")
		pg := newPools(w)
		w.phase("%d programs start", w.opts.Clients)
		for range w.opts.Clients {
			pg.add(r)
		}
		w.until("all programs listen", startWithin, pg.listening)
		w.phase("each dials all others, in the same moment")
		for _, p := range pg.peers {
			p.host.Do(pg.of[p].dialAll)
		}
		took := pg.mustMeet()
		w.result.row("all are connected", "%v after that", took)
		w.expect(took < redial, "pairs that dial each other at once are connected after %v, so that some had to dial again", took)
		pg.demandNoOther()

		w.phase("for %v, programs crash, routers reboot, connections end, and much is lost", w.opts.For)
		w.check.unrest = true
		for end := w.net.Now() + w.opts.For; w.net.Now() < end; {
			pg.disturb(r, pg.closeAll)
			w.run(time.Duration(r.IntN(6000)) * time.Millisecond)
		}
		pg.calm()
		w.result.row("all are connected again", "%v after that", pg.mustMeet())
		pg.demandNoOther()
		pg.report()
	},
}

const (
	// poolsMeetWithin bounds the time until all pairs are connected: a peer that has crashed is noticed within seconds, and a dial that
	// has failed is repeated within seconds, but a punch that fails takes a minute.
	poolsMeetWithin = 5 * time.Minute
	// redial is the time after which a program dials those again that it has no connection with; up to as much is added at random.
	redial = 10 * time.Second
)

// poolGathering are programs with pools in a world.
type poolGathering struct {
	gathering
	of       map[*participant]*poolPeer
	dials    int // calls of Connect that have ended
	failed   int // of these, with an error
	replaced int // connections that another one has replaced
}

func newPools(w *World) *poolGathering {
	pg := &poolGathering{gathering: gathering{w: w, within: poolsMeetWithin}, of: map[*participant]*poolPeer{}}
	pg.fits = func(p, q *participant) bool { return true }
	return pg
}

// poolPeer is a machine with a pool, and a server whose connections enter it.
type poolPeer struct {
	*participant
	pools  *poolGathering
	random *rand.Rand
	pool   *hyperdht.ConnectionPool
	listen bool // a DHT node leads to the server
	again  host.Timer
}

// add boots a program.
func (pg *poolGathering) add(r *rand.Rand) {
	p := &poolPeer{participant: pg.settle(r), pools: pg}
	p.random = pg.w.randFor(p.name)
	pg.of[p.participant] = p
	p.run = p.start
	p.stop = func(done func()) {
		p.again.Stop()
		p.node.Close(done)
	}
	p.boot()
}

// start runs the software.
func (p *poolPeer) start() {
	p.join(hyperdht.Config{Keys: p.keys})
	p.open, p.listen = nil, false
	p.pool = p.node.NewConnectionPool(p.entered)
	if _, err := p.node.Listen(hyperdht.ListenOptions{Keys: p.keys, OnConnection: p.pool.Add}, func(error) { p.listen = true }); err != nil {
		panic(fmt.Sprintf("sim: %s: %v", p.name, err))
	}
	if p.boots > 1 { // later than the others
		p.dialAll()
	}
}

// entered takes a connection of the pool.
func (p *poolPeer) entered(c *hyperdht.Connection) {
	p.connected(c)
	c.OnClose(func(err error) {
		if errors.Is(err, hyperdht.ErrDuplicateConnection) {
			p.pools.replaced++
		}
	})
}

// dialAll dials those that the program has no connection with, now and then again.
func (p *poolPeer) dialAll() {
	for _, q := range p.g.peers {
		if key := q.keys.Public; q != p.participant && !p.pool.Has(key) {
			p.pool.Connect(key, hyperdht.ConnectOptions{}, func(c *hyperdht.Connection, err error) { p.answered(key, c, err) })
		}
	}
	p.again = p.host.AfterFunc(redial+time.Duration(p.random.Int64N(int64(redial))), p.dialAll)
}

// answered checks the result of a call of Connect.
func (p *poolPeer) answered(key id.PublicKey, c *hyperdht.Connection, err error) {
	p.pools.dials++
	switch {
	case err != nil:
		p.pools.failed++
		if errors.Is(err, hyperdht.ErrDuplicateConnection) {
			p.w.fail("outcome", "%s gets no connection, though its pool keeps one", p.name)
		}
	case c.RemotePublicKey() != key || c.Closed() || !c.Opened() || p.pool.Get(key) != c:
		p.w.fail("outcome", "%s gets a connection that is not the one of its pool", p.name)
	}
}

// closeAll closes the connections of a program in order, as one does that changes its configuration.
func (pg *poolGathering) closeAll(p *participant) {
	p.host.Do(func() {
		for _, c := range p.open {
			c.Close()
		}
		p.open = nil // they end by themselves
	})
}

// listening reports whether all programs can be found.
func (pg *poolGathering) listening() bool {
	for _, p := range pg.peers {
		if !pg.of[p].listen {
			return false
		}
	}
	return true
}

// demandNoOther demands that nodes have no connections besides those of their pools, as duplicates that go on would be.
func (pg *poolGathering) demandNoOther() {
	for _, p := range pg.peers {
		pool := pg.of[p].pool
		if in, all := len(pool.Connections())+pool.Connecting(), p.node.Status().Connections; in != all {
			pg.w.fail("outcome", "%s has %d connections in its pool, and %d in all", p.name, in, all)
		}
	}
}

// report adds rows.
func (pg *poolGathering) report() {
	links := 0
	for _, p := range pg.peers {
		links += len(pg.of[p].pool.Connections())
	}
	pg.demandOne()
	pg.w.result.row("connections", "%d in the end, %d were reported on either side, of which %d were replaced by another", links/2, pg.reported, pg.replaced)
	pg.w.result.row("calls of Connect", "%d, of which %d have failed", pg.dials, pg.failed)
	pg.w.result.row("crashes", "%d", pg.crashes)
}
