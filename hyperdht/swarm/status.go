package swarm

import (
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// Status describes a swarm at one moment.
type Status struct {
	// Topics is the number of topics, and Known that of peers that the swarm remembers.
	Topics, Known int
	// Queued is the number of peers that wait for room for their dial, Dialling that of dials under way, and Waiting that of peers
	// whose last dial or connection has ended, and that are dialled again later.
	Queued, Dialling, Waiting int
	// Dialled and Incoming are the numbers of open connections by the side that has dialled: this one, and the peer.
	Dialled, Incoming int
	// Listening reports whether a DHT node leads to the swarm.
	Listening bool
	// Suspended and Closed report whether Suspend and Close have been called.
	Suspended, Closed bool
	// Stats count what has happened since New.
	Stats Stats
}

// Stats are counters.
type Stats struct {
	// Refreshes are lookups of topics, with or without an announcement.
	Refreshes uint64
	// Dials are attempts to connect, Opened those that have succeeded, and Failed those that have not. The others are under way, have
	// found the other side busy, or were ended for another connection.
	Dials, Opened, Failed uint64
	// Incoming are accepted connections.
	Incoming uint64
	// Duplicates are connections and dials that were ended because there was another one with the peer.
	Duplicates uint64
	// Refused are callers, and peers to be dialled, that Config.Admit, Ban or a limit has rejected.
	Refused uint64
	// Ignored are records in lookups beyond the limits.
	Ignored uint64
	// WrongTransitions counts changes of state that no table lists: mistakes of this package.
	WrongTransitions uint64
}

// Status describes the swarm now.
func (s *Swarm) Status() Status {
	status := Status{
		Topics: len(s.topics), Known: len(s.peers), Dialling: s.counts.dialling, Dialled: s.counts.dialled, Incoming: s.counts.incoming,
		Listening: s.announced, Suspended: s.state == suspending || s.state == suspended, Closed: s.ending(), Stats: s.stats,
	}
	status.Stats.WrongTransitions = s.faults.Wrong
	for _, p := range s.peers {
		switch p.state {
		case peerQueued:
			status.Queued++
		case peerWaiting:
			status.Waiting++
		}
	}
	return status
}

// Topic describes a topic now. It reports false for one that is not joined.
func (s *Swarm) Topic(target id.Target) (TopicStatus, bool) {
	t := s.topics[target]
	if t == nil {
		return TopicStatus{}, false
	}
	status := TopicStatus{
		Server: t.server, Client: t.client, Sessions: len(t.sessions), Refreshing: t.state == topicRefreshing, Err: t.err,
	}
	for _, p := range s.peers {
		if slices.Contains(p.topics, t) {
			status.Peers++
			if p.in(peerConnected) {
				status.Connected++
			}
		}
	}
	if t.state == topicResting {
		status.Next = t.due.Sub(s.host.Now())
	}
	return status, true
}

// Peer describes the peer with a key now. It reports false for one that the swarm does not know.
func (s *Swarm) Peer(key id.PublicKey) (Peer, bool) {
	p := s.peers[key]
	if p == nil {
		return Peer{}, false
	}
	return p.info(), true
}

// Peers describes all known peers now, in the order in which they became known.
func (s *Swarm) Peers() []Peer {
	list := make([]Peer, 0, len(s.peers))
	for _, p := range s.sorted() {
		list = append(list, p.info())
	}
	return list
}

// Connection returns the open connection with a peer; nil for none.
func (s *Swarm) Connection(key id.PublicKey) *hyperdht.Connection {
	if p := s.peers[key]; p != nil && p.in(peerConnected) {
		return p.conn
	}
	return nil
}

// Connections returns all open connections, in the order in which their peers became known.
func (s *Swarm) Connections() []*hyperdht.Connection {
	var list []*hyperdht.Connection
	for _, p := range s.sorted() {
		if p.in(peerConnected) {
			list = append(list, p.conn)
		}
	}
	return list
}

// Sizes calls tell with what the swarm holds now and the bound of each; -1 stands for no bound but what the application asks for.
func (s *Swarm) Sizes(tell func(what string, held, most int)) {
	queued := len(s.queue.of)
	tell("topics of a swarm", len(s.topics), maxTopics)
	tell("peers of a swarm", len(s.peers), maxKnown+s.cfg.MaxIncoming)
	tell("peers of a swarm that wait for a dial", queued, maxKnown+s.cfg.MaxIncoming)
	tell("dials of a swarm", s.counts.dialling, s.cfg.MaxParallel)
	tell("calls that wait for the server of a swarm", len(s.listener.waiting), -1)
	tell("flushes of a swarm", len(s.flushes), -1)
	waits := 0
	for _, t := range s.joined {
		waits += len(t.waiting)
	}
	tell("calls that wait for refreshes of a swarm", waits, -1)
}
