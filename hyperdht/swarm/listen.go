package swarm

import (
	"bytes"
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// listener is the server of a swarm.
type listener struct {
	server    *hyperdht.Server
	wanted    bool          // by Listen or a topic
	closing   bool          // the record of a closed server is being removed
	announced bool          // a DHT node has stored the record
	waiting   []func(error) // for that
}

// Listen accepts connections under the swarm's keys, as joining a topic as a server does, and calls done, which may be nil, when a DHT
// node leads to the swarm, or with an error. It lasts until Close. The errors are those of Join.
func (s *Swarm) Listen(done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	if err := s.listen(); err != nil {
		s.host.Defer(func() { done(err) })
		return
	}
	s.whenListening(done)
}

// listen starts the server, at the next Resume if the swarm is suspended.
func (s *Swarm) listen() error {
	switch {
	case s.ending():
		return ErrClosed
	case s.server != nil:
		return nil
	case s.closing || s.state != running:
		s.wanted = true
		return nil
	}
	var server *hyperdht.Server
	var err error
	server, err = s.node.Listen(hyperdht.ListenOptions{
		Keys: s.cfg.Keys, Admit: s.admit, Known: func(key id.PublicKey) bool { return s.peers[key] != nil },
		OnConnection: s.accept, RelayThrough: s.cfg.RelayThrough,
		Paths:       func(id.PublicKey) hyperdht.PathRule { return s.cfg.Paths },
		KeepLimited: s.cfg.KeepLimited,
	}, func(err error) {
		if s.server == server { // otherwise stopListening has answered those that waited
			s.listens(err)
		}
	})
	if err != nil {
		return err
	}
	s.server, s.wanted = server, true
	return nil
}

// listens runs at most once for each server: when it is announced, or closed before, with its node.
func (s *Swarm) listens(err error) {
	s.announced = err == nil
	s.tellListening(err)
}

func (s *Swarm) tellListening(err error) {
	waiting := s.listener.waiting
	s.listener.waiting = nil
	for _, f := range waiting {
		f(err)
	}
	s.changed()
}

// whenListening calls f when the server is announced, or has failed: at the end of the turn if it is.
func (s *Swarm) whenListening(f func(error)) {
	if s.announced {
		s.host.Defer(func() { f(nil) })
		return
	}
	s.listener.waiting = append(s.listener.waiting, f)
}

// stopListening closes the server and calls done when its record is removed. err is for calls that wait for a server.
func (s *Swarm) stopListening(err error, done func()) {
	server := s.server
	s.server, s.announced = nil, false
	s.tellListening(err)
	if server == nil {
		s.host.Defer(done)
		return
	}
	s.closing = true
	server.Close(func() {
		s.closing = false
		done()
		s.listenAgain()
	})
}

// listenAgain starts the server of a swarm that is resumed.
func (s *Swarm) listenAgain() {
	if s.state != running || !s.wanted {
		return
	}
	if err := s.listen(); err != nil {
		s.tellListening(err) // a topic tries again with its next refresh
	}
}

// admit decides on a caller before its handshake is answered.
func (s *Swarm) admit(remote id.PublicKey, _ *hyperdht.HandshakePayload, _ netip.AddrPort) bool {
	p := s.peers[remote]
	known := p != nil && (p.explicit || p.in(peerConnected))
	switch {
	case s.state != running, remote == s.PublicKey(), p != nil && p.banned,
		!known && s.counts.incoming >= s.cfg.MaxIncoming,
		s.cfg.Admit != nil && !s.cfg.Admit(remote):
		s.stats.Refused++
		return false
	}
	return true
}

// accept waits for the first packet of a caller: until then it may be a repetition of an old handshake, which must not replace a
// connection.
func (s *Swarm) accept(c *hyperdht.Connection) {
	c.OnOpen(func() { s.arrived(c) })
}

// arrived takes an incoming connection that has opened, or ends it if there is a better one.
func (s *Swarm) arrived(c *hyperdht.Connection) {
	if s.state != running {
		c.Destroy(ErrClosed)
		return
	}
	p := s.know(c.RemotePublicKey())
	switch {
	case p.banned:
		c.Destroy(ErrBanned)
		return
	case p.conn != nil && !s.replaces(p):
		s.stats.Duplicates++
		p.conn.Send(nil) // a keep-alive, by which a dead one is noticed
		c.Destroy(ErrDuplicate)
		return
	case p.conn == nil && s.counts.incoming >= s.cfg.MaxIncoming && !p.explicit:
		s.stats.Refused++
		c.Destroy(ErrClosed)
		if !p.wanted() {
			s.rest(p)
		}
		return
	}
	if p.conn != nil {
		s.stats.Duplicates++
		s.detach(p).Destroy(ErrDuplicate)
	}
	s.queue.remove(p)
	p.conn, p.dialled = c, false
	s.counts.incoming++
	s.stats.Incoming++
	c.OnOver(func(err error) { s.over(p, c, err) })
	s.connected(p)
	s.dialNext()
}

// replaces reports whether an incoming connection of a peer replaces the one that it has.
//
// Where both sides have dialled at the same time, the dial of the side with the greater key stays, on either side (hyperswarm
// index.js, _handleServerConnection). A peer that dials while there is a connection has lost it: unless that has opened so recently
// that the dial may have begun before. hyperswarm takes a connection that has carried anything for lost, however young, so that both
// sides may end the other's.
func (s *Swarm) replaces(p *peer) bool {
	mine, own := s.cfg.Keys.Public, p.conn.IsInitiator()
	theirs := bytes.Compare(mine[:], p.key[:]) < 0
	switch {
	case !own: // of two dials of the peer, the later one
		return true
	case p.openSince == 0: // an unanswered dial cannot have opened at the peer
		return theirs || !p.conn.Answered()
	}
	return theirs || s.host.Now().Sub(p.openSince) > settling
}
