package swarm

import (
	"errors"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
)

// found takes a record from a lookup of a topic: an unknown peer is dialled, and one whose last dials have failed, or that was
// connected by its own dials, as if it were unknown (hyperswarm index.js, _handlePeer).
func (s *Swarm) found(t *topic, record hyperdht.Peer) {
	key := record.PublicKey
	p := s.peers[key]
	switch {
	case key == s.PublicKey(), p != nil && p.banned:
		return
	case p == nil && len(s.peers) >= maxKnown, t.limit > 0 && (p == nil || !slices.Contains(p.topics, t)) && s.taken(t) >= t.limit:
		s.stats.Ignored++
		return
	}
	p = s.know(key)
	p.relays = slices.Clone(record.RelayAddrs[:min(len(record.RelayAddrs), maxRelayAddrs)])
	further := p.found(t)
	switch p.state {
	case peerConnected:
		if further && s.cfg.OnTopic != nil {
			info, target := p.info(), t.target
			s.host.Defer(func() { s.cfg.OnTopic(info, target) })
		}
	case peerIdle, peerWaiting:
		if p.priority() < Normal || !p.dialled {
			p.renew()
		}
		s.enqueue(p)
	}
}

// taken counts the peers of a topic that are connected, or may be.
func (s *Swarm) taken(t *topic) (n int) {
	for _, p := range s.peers {
		if slices.Contains(p.topics, t) && !p.in(peerIdle) {
			n++
		}
	}
	return n
}

// enqueue makes an idle or waiting peer wait for its dial.
func (s *Swarm) enqueue(p *peer) {
	if s.state != running || p.banned {
		return
	}
	p.become(peerQueued)
	s.queue.add(p)
	s.dialNext()
}

// requeue makes a peer wait for its next dial, after the time since the last one.
func (s *Swarm) requeue(p *peer) {
	if p.attempts > maxAttempts {
		p.attempts = maxAttempts // one of JoinPeer
	}
	s.enqueue(p)
}

// dialNext dials as many queued peers as there is room for, those of JoinPeer first.
func (s *Swarm) dialNext() {
	for s.state == running && s.counts.dialling < s.cfg.MaxParallel {
		p := s.queue.next(s.lowest(), s.draw)
		if p == nil {
			break
		}
		s.queue.remove(p)
		s.dial(p)
	}
	if s.counts.dialling == 0 {
		s.full()
	}
	s.changed()
}

// lowest is the priority that a peer needs to be dialled.
func (s *Swarm) lowest() Priority {
	if s.counts.open()+s.counts.dialling >= s.cfg.MaxPeers {
		return Explicit
	}
	return VeryLow
}

// dial connects to a queued peer.
func (s *Swarm) dial(p *peer) {
	admitted := s.cfg.Admit == nil || s.cfg.Admit(p.key)
	switch {
	case !p.in(peerQueued): // Admit has banned it, left it or stopped the swarm
		return
	case !admitted:
		s.stats.Refused++
		p.become(peerIdle)
		p.explicit = false
		s.settled(p)
		s.rest(p)
		return
	}
	keys := s.cfg.Keys
	c := s.node.Connect(p.key, hyperdht.ConnectOptions{
		Keys: &keys, RelayAddrs: p.relays, RelayThrough: s.cfg.RelayThrough, Paths: s.cfg.Paths,
	})
	p.conn = c
	s.queue.remove(p) // where Admit has changed its priority
	p.become(peerDialling)
	s.counts.dialling++
	s.stats.Dials++
	c.OnOpen(func() { s.dialOpened(p, c) })
	c.OnOver(func(err error) { s.over(p, c, err) })
}

// dialOpened runs when a dial has succeeded.
func (s *Swarm) dialOpened(p *peer, c *hyperdht.Connection) {
	if p.conn != c {
		return // another connection has taken its place
	}
	s.counts.dialling--
	s.counts.dialled++
	s.stats.Opened++
	p.proven, p.dialled = true, true
	s.connected(p)
	s.dialNext()
}

// connected reports the open connection of a peer.
func (s *Swarm) connected(p *peer) {
	p.become(peerConnected)
	p.openSince = s.host.Now()
	s.settled(p)
	s.changed()
	if s.cfg.OnConnection == nil {
		p.conn.Destroy(nil)
		return
	}
	s.cfg.OnConnection(p.conn, p.info())
}

// detach takes its connection from a peer, whose state is the caller's to change.
func (s *Swarm) detach(p *peer) *hyperdht.Connection {
	c := p.conn
	switch {
	case p.in(peerDialling):
		s.counts.dialling--
	case c.IsInitiator():
		s.counts.dialled--
	default:
		s.counts.incoming--
	}
	p.conn, p.openSince = nil, 0
	return c
}

// over runs when the connection of a peer, or its dial, has ended.
func (s *Swarm) over(p *peer, c *hyperdht.Connection, err error) {
	if p.conn != c {
		return // another connection has taken its place
	}
	failed := p.in(peerDialling)
	busy, _ := errors.AsType[*hyperdht.BusyError](err)
	waits := busy != nil && busy.RetryAfter > 0     // a place in the queue of punches: no failure
	asleep := errors.Is(err, hyperdht.ErrSuspended) // the node is, and peers are not to be given up meanwhile
	if failed && !waits {
		s.stats.Failed++
	}
	if !asleep && !(failed && waits) {
		p.dialOver()
	}
	s.detach(p)
	wait, again := p.retryAfter()
	if !c.IsInitiator() || asleep {
		wait = max(wait, mediumWait) // where the other side has dialled, it comes first
	}
	if wait += s.someOf(wait / retryJitter); waits {
		wait = busy.RetryAfter
	}
	s.pause(p, wait, again)
	s.dialNext()
}

// pause makes a peer whose connection has ended wait for its next dial, if there is to be one.
func (s *Swarm) pause(p *peer, wait time.Duration, again bool) {
	if again && p.wanted() && s.state == running {
		p.becomeFor(peerWaiting, wait)
		s.settled(p)
		return
	}
	p.become(peerIdle)
	s.settled(p)
	s.rest(p)
}
