package dhtnet

import (
	"context"
	"fmt"
	"net"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/swarm"
	"github.com/dhtprom/dhtprom/ports/bridge"
)

// Swarm finds the peers of topics and keeps one connection with each: package swarm for goroutines. Accept returns the connections,
// whichever side has dialled.
type Swarm struct {
	net     *Net
	swarm   *swarm.Swarm // on the loop only
	key     id.PublicKey
	backlog *backlog[*SwarmConn]
}

// SwarmConn is a connection of a swarm. When it is closed, by either side, the swarm dials the peer again, as long as it has a reason
// to: to be rid of a peer, leave the topic, or ban it.
type SwarmConn struct {
	*Conn
	// Peer describes the peer at the time at which the connection opened: its key, and the topics under which it was found, if any.
	Peer swarm.Peer
}

// Swarm returns a swarm on this node, without topics. cfg.OnConnection must be nil: Accept uses it; the other handlers run on the
// loop and must not block. It fails if the node's host is closed, or no key pair can be drawn.
func (n *Net) Swarm(ctx context.Context, cfg swarm.Config) (*Swarm, error) {
	s := &Swarm{net: n, backlog: newBacklog[*SwarmConn]()}
	closed := cfg.OnClose
	cfg.OnConnection = func(c *hyperdht.Connection, p swarm.Peer) {
		if !s.backlog.add(&SwarmConn{Conn: newConn(n.loop, c), Peer: p}) {
			c.Destroy(nil)
		}
	}
	cfg.OnClose = func() {
		s.backlog.end()
		if closed != nil {
			closed()
		}
	}
	err := s.call(ctx, "start a swarm", func() (err error) {
		if s.swarm, err = swarm.New(n.node, cfg); err == nil {
			s.key = s.swarm.PublicKey()
		}
		return err
	}, func() { s.swarm.Close(nil) })
	if err != nil {
		return nil, err
	}
	return s, nil
}

// call runs f on the loop and returns its error, wrapped with what it does. undo, which may be nil, runs there if f has succeeded and ctx
// has ended before call could return that.
func (s *Swarm) call(ctx context.Context, what string, f func() error, undo func()) error {
	return s.wait(ctx, what, func(done func(error)) func() {
		err := f()
		done(err)
		if err != nil {
			return nil
		}
		return undo
	})
}

// wait runs start on the loop and waits until it calls done, whose error it returns, wrapped with what start does. The function that start
// returns, if any, runs there if ctx ends first.
func (s *Swarm) wait(ctx context.Context, what string, start func(done func(error)) (cancel func())) error {
	failure, err := bridge.Call(ctx, s.net.loop, start)
	if err == nil {
		err = failure
	}
	if err != nil {
		return fmt.Errorf("dhtnet: %s: %w", what, err)
	}
	return nil
}

// PublicKey returns the key under which peers know this swarm.
func (s *Swarm) PublicKey() id.PublicKey { return s.key }

// Accept waits for the next connection. It returns the error of ctx when that ends, and net.ErrClosed once the swarm, its node or its
// host is closed. 128 connections may wait for it; more are ended.
func (s *Swarm) Accept(ctx context.Context) (*SwarmConn, error) {
	c, err := s.backlog.take(ctx, s.net.loop)
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: network, Source: Addr{Key: s.key}, Err: err}
	}
	return c, nil
}

