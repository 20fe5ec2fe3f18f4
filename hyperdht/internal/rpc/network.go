package rpc

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// network owns the state of the network: whether this machine has one, how well it answers, and whether DHT nodes answer
// at all.
//
// They are silent from the start if the machine has no address, and a second later if none has answered. Once bootstrapping has ended DHT nodes
// answer, or not a single one has. They are silent after silentRequests without an answer, for
// silentAfter, and any answer ends that. Doubt finds that out sooner.
//
// Health judges how well they answer, once enough requests were made in a tick; an idle node makes too few.
type network struct {
	condition
	waking     bool // from a long sleep, and no node has answered yet
	reach      reachState
	doubted    bool         // a few nodes were asked since the last tick, or are
	doubting   bool         // and not all of them have answered or timed out
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
	switch {
	case e.calls.silent():
		e.setReach(reachSilent)
	case e.network.reach == reachStarting:
		e.setReach(reachAnswering)
	}
}

// Doubt is called at signs that nothing gets out any more. A few nodes are asked, and if no answer comes, to these or to other requests, DHT
// nodes are silent.
func (e *Endpoint) Doubt() {
	n, began := &e.network, e.h.Now()
	if !e.cfg.Doubts || n.doubted || !e.bootstrapped || !e.running() || e.Alone() || e.Silent() || e.nodes.list.Len() == 0 {
		return
	}
	n.doubted, n.doubting = true, true
	known, at, pending := e.nodes.list.Len(), 0, 0
	done := func(Reply, error) {
		if pending--; pending > 0 {
			return
		}
		n.doubting = false
		switch {
		case e.h.Now().Sub(began) >= doubtLimit: // the machine has slept
			e.calls.unanswered = 0
		case e.running() && e.calls.heard.Before(began):
			e.setReach(reachSilent)
		}
	}
	for node := e.nodes.list.Latest(); node != nil; node = node.Older() { // doubtNodes at most, evenly from all
		if at++; pending*known < at*doubtNodes {
			pending++
			e.Request(RequestOptions{To: node.Addr(), Internal: true, Command: wire.CmdPing, Timeout: doubtTimeout, Force: true}, done)
		}
	}
}

// mayDoubt allows the next doubt, with each tick.
func (e *Endpoint) mayDoubt() { e.network.doubted = e.network.doubting }

// late is called after a transmission was not answered in time.
func (e *Endpoint) late(c *Call) {
	if c.node && c.state == callEnded {
		e.nodeLost(c)
	}
	switch {
	case e.calls.heard == 0:
		e.unheard()
	case e.calls.unanswered == silentRequests:
		e.Doubt()
	}
}

// unheard reports that no node has answered since the start, a second after the first request. Bootstrapping goes on for some seconds more.
func (e *Endpoint) unheard() {
	if e.running() && e.network.reach == reachStarting && !e.Alone() {
		e.setReach(reachSilent)
	}
}

// offline reports whether this machine has no address from which a bootstrap node could be reached.
func (e *Endpoint) offline() bool {
	local := func(b Bootstrap) bool { return b.Addr.IsLoopback() }
	return len(e.network.interfaces) == 0 && !slices.ContainsFunc(e.cfg.Bootstrap, local)
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
