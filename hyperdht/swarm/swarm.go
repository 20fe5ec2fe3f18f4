package swarm

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Swarm finds the peers of topics and keeps one connection with each (hyperswarm index.js). Its methods must be called on the loop of
// its node's host, and its handlers run there.
type Swarm struct {
	host host.Host
	node *hyperdht.Node
	cfg  Config
	life
	listener

	topics  map[id.Target]*topic
	joined  []*topic // in the order of Join
	peers   map[id.PublicKey]*peer
	born    uint64
	queue   queue
	counts  counts
	flushes []*flush

	stats     Stats
	faults    states.Faults
	notifying bool // OnUpdate is about to run
}

// counts are the numbers of connections of a swarm.
type counts struct {
	dialling int // not open
	dialled  int // open, by dials of this side
	incoming int // open, by dials of others
}

func (c counts) open() int { return c.dialled + c.incoming }

// New returns a swarm on a node, without topics. It must be called on the loop of the node's host. It fails with hyperdht.ErrClosed on a
// closed node, and if no key pair can be drawn. Several swarms may share a node if their keys differ.
func New(node *hyperdht.Node, cfg Config) (*Swarm, error) {
	h := node.Host()
	if node.Closed() {
		return nil, hyperdht.ErrClosed
	}
	if cfg.Keys == (id.KeyPair{}) {
		keys, err := id.NewKeyPair(h.Rand())
		if err != nil {
			return nil, fmt.Errorf("swarm: draw key pair: %w", err)
		}
		cfg.Keys = keys
	}
	s := &Swarm{
		host: h, node: node, cfg: cfg.fill(),
		topics: make(map[id.Target]*topic), peers: make(map[id.PublicKey]*peer),
	}
	moved := node.OnMoved(func(m hyperdht.Move) {
		if m == hyperdht.MoveElsewhere {
			s.NetworkChanged()
		}
	})
	reach := node.OnReach(func(answering bool) {
		if answering {
			s.NetworkChanged()
		}
	})
	closed := node.OnClose(func() { s.Close(nil) })
	s.unhook = func() { moved(); reach(); closed() }
	return s, nil
}

// PublicKey returns the key under which peers know this swarm.
func (s *Swarm) PublicKey() id.PublicKey { return s.cfg.Keys.Public }

// Join begins to find the peers of a topic, which is the hash of a name that they share, and to connect to them. It fails with
// ErrClosed and ErrTooManyTopics, or if the swarm cannot listen: with hyperdht.ErrKeyPairInUse if another server of the node has its
// keys. A suspended swarm begins when it is resumed.
func (s *Swarm) Join(target id.Target, opts JoinOptions) (*Session, error) {
	t := s.topics[target]
	switch {
	case s.ending():
		return nil, ErrClosed
	case t == nil && len(s.topics) >= maxTopics:
		return nil, ErrTooManyTopics
	}
	if opts.Mode.server() {
		if err := s.listen(); err != nil {
			return nil, err
		}
	}
	if t == nil {
		t = &topic{target: target}
		t.begin(s, topicTable, t.passed)
		s.topics[target] = t
		s.joined = append(s.joined, t)
	}
	session := &Session{t: t, opts: opts}
	t.sessions, t.leaving = append(t.sessions, session), false
	t.update()
	s.changed()
	return session, nil
}

// Leave ends all sessions of a topic, and calls done, which may be nil, as Session.Leave does.
func (s *Swarm) Leave(target id.Target, done func()) {
	t := s.topics[target]
	if t == nil {
		if done != nil {
			s.host.Defer(done)
		}
		return
	}
	sessions := slices.Clone(t.sessions)
	for i, session := range sessions {
		if i == len(sessions)-1 {
			session.Leave(done)
			return
		}
		session.leave()
	}
	t.end(orNothing(done)) // it is being left
}

// dropTopic forgets a topic that has been left, and peers that were found under it alone.
func (s *Swarm) dropTopic(t *topic) {
	if s.topics[t.target] == t {
		delete(s.topics, t.target)
	}
	s.joined = without(s.joined, t)
	for _, p := range s.sorted() {
		p.topics = without(p.topics, t)
		if !p.wanted() {
			s.rest(p)
		}
	}
	s.changed()
}

