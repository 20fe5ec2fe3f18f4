package rpc

import (
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/ports/host"
)

// upkeep owns the pace of maintenance: its ticks, and how many of them are left until the table is refreshed.
type upkeep struct {
	ticker       host.Timer
	lastTick     host.Instant
	refreshTicks int
	lonelyWait   int // ticks between two looks for more nodes, and those since the last
	lonelyTicks  int
	downHints    int // sent in this tick
}

// begin starts the ticks, or starts them again.
func (u *upkeep) begin(h host.Host, onTick func()) {
	u.lastTick = h.Now()
	if u.ticker == nil {
		u.ticker = h.AfterFunc(TickInterval, onTick)
	} else {
		u.ticker.Reset(TickInterval)
	}
}

// slept notes a tick, and reports whether the machine slept before it.
func (u *upkeep) slept(now host.Instant) bool {
	slept := now.Sub(u.lastTick) > sleepingInterval
	u.lastTick = now
	return slept
}

// mayHint counts a down hint and reports whether it may be sent in this tick.
func (u *upkeep) mayHint() bool {
	if u.downHints >= downHintsPerTick {
		return false
	}
	u.downHints++
	return true
}

// refreshDue counts a tick, and reports whether to refresh the table, of so many nodes, in it.
func (u *upkeep) refreshDue(tick kad.Tick, nodes int) bool {
	u.refreshTicks--
	return u.refreshTicks <= 0 || tick&63 == 0 && nodes < kad.K || u.lonely(nodes)
}

// lonely reports whether it is time to look for more nodes because very few are known, as when a whole private DHT
// starts at once and the first node to answer knew no others yet. It is so at every tick at first, and then half as often
// each time: some networks are small. The reference implementation waits for five minutes, and until then cannot tell its NAT.
func (u *upkeep) lonely(nodes int) bool {
	if nodes >= fewNodes {
		u.lonelyWait, u.lonelyTicks = 0, 0
		return false
	}
	if u.lonelyTicks++; u.lonelyTicks <= u.lonelyWait {
		return false
	}
	u.lonelyTicks = 0
	u.lonelyWait = min(max(1, 2*u.lonelyWait), refreshTicks)
	return true
}

// onTick is the maintenance of every 5 s (dht-rpc index.js, _ontick).
func (e *Endpoint) onTick() {
	e.upkeep.ticker.Reset(TickInterval)
	if e.upkeep.slept(e.h.Now()) {
		e.wakeUp()
		e.network.waking = true
		e.askAddress() // at once, so that after a sleep with the network up a move is noticed within the tick
	} else {
		e.nodes.tick++
	}
	if addrs := e.h.Addrs(); !slices.Equal(addrs, e.network.interfaces) {
		e.network.interfaces = addrs
		e.NetworkChanged()
	}
	if !e.bootstrapped || !e.running() {
		return
	}
	if e.standing.due(e.address.sampler.Host()) {
		e.updateState(persistence, func(bool) {})
	}
	if e.nodes.tick&7 == 0 {
		e.pingSome()
	}
	if e.upkeep.refreshDue(e.nodes.tick, e.nodes.list.Len()) {
		e.refresh()
	}
	e.rejoinTick()
	e.judgeReach()
	e.mayDoubt()
	e.upkeep.downHints = 0
	if e.network.health.Update(e.calls.requests.Responses, e.calls.requests.Timeouts) {
		e.judge()
	}
}

// refresh looks up a random known id, so that the table stays alive.
func (e *Endpoint) refresh() {
	e.background(id.Target(e.nodes.some(e.random)), nil, nil)
	e.sampleAddress()
}

func (e *Endpoint) random(n int) int { return random(e.h, n) }

// background starts a lookup that leaves room for other traffic (dht-rpc index.js, _backgroundQuery). Nodes of an earlier run
// are asked all at once, since some may be gone.
func (e *Endpoint) background(target id.Target, onReply func(*Reply), onDone func(error)) {
	var q *Query
	q = e.FindNode(target, QueryConfig{
		Concurrency: max(backgroundConcurrency, len(e.nodes.known)),
		OnReply: func(r *Reply) {
			q.concurrency = backgroundConcurrency
			if e.calls.table.n < 3 {
				q.concurrency = Concurrency
			}
			if onReply != nil {
				onReply(r)
			}
		},
		Discard: true, OnDone: onDone,
	})
}

// wakeUp makes everything look old after a sleep (dht-rpc index.js, _onwakeup).
func (e *Endpoint) wakeUp() {
	e.nodes.tick += 2 * oldNode
	e.nodes.tick += 8 - e.nodes.tick&7 - 2 // pings follow in two ticks
	e.upkeep.refreshTicks = 1              // in the next tick: the network may need time to wake up too
	e.standing.unsettle()
	e.network.health.Reset()
	e.setNetwork(condition{online: true})

	if e.standing.adaptive && !e.Ephemeral() {
		e.becomeEphemeral()
	}
	e.tell(Event{Kind: EventWakeUp})
}