// Join begins to find the peers of a topic, the hash of a name that they share, and to connect to them. It does not wait: the Flush
// of the result does. It fails with swarm.ErrClosed or swarm.ErrTooManyTopics, or with hyperdht.ErrKeyPairInUse if another server of
// the node has the keys of the swarm.
func (s *Swarm) Join(ctx context.Context, topic id.Target, opts swarm.JoinOptions) (*Topic, error) {
	t := &Topic{s: s}
	err := s.call(ctx, "join topic", func() (err error) {
		t.session, err = s.swarm.Join(topic, opts)
		return err
	}, func() { t.session.Leave(nil) })
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Flush waits until the lookups and announcements of all topics have ended, and each peer that was found has been connected, or its
// first dial has failed, or there is no room for it. It fails with swarm.ErrClosed and swarm.ErrSuspended, and with the error of ctx when
// that ends: without a network, nothing else may end it.
func (s *Swarm) Flush(ctx context.Context) error {
	return s.wait(ctx, "flush", func(done func(error)) func() {
		return s.swarm.Flush(done)
	})
}

// JoinPeer connects to a key without a topic, and again whenever the connection ends. It does not wait for a connection.
func (s *Swarm) JoinPeer(ctx context.Context, key id.PublicKey) error {
	return s.Do(ctx, func(s *swarm.Swarm) { s.JoinPeer(key) })
}

// LeavePeer ends the effect of JoinPeer. A connection stays open.
func (s *Swarm) LeavePeer(ctx context.Context, key id.PublicKey) error {
	return s.Do(ctx, func(s *swarm.Swarm) { s.LeavePeer(key) })
}

// Ban keeps a key from being dialled and admitted until Unban. An open connection stays open, until it is closed.
func (s *Swarm) Ban(ctx context.Context, key id.PublicKey) error {
	return s.Do(ctx, func(s *swarm.Swarm) { s.Ban(key) })
}

// Unban ends the effect of Ban.
func (s *Swarm) Unban(ctx context.Context, key id.PublicKey) error {
	return s.Do(ctx, func(s *swarm.Swarm) { s.Unban(key) })
}

// Suspend ends all connections and removes the records of the swarm, which takes ten seconds at most. Topics are kept for Resume.
func (s *Swarm) Suspend(ctx context.Context) error {
	return s.wait(ctx, "suspend", func(done func(error)) func() {
		s.swarm.Suspend(func() { done(nil) })
		return nil
	})
}

// Resume undoes Suspend. It fails with swarm.ErrClosed.
func (s *Swarm) Resume(ctx context.Context) error {
	return s.call(ctx, "resume", func() error { return s.swarm.Resume() }, nil)
}

// Do runs f on the loop, where all methods of the swarm may be called, such as Status and Peers, and waits for it. f must not block.
func (s *Swarm) Do(ctx context.Context, f func(*swarm.Swarm)) error {
	return bridge.Wait(ctx, s.net.loop, func(done func()) {
		f(s.swarm)
		done()
	})
}

// Close leaves all topics, ends all connections and waits until the records are removed, which takes ten seconds at most. Accept fails
// then. Repeated calls have no effect. The node stays open.
func (s *Swarm) Close() error {
	s.backlog.end()
	// On a closed host there is nothing left to remove.
	_ = bridge.Wait(context.Background(), s.net.loop, func(done func()) { s.swarm.Close(done) })
	return nil
}

// Topic is one use of a topic of a swarm. Several uses of the same topic add up; it is left when the last one has left.
type Topic struct {
	s       *Swarm
	session *swarm.Session
}

// Flush waits until the running lookup or announcement of the topic has ended, and returns its error: a server can be found then. It
// does not wait for connections. It fails with swarm.ErrLeft after Leave, with swarm.ErrSuspended and swarm.ErrClosed, and with the error
// of ctx when that ends: without a network, nothing else may end it.
func (t *Topic) Flush(ctx context.Context) error {
	return t.s.wait(ctx, "flush topic", func(done func(error)) func() {
		return t.session.Flush(done)
	})
}

// Refresh sets the options, and looks the topic up, and announces it, with them. It does not wait: Flush does. It fails with
// swarm.ErrLeft after Leave, and as Join does.
func (t *Topic) Refresh(ctx context.Context, opts swarm.JoinOptions) error {
	return t.s.call(ctx, "refresh topic", func() error { return t.session.Refresh(opts) }, nil)
}

// Leave ends this use, and waits until the record of this peer is removed if it was the topic's last one, which takes ten seconds at
// most. Connections stay open. Repeated calls have no effect.
func (t *Topic) Leave(ctx context.Context) error {
	return t.s.wait(ctx, "leave topic", func(done func(error)) func() {
		t.session.Leave(func() { done(nil) })
		return nil
	})
}
