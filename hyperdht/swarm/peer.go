package swarm

import (
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Priority is the order in which peers that wait for a dial get one; among equals it is random.
type Priority uint8

// The priorities, from the last to the first.
const (
	// VeryLow belongs to peers that were dialled and never connected, and to those after more than three attempts.
	VeryLow Priority = iota
	// Low belongs to peers after three attempts.
	Low
	// Normal belongs to peers that were found and not dialled yet.
	Normal
	// High belongs to peers after a connection and two attempts.
	High
	// VeryHigh belongs to peers after a connection and one attempt.
	VeryHigh
	// Explicit belongs to peers of JoinPeer, whatever their attempts.
	Explicit
	priorities = iota
)

// Peer describes a peer at one moment.
type Peer struct {
	// PublicKey is its identity.
	PublicKey id.PublicKey
	// Topics are those of this swarm under which a lookup has found it. A peer that has dialled us may have none.
	Topics []id.Target
	// Dialled reports whether the last connection was dialled by this side.
	Dialled bool
	// Connected, Banned and Explicit report whether there is an open connection, whether Ban holds, and whether JoinPeer has named it.
	Connected, Banned, Explicit bool
	// Proven reports whether a dial has succeeded since the peer was last forgotten, or found again after failures.
	Proven bool
	// Attempts is the number of dials since the last connection that lasted for 15 s.
	Attempts int
	// Priority orders its next dial among those of others.
	Priority Priority
}

// peer holds the state of one peer, and its connection (hyperswarm lib/peer-info.js).
type peer struct {
	machine[peerState]
	key    id.PublicKey
	born   uint64 // numbers the peers of a swarm
	relays []netip.AddrPort
	topics []*topic

	conn      *hyperdht.Connection // dialled, open or not, or incoming and open
	openSince host.Instant         // zero while there is no open connection
	place     int                  // in the queue

	attempts int
	proven   bool
	dialled  bool // the last connection was, by this side
	explicit bool
	banned   bool
}

type peerState uint8

const (
	peerIdle peerState = iota
	peerQueued
	peerDialling
	peerConnected
	peerWaiting
	peerForgotten
)

var peerTable = &states.Table[peerState]{Name: "peer", States: []states.Rule[peerState]{
	peerIdle: {
		Name: "idle", Why: "it leaves in the turn in which it was added, unless it is banned, or named by JoinPeer in a suspended swarm",
		Next: []peerState{peerQueued, peerConnected, peerForgotten},
	},
	peerQueued: {
		Name: "queued", Why: "until there is room for its dial, or the topics that it was found under are left",
		Next: []peerState{peerDialling, peerConnected, peerIdle},
	},
	peerDialling: {
		Name: "dialling", Limit: dialLimit,
		Next: []peerState{peerConnected, peerWaiting, peerIdle},
	},
	peerConnected: {
		Name: "connected", Why: "until the connection ends; another one may replace it",
		Next: []peerState{peerConnected, peerWaiting, peerIdle},
	},
	peerWaiting: {
		Name: "waiting", Limit: hopelessWait + hopelessWait/retryJitter,
		Next: []peerState{peerQueued, peerConnected, peerIdle},
	},
	peerForgotten: {Name: "forgotten"},
}}

// in reports whether the peer is in one of some states.
func (p *peer) in(states ...peerState) bool { return slices.Contains(states, p.state) }

// passed leaves a state whose deadline has passed.
func (p *peer) passed(s peerState) {
	if s == peerDialling {
		p.conn.Destroy(hyperdht.ErrTimeout)
		return
	}
	p.s.requeue(p)
}

// found adds a topic, and reports whether it is a further one.
func (p *peer) found(t *topic) bool {
	if slices.Contains(p.topics, t) {
		return false
	}
	p.topics = append(p.topics, t)
	return true
}

// wanted reports whether the swarm has a reason to dial.
func (p *peer) wanted() bool {
	return !p.banned && (p.explicit || slices.ContainsFunc(p.topics, func(t *topic) bool { return t.client }))
}

// priority returns the priority of the next dial.
func (p *peer) priority() Priority {
	switch {
	case p.explicit:
		return Explicit
	case p.attempts > maxAttempts:
		return VeryLow
	case p.attempts == 0:
		return Normal
	case !p.proven:
		return VeryLow
	}
	return [...]Priority{VeryHigh, High, Low}[p.attempts-1]
}

// renew forgets what has happened before.
func (p *peer) renew() { p.attempts, p.proven, p.dialled = 0, false, false }

// dialOver counts a dial that failed, or whose connection has ended.
func (p *peer) dialOver() {
	if p.openSince != 0 && p.s.host.Now().Sub(p.openSince) >= lastingConnection {
		p.attempts = 0
	}
	p.attempts++
}

// retryAfter returns the wait before the next dial, and reports whether there is to be one.
func (p *peer) retryAfter() (time.Duration, bool) {
	waits := [...]time.Duration{shortWait, mediumWait, longWait, longWait}
	i := p.attempts
	if p.proven {
		i--
	}
	switch {
	case p.attempts <= maxAttempts:
		return waits[min(max(i, 0), len(waits)-1)], true
	case p.explicit:
		return hopelessWait, true
	}
	return 0, false
}

// info describes the peer now.
func (p *peer) info() Peer {
	topics := make([]id.Target, len(p.topics))
	for i, t := range p.topics {
		topics[i] = t.target
	}
	return Peer{
		PublicKey: p.key, Topics: topics, Dialled: p.dialled, Connected: p.state == peerConnected, Banned: p.banned,
		Explicit: p.explicit, Proven: p.proven, Attempts: p.attempts, Priority: p.priority(),
	}
}

// queue holds the peers that wait for a dial, by priority (as npm shuffled-priority-queue).
type queue struct {
	waiting [priorities][]*peer
	of      map[*peer]Priority
}

func (q *queue) add(p *peer) {
	if q.of == nil {
		q.of = make(map[*peer]Priority)
	}
	at := p.priority()
	q.of[p], p.place = at, len(q.waiting[at])
	q.waiting[at] = append(q.waiting[at], p)
}

func (q *queue) remove(p *peer) {
	at, queued := q.of[p]
	if !queued {
		return
	}
	delete(q.of, p)
	list := q.waiting[at]
	last := list[len(list)-1]
	list[p.place], last.place = last, p.place
	list[len(list)-1] = nil
	q.waiting[at] = list[:len(list)-1]
}

// next returns a peer of the highest priority that is at least lowest; nil for none.
func (q *queue) next(lowest Priority, draw func(n int) int) *peer {
	for at := Priority(priorities - 1); ; at-- {
		if list := q.waiting[at]; len(list) > 0 {
			return list[draw(len(list))]
		}
		if at == lowest {
			return nil
		}
	}
}
