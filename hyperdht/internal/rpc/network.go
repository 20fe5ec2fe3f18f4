package rpc

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
)

// network owns the state of the network: whether this machine has one, how well it answers, and whether DHT nodes answer
// at all.
//
// Once bootstrapping has ended DHT nodes answer, or not a single one has. They are silent after silentRequests without an answer, for
// silentAfter, and any answer ends that.
//
// Health judges how well they answer, once enough requests were made in a tick; an idle node makes too few.
type network struct {
	condition
	waking     bool // from a long sleep, and no node has answered yet
	reach      reachState
	interfaces []netip.Addr // of this machine
	health     kad.Health
}

type condition struct{ online, degraded bool }

// Silent reports whether bootstrapping has ended and no DHT node answers. It is never so without bootstrap nodes: others
// enter such a network by this node.
func (e *Endpoint) Silent() bool { return e.network.reach == reachSilent }

// judgeReach draws the conclusion, with each tick and at the end of bootstrapping.
func (e *Endpoint) judgeReach() {
	if !e.bootstrapped || !e.running() || e.Alone() {
		return
	}
	if e.calls.silent() {
		e.setReach(reachSilent)
	} else {
		e.setReach(reachAnswering)
	}
}

// answered notes an answer, of a DHT node or of a peer.
func (e *Endpoint) answered(peer bool) {
	n := &e.network
	if n.waking {
		n.waking = false
		e.h.Defer(func() { e.app.Event(Event{Kind: EventAwake}) })
	}
	if n.reach == reachSilent && !peer {
		e.setReach(reachAnswering)
	}
	if !n.online {
		n.health.Heard()
		e.judge()
	}
}

func (e *Endpoint) setReach(v reachState) {
	was := e.network.reach
	if v == was {
		return
	}
	reachTable.Become(&e.network.reach, v, &e.faults)
	if was == reachStarting && v == reachAnswering {
		return
	}
	event := Event{Kind: EventReach, Online: v == reachAnswering}
	e.h.Trace(event)
	e.h.Defer(func() { e.app.Event(event) })
}

// judge draws the conclusion from the health of the network.
func (e *Endpoint) judge() {
	degraded := e.network.health.Degraded()
	e.setNetwork(condition{online: degraded || e.network.health.Online(), degraded: degraded})
}

func (e *Endpoint) setNetwork(c condition) {
	if e.network.condition == c {
		return
	}
	e.network.condition = c
	e.tell(e.networkEvent())
}

func (e *Endpoint) networkEvent() Event {
	return Event{Kind: EventNetwork, Online: e.network.online, Degraded: e.network.degraded}
}

// NetworkChanged reports that this machine's addresses have changed. Ticks notice that too, but
// later.
//
// The reference implementation only notifies its users. That is not enough to notice a new public address: the sampler's
// sixteen votes are renewed every half hour. So a few nodes are asked at once, and if they agree on
// another host, what we knew of ourselves is forgotten as after a sleep. That a machine's interfaces
// change without that (containers come and go) must not cost a node its persistence.
func (e *Endpoint) NetworkChanged() {
	if e.Closed() {
		return
	}
	e.tell(Event{Kind: EventInterfaces})
	e.app.Event(e.networkEvent())
	e.askAddress()
}