// JoinPeer connects to a key, whether a topic leads to it or not, and again whenever the connection ends: after failures each ten
// minutes at least. The swarm's own key has no effect, nor has any on a closed swarm.
func (s *Swarm) JoinPeer(key id.PublicKey) {
	if s.ending() || key == s.PublicKey() {
		return
	}
	p := s.know(key)
	s.queue.remove(p)
	p.explicit = true
	switch {
	case p.in(peerQueued):
		s.queue.add(p) // with its new priority
		s.dialNext()
	case p.in(peerIdle, peerWaiting):
		s.enqueue(p)
	}
}

// LeavePeer ends the effect of JoinPeer. A connection stays open.
func (s *Swarm) LeavePeer(key id.PublicKey) {
	p := s.peers[key]
	if p == nil || !p.explicit {
		return
	}
	queued := p.in(peerQueued)
	s.queue.remove(p)
	p.explicit = false
	switch {
	case !p.wanted():
		s.rest(p)
	case queued:
		s.queue.add(p)
	}
}

// Ban keeps a key from being dialled and admitted until Unban. It ends a dial that is under way with ErrBanned; an open connection
// stays, and is the caller's to destroy.
func (s *Swarm) Ban(key id.PublicKey) {
	if s.ending() || key == s.PublicKey() {
		return
	}
	p := s.know(key)
	p.banned = true
	if p.in(peerDialling) {
		p.conn.Destroy(ErrBanned)
		return
	}
	s.rest(p)
}

// Unban ends the effect of Ban. Peers of JoinPeer are dialled, others when a lookup finds them.
func (s *Swarm) Unban(key id.PublicKey) {
	p := s.peers[key]
	if p == nil || !p.banned {
		return
	}
	p.banned = false
	if p.conn == nil {
		p.renew()
	}
	if p.in(peerIdle) && p.wanted() {
		s.enqueue(p)
		return
	}
	s.rest(p)
}

// NetworkChanged looks all topics up again, tests all connections, and dials peers that wait for a further attempt. The swarm does so by
// itself when its node notices that the network has changed; it is for programs that know that earlier.
func (s *Swarm) NetworkChanged() {
	if s.state != running {
		return
	}
	for _, p := range s.sorted() {
		switch {
		case p.in(peerConnected):
			p.conn.Send(nil) // an empty message is a keep-alive
		case p.in(peerWaiting) && p.explicit:
			s.enqueue(p)
		}
	}
	for _, t := range slices.Clone(s.joined) {
		if t.state == topicRefreshing || t.state == topicResting {
			t.settle()
		}
	}
}

// know returns the peer with a key, which is added if it is not known.
func (s *Swarm) know(key id.PublicKey) *peer {
	p := s.peers[key]
	if p == nil {
		p = &peer{key: key, born: s.born}
		p.begin(s, peerTable, p.passed)
		s.born++
		s.peers[key] = p
	}
	return p
}

// sorted lists the peers in the order in which they became known.
func (s *Swarm) sorted() []*peer {
	return slices.SortedFunc(maps.Values(s.peers), func(a, b *peer) int { return cmp.Compare(a.born, b.born) })
}

// rest makes a peer without a connection wait for nothing, and forgets it unless there is a reason to know it.
func (s *Swarm) rest(p *peer) {
	if p.in(peerQueued, peerWaiting) {
		s.queue.remove(p)
		p.become(peerIdle)
		s.settled(p)
	}
	if p.in(peerIdle) && !p.banned && !p.explicit {
		p.become(peerForgotten)
		delete(s.peers, p.key)
	}
	s.changed()
}

// changed calls OnUpdate at the end of the turn.
func (s *Swarm) changed() {
	if s.cfg.OnUpdate == nil || s.notifying {
		return
	}
	s.notifying = true
	s.host.Defer(func() {
		s.notifying = false
		s.cfg.OnUpdate()
	})
}

// someOf returns a random part of d.
func (s *Swarm) someOf(d time.Duration) time.Duration {
	return time.Duration(host.DrawUint16(s.host.Rand())) * d / (1 << 16)
}

// draw returns a random number below n.
func (s *Swarm) draw(n int) int {
	if n == 1 {
		return 0
	}
	return int(host.DrawUint32(s.host.Rand()) % uint32(n))
}

// without removes an element from a list that may be in use by a loop.
func without[T comparable](list []T, x T) []T {
	if i := slices.Index(list, x); i >= 0 {
		return slices.Concat(list[:i], list[i+1:])
	}
	return list
}

func orNothing(f func()) func() {
	if f == nil {
		return func() {}
	}
	return f
}
