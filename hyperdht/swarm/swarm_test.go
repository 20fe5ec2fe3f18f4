package swarm_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/swarm"
)

func TestClientFindsServerAndFlushWaitsForBoth(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 0)
	a, b := w.add(nil, swarm.Config{}), w.add(nil, swarm.Config{})
	a.join(topic, server)
	if err := a.flush(); err != nil || w.records(topic) != 1 {
		t.Fatalf("after the flush of the server: %v, %d records", err, w.records(topic))
	}
	b.join(topic, client)
	if err := b.flush(); err != nil {
		t.Fatal(err)
	}
	if len(b.open(a)) != 1 {
		t.Fatal("the flush of the client has ended without a connection")
	}
	w.until("the server has it, too", time.Second, func() bool { return linked(a, b) })
	p := b.peers[0]
	if p.PublicKey != a.keys.Public || !p.Dialled || !p.Proven || !p.Connected || len(p.Topics) != 1 || p.Topics[0] != topic {
		t.Errorf("the client's peer: %+v", p)
	}
	if p := a.peers[0]; p.Dialled || len(p.Topics) != 0 {
		t.Errorf("the server's peer: %+v", p)
	}
	if s := b.status(); s.Listening || s.Stats.Incoming != 0 {
		t.Errorf("the client alone listens: %+v", s)
	}
	if n := w.records(topic); n != 1 {
		t.Errorf("%d records", n)
	}
}

// Peers of two topics, behind NATs and with losses, are connected each to each, and so they are after restarts.
func TestManyPeersAreConnectedOnceEach(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, 0.02)
	cone := simnet.PortRestricted()
	for i := range 12 {
		if i%3 == 0 {
			w.add(nil, swarm.Config{})
		} else {
			w.add(&cone, swarm.Config{})
		}
	}
	for _, m := range w.all {
		m.join(topic, asBoth)
		m.join(another, asBoth)
	}
	w.untilAllLinked(5 * time.Minute)
	for _, i := range []int{0, 4, 7} {
		w.all[i].restart()
		w.all[i].join(topic, asBoth)
		w.run(3 * time.Second)
	}
	w.untilAllLinked(5 * time.Minute)
}

func (w *world) untilAllLinked(within time.Duration) {
	w.t.Helper()
	missing := func() (list []string) {
		for i, a := range w.all {
			for _, b := range w.all[:i] {
				if !linked(a, b) {
					list = append(list, fmt.Sprintf("%s-%s (%d, %d)", a.name, b.name, len(a.open(b)), len(b.open(a))))
				}
			}
		}
		return list
	}
	if !w.net.RunUntil(func() bool { return len(missing()) == 0 }, within) {
		w.t.Fatalf("not linked after %v: %v", within, missing())
	}
}

// Two peers that dial each other in the same instant keep one connection, which is the one of the greater key's side.
func TestDialsInBothDirectionsEndInOneConnection(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		w := newWorld(t, 10+seed, 0)
		a, b := w.add(nil, swarm.Config{}), w.add(nil, swarm.Config{})
		a.listen()
		b.listen()
		w.run(time.Duration(seed) * 7 * time.Millisecond)
		a.do(func(s *swarm.Swarm) { s.JoinPeer(b.keys.Public) })
		w.run(time.Duration(seed) * 5 * time.Millisecond)
		b.do(func(s *swarm.Swarm) { s.JoinPeer(a.keys.Public) })
		w.run(30 * time.Second)
		if !linked(a, b) {
			t.Fatalf("seed %d: %d and %d connections", seed, len(a.open(b)), len(b.open(a)))
		}
		before := a.open(b)[0]
		w.run(2 * time.Minute)
		if !linked(a, b) || a.open(b)[0] != before {
			t.Errorf("seed %d: the connection did not stay", seed)
		}
		if n := len(a.got) + len(b.got); n > 4 {
			t.Errorf("seed %d: %d connections were reported", seed, n)
		}
	}
}

func TestBothFindEachOtherThoughTheyJoinAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 0)
	a, b := w.add(nil, swarm.Config{}), w.add(nil, swarm.Config{})
	a.join(topic, asBoth)
	b.join(topic, asBoth)
	w.until("they are linked", 30*time.Second, func() bool { return linked(a, b) })
}

// A peer that crashed and dials again replaces the connection that the other side still has; the other side's application sees the
// end of the first.
func TestRestartedPeerReplacesItsConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, 0)
	a, b := w.add(nil, swarm.Config{}), w.add(nil, swarm.Config{})
	a.join(topic, server)
	if err := a.flush(); err != nil {
		t.Fatal(err)
	}
	b.join(topic, client)
	w.until("they are linked", time.Minute, func() bool { return linked(a, b) })
	w.run(10 * time.Second)
	b.restart()
	b.join(topic, client)
	w.until("they are linked again", 10*time.Second, func() bool { return linked(a, b) })
	w.run(time.Second)
	if len(a.got) != 2 || len(a.ended) != 1 || !errors.Is(a.ended[0], swarm.ErrDuplicate) {
		t.Errorf("the server saw %d connections, and ends %v", len(a.got), a.ended)
	}
	if s := a.status(); s.Incoming != 1 || s.Stats.Duplicates != 1 || s.Stats.Incoming != 2 {
		t.Errorf("%+v", s)
	}
}

func TestConnectionThatEndsIsDialledAgainAfterASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5, 0)
	a, b := w.add(nil, swarm.Config{}), w.add(nil, swarm.Config{})
	a.join(topic, server)
	if err := a.flush(); err != nil {
		t.Fatal(err)
	}
	b.join(topic, client)
	w.until("they are linked", time.Minute, func() bool { return linked(a, b) })
	w.run(time.Minute) // until the refresh of a young topic, which may find the peer and dial it earlier
	for i, longest := range []time.Duration{1400 * time.Millisecond, 6400 * time.Millisecond, 19 * time.Second} {
		c := a.open(b)[0]
		a.host.Do(func() { c.Destroy(nil) })
		w.until("the end is seen", time.Second, func() bool { return len(b.open(a)) == 0 })
		began, wait := w.net.Now(), []time.Duration{time.Second, 5 * time.Second, 15 * time.Second}[i]
		var p swarm.Peer
		b.do(func(s *swarm.Swarm) { p, _ = s.Peer(a.keys.Public) })
		if want := []swarm.Priority{swarm.VeryHigh, swarm.High, swarm.Low}[i]; p.Attempts != i+1 || p.Priority != want || p.Connected {
			t.Errorf("after %d ends: %+v", i+1, p)
		}
		w.until("they are linked again", time.Minute, func() bool { return linked(a, b) })
		if took := w.net.Now() - began; took < wait || took > longest {
			t.Errorf("after %d short connections: dialled again in %v, not within %v to %v", i+1, took, wait, longest)
		}
	}
	w.run(20 * time.Second) // it lasts
	c := a.open(b)[0]
	a.host.Do(func() { c.Destroy(nil) })
	w.until("it is dialled soon again", 3*time.Second, func() bool { return len(b.got) == 5 && linked(a, b) })
}

// A key that does not answer is dialled four times and forgotten, unless JoinPeer has named it: then it is dialled each ten minutes.
func TestDeadPeersAreGivenUpUnlessNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6, 0)
	a := w.add(nil, swarm.Config{})
	dead := id.KeyPairFromSeed(id.Seed{99})
	_ = w.wait("the announcement", func(done func(error)) { w.dht[2].Announce(topic, dead, hyperdht.AnnounceOptions{}, done) })
	a.join(topic, client)
	if err := a.flush(); err != nil {
		t.Fatal(err)
	}
	if s := a.status(); s.Stats.Dials != 1 || s.Stats.Failed != 1 || s.Waiting != 1 {
		t.Errorf("the flush waits for the first dial alone: %+v", s)
	}
	w.run(9 * time.Minute)
	// It is found when the topic is joined, and by the refresh of a young topic, which starts the count again.
	if s := a.status(); s.Stats.Dials < 5 || s.Stats.Dials > 8 || s.Known != 0 {
		t.Errorf("after nine minutes: %+v", s)
	}
	before := a.status().Stats.Dials
	a.do(func(s *swarm.Swarm) { s.Leave(topic, nil); s.JoinPeer(dead.Public) })
	w.run(3 * time.Minute)
	if got := a.status().Stats.Dials - before; got != 4 {
		t.Errorf("%d dials of a named peer at first, want 4", got)
	}
	w.run(40 * time.Minute)
	if got := a.status().Stats.Dials - before; got < 6 || got > 8 {
		t.Errorf("%d dials of a named peer in 43 minutes", got)
	}
	a.do(func(s *swarm.Swarm) { s.LeavePeer(dead.Public) })
	if s := a.status(); s.Known != 0 {
		t.Errorf("after LeavePeer: %+v", s)
	}
}

func TestBannedPeersAreNeitherDialledNorAdmitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 7, 0)
	a, b := w.add(nil, swarm.Config{}), w.add(nil, swarm.Config{})
	for _, m := range w.all {
		other := w.all[1-slices.Index(w.all, m)]
		if m == a {
			m.do(func(s *swarm.Swarm) { s.Ban(other.keys.Public) })
		}
		m.join(topic, asBoth)
	}
	w.run(3 * time.Minute)
	if len(a.got)+len(b.got) != 0 || a.status().Stats.Dials != 0 || a.status().Stats.Refused == 0 {
		t.Fatalf("%d and %d connections with a banned peer; %+v", len(a.got), len(b.got), a.status())
	}
	a.do(func(s *swarm.Swarm) { s.Unban(b.keys.Public) })
	w.until("they are linked", 13*time.Minute, func() bool { return linked(a, b) })
	a.do(func(s *swarm.Swarm) { s.Ban(b.keys.Public) })
	w.run(time.Minute)
	if !linked(a, b) {
		t.Error("a ban has ended an open connection")
	}
	c := a.open(b)[0]
	a.host.Do(func() { c.Destroy(nil) })
	w.run(13 * time.Minute)
	if len(a.open(b)) != 0 {
		t.Error("a banned peer was connected again")
	}
}

func TestAdmitDecidesInBothDirections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8, 0)
	a := w.add(nil, swarm.Config{Admit: func(id.PublicKey) bool { return false }})
	b := w.add(nil, swarm.Config{})
	a.join(topic, asBoth)
	b.join(topic, asBoth)
	w.run(2 * time.Minute)
	if s := a.status(); s.Stats.Dials != 0 || len(a.got) != 0 || s.Known != 0 || s.Stats.Refused == 0 {
		t.Errorf("%d connections, %+v", len(a.got), s)
	}
}

func TestPeersOfSeveralTopicsHaveOneConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 9, 0)
	var further []id.Target
	a := w.add(nil, swarm.Config{})
	b := w.add(nil, swarm.Config{OnTopic: func(p swarm.Peer, t id.Target) { further = append(further, t) }})
	a.join(topic, server)
	a.join(another, server)
	if err := a.flush(); err != nil {
		t.Fatal(err)
	}
	b.join(topic, client)
	if err := b.flush(); err != nil {
		t.Fatal(err)
	}
	session := b.join(another, client)
	if err := w.wait("a flush of the topic", func(done func(error)) { b.do(func(*swarm.Swarm) { session.Flush(done) }) }); err != nil {
		t.Fatal(err)
	}
	if len(b.got) != 1 || len(further) != 1 || further[0] != another {
		t.Errorf("%d connections, further topics %v", len(b.got), further)
	}
	b.do(func(s *swarm.Swarm) {
		if p, ok := s.Peer(a.keys.Public); !ok || len(p.Topics) != 2 {
			t.Errorf("%+v", p)
		}
		for _, target := range []id.Target{topic, another} {
			if st, ok := s.Topic(target); !ok || !st.Client || st.Server || st.Peers != 1 || st.Connected != 1 || st.Next == 0 {
				t.Errorf("%+v", st)
			}
		}
		if c := s.Connections(); len(c) != 1 || c[0] != s.Connection(a.keys.Public) {
			t.Error("Connections and Connection differ")
		}
	})
}

// A topic is left when its last session has left: the record goes, connections stay.
func TestLeavingRemovesTheRecordAndKeepsConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 30, 0)
	a, b := w.add(nil, swarm.Config{}), w.add(nil, swarm.Config{})
	first, second := a.join(topic, server), a.join(topic, asBoth)
	if err := a.flush(); err != nil {
		t.Fatal(err)
	}
	b.join(topic, client)
	if err := b.flush(); err != nil {
		t.Fatal(err)
	}
	leave := func(s *swarm.Session) {
		t.Helper()
		_ = w.wait("the topic is left", func(done func(error)) { a.do(func(*swarm.Swarm) { s.Leave(func() { done(nil) }) }) })
	}
	leave(second)
	if n := w.records(topic); n != 1 {
		t.Errorf("%d records after the first of two sessions has left", n)
	}
	leave(first)
	leave(first) // again: no effect
	if n := w.records(topic); n != 0 {
		t.Errorf("%d records after the topic was left", n)
	}
	if !linked(a, b) {
		t.Error("the connection did not stay")
	}
	a.do(func(s *swarm.Swarm) {
		if _, joined := s.Topic(topic); joined || s.Status().Topics != 0 {
			t.Error("the topic is still there")
		}
		if err := first.Refresh(server); !errors.Is(err, swarm.ErrLeft) {
			t.Errorf("Refresh: %v", err)
		}
	})
	b.do(func(s *swarm.Swarm) { s.Leave(topic, nil) })
	c := a.open(b)[0]
	a.host.Do(func() { c.Destroy(nil) })
	w.run(time.Minute)
	if s := b.status(); s.Known != 0 || s.Stats.Dials != 1 {
		t.Errorf("a peer of a topic that was left is dialled: %+v", s)
	}
}

// A topic that is joined again while its records are removed is announced after that.
func TestJoiningWhileLeavingAnnouncesAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 31, 0)
	a := w.add(nil, swarm.Config{})
	a.join(topic, server)
	if err := a.flush(); err != nil {
		t.Fatal(err)
	}
	left := false
	a.do(func(s *swarm.Swarm) { s.Leave(topic, func() { left = true }) })
	w.run(30 * time.Millisecond)
	a.join(topic, server)
	if err := a.flush(); err != nil {
		t.Fatal(err)
	}
	if n := w.records(topic); n != 1 || !left {
		t.Errorf("%d records; Leave has ended: %v", n, left)
	}
}

func TestServerThatBecomesAClientRemovesItsRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 32, 0)
	a := w.add(nil, swarm.Config{})
	session := a.join(topic, server)
	if err := a.flush(); err != nil {
		t.Fatal(err)
	}
	a.do(func(*swarm.Swarm) {
		if err := session.Refresh(client); err != nil {
			t.Error(err)
		}
	})
	if err := a.flush(); err != nil {
		t.Fatal(err)
	}
	if n := w.records(topic); n != 0 {
		t.Errorf("%d records", n)
	}
}

func TestSuspendedSwarmIsSilentAndComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 33, 0)
	a, b := w.add(nil, swarm.Config{}), w.add(nil, swarm.Config{})
	a.join(topic, server)
	if err := a.flush(); err != nil {
		t.Fatal(err)
	}
	b.join(topic, client)
	w.until("they are linked", time.Minute, func() bool { return linked(a, b) })
	_ = w.wait("a is suspended", func(done func(error)) { a.do(func(s *swarm.Swarm) { s.Suspend(func() { done(nil) }) }) })
	w.run(time.Second)
	if len(a.ended) != 1 || !errors.Is(a.ended[0], swarm.ErrSuspended) || w.records(topic) != 0 {
		t.Errorf("ends %v, %d records", a.ended, w.records(topic))
	}
	if err := a.flush(); !errors.Is(err, swarm.ErrSuspended) {
		t.Errorf("a flush: %v", err)
	}
	a.join(another, server) // waits
	w.run(2 * time.Minute)
	if n := len(a.got); n != 1 || w.records(another) != 0 {
		t.Errorf("%d connections of a suspended swarm", n)
	}
	a.do(func(s *swarm.Swarm) {
		if err := s.Resume(); err != nil {
			t.Error(err)
		}
	})
	if err := a.flush(); err != nil || w.records(topic) != 1 || w.records(another) != 1 {
		t.Errorf("after Resume: %v, %d and %d records", err, w.records(topic), w.records(another))
	}
	w.until("they are linked again", 13*time.Minute, func() bool { return linked(a, b) })
	a.do(func(s *swarm.Swarm) {
		s.Suspend(nil)
		if err := s.Resume(); err != nil { // while records are removed
			t.Error(err)
		}
	})
	if err := a.flush(); err != nil || w.records(topic) != 1 {
		t.Errorf("after Suspend and Resume: %v, %d records", err, w.records(topic))
	}
}

func TestClosedSwarmLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 34, 0)
	a, b := w.add(nil, swarm.Config{}), w.add(nil, swarm.Config{})
	a.join(topic, asBoth)
	b.join(topic, asBoth)
	w.until("they are linked", time.Minute, func() bool { return linked(a, b) })
	a.do(func(s *swarm.Swarm) { s.JoinPeer(id.KeyPairFromSeed(id.Seed{77}).Public) })
	flushed := errors.New("not ended")
	a.do(func(s *swarm.Swarm) { s.Flush(func(err error) { flushed = err }) })
	_ = w.wait("a is closed", func(done func(error)) { a.do(func(s *swarm.Swarm) { s.Close(func() { done(nil) }) }) })
	w.run(time.Second)
	if !errors.Is(flushed, swarm.ErrClosed) || len(a.ended) == 0 || !errors.Is(a.ended[len(a.ended)-1], swarm.ErrClosed) {
		t.Errorf("flush: %v, ends: %v", flushed, a.ended)
	}
	if n := w.records(topic); n != 1 {
		t.Errorf("%d records, want that of the other", n)
	}
	if s := a.status(); !s.Closed || s.Known+s.Topics+s.Dialled+s.Incoming+s.Dialling != 0 {
		t.Errorf("%+v", s)
	}
	a.do(func(s *swarm.Swarm) {
		if _, err := s.Join(topic, asBoth); !errors.Is(err, swarm.ErrClosed) {
			t.Errorf("Join: %v", err)
		}
		if err := s.Resume(); !errors.Is(err, swarm.ErrClosed) {
			t.Errorf("Resume: %v", err)
		}
	})
	if n := a.status(); n.Known != 0 {
		t.Error("a closed swarm knows peers")
	}
	_ = w.wait("Close again", func(done func(error)) { a.do(func(s *swarm.Swarm) { s.Close(func() { done(nil) }) }) })
	w.run(20 * time.Second)
	a.host.Do(func() { a.node.Close(nil) })
	w.run(20 * time.Second)
	if timers, sockets := a.host.Timers(), a.host.Sockets(); timers+sockets != 0 {
		t.Errorf("%d timers and %d sockets are left", timers, sockets)
	}
}

// A swarm dials so many at a time, and so many in all; peers of JoinPeer beyond that.
func TestDialsKeepToTheLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 35, 0)
	most := 0
	var a *member
	watch := func() {
		if a != nil && a.swarm != nil {
			most = max(most, a.swarm.Status().Dialling)
		}
	}
	a = w.add(nil, swarm.Config{MaxPeers: 4, MaxParallel: 2, OnUpdate: watch})
	for range 8 {
		w.add(nil, swarm.Config{}).join(topic, server)
	}
	w.run(20 * time.Second)
	a.join(topic, client)
	if err := a.flush(); err != nil {
		t.Fatal(err)
	}
	w.run(time.Minute)
	s := a.status()
	if s.Dialled != 4 || s.Queued != 4 || most != 2 {
		t.Errorf("%d dials at a time, %+v", most, s)
	}
	var queued id.PublicKey
	a.do(func(s *swarm.Swarm) {
		for _, p := range s.Peers() {
			if !p.Connected {
				queued = p.PublicKey
			}
		}
		s.JoinPeer(queued)
	})
	w.run(time.Minute)
	if s := a.status(); s.Dialled != 5 || s.Queued != 3 {
		t.Errorf("after JoinPeer: %+v", s)
	}
	var c *hyperdht.Connection
	a.do(func(s *swarm.Swarm) { c = s.Connection(queued); s.LeavePeer(queued) })
	if c == nil || c.Closed() {
		t.Error("no connection to the peer of JoinPeer after LeavePeer")
	}
}

func TestCallersBeyondTheLimitAreRejected(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 36, 0)
	a := w.add(nil, swarm.Config{MaxIncoming: 3})
	a.join(topic, server)
	if err := a.flush(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		w.add(nil, swarm.Config{}).join(topic, client)
	}
	w.run(5 * time.Minute)
	if s := a.status(); s.Incoming != 3 || s.Stats.Refused == 0 || s.Known != 3 {
		t.Errorf("%+v", s)
	}
}

func TestTopicLimitsItsPeers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 37, 0)
	for range 5 {
		w.add(nil, swarm.Config{}).join(topic, server)
	}
	w.run(20 * time.Second)
	a := w.add(nil, swarm.Config{})
	a.join(topic, swarm.JoinOptions{Mode: swarm.ClientOnly, Limit: 2})
	if err := a.flush(); err != nil {
		t.Fatal(err)
	}
	w.run(2 * time.Minute)
	if s := a.status(); s.Dialled != 2 || s.Known != 2 || s.Stats.Ignored == 0 {
		t.Errorf("%+v", s)
	}
}

// Two swarms of a node have different keys.
func TestSwarmsOfANodeNeedKeysOfTheirOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 38, 0)
	a := w.add(nil, swarm.Config{})
	a.join(topic, server)
	a.host.Do(func() {
		same, _ := swarm.New(a.node, swarm.Config{Keys: a.keys})
		if _, err := same.Join(topic, server); !errors.Is(err, hyperdht.ErrKeyPairInUse) {
			t.Errorf("the same keys: %v", err)
		}
		other, _ := swarm.New(a.node, swarm.Config{})
		if _, err := other.Join(topic, server); err != nil || other.PublicKey() == a.keys.Public {
			t.Errorf("keys of its own: %v", err)
		}
		for i := range 1024 {
			_, err := other.Join(id.Target{1, byte(i >> 8), byte(i)}, client)
			if (i < 1023) != (err == nil) || err != nil && !errors.Is(err, swarm.ErrTooManyTopics) {
				t.Fatalf("topic %d: %v", i+2, err)
			}
		}
	})
}

// Without a network, topics are refreshed after growing waits, and once it is back within the last of them.
func TestFailedRefreshesAreRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 39, 0)
	cone := simnet.PortRestricted()
	a, b := w.add(nil, swarm.Config{}), w.add(&cone, swarm.Config{})
	a.join(topic, server)
	if err := a.flush(); err != nil {
		t.Fatal(err)
	}
	b.router.SetAccess(simnet.Link{Loss: 1})
	session := b.join(topic, client)
	err := w.wait("the lookup ends", func(done func(error)) { b.do(func(*swarm.Swarm) { session.Flush(done) }) })
	if err == nil {
		t.Fatal("a lookup without a network has succeeded")
	}
	b.do(func(s *swarm.Swarm) {
		if st, _ := s.Topic(topic); st.Err == nil || st.Next < 4*time.Second || st.Next > 6300*time.Millisecond {
			t.Errorf("after the first failure: %+v", st)
		}
	})
	w.run(20 * time.Second)
	b.router.SetAccess(simnet.Link{})
	w.until("they are linked", 2*time.Minute, func() bool { return linked(a, b) })
}

// byKey orders two members: the one with the greater key is the second.
func byKey(a, b *member) (lesser, greater *member) {
	if slices.Compare(a.keys.Public[:], b.keys.Public[:]) > 0 {
		return b, a
	}
	return a, b
}

func (m *member) listen() {
	m.w.t.Helper()
	if err := m.w.wait("the server", func(done func(error)) { m.do(func(s *swarm.Swarm) { s.Listen(done) }) }); err != nil {
		m.w.t.Fatal(err)
	}
}

// The side with the greater key has dialled; the other one crashes and dials itself. That replaces the connection at once, since it has
// lasted.
func TestLastingConnectionIsReplacedWhateverTheKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 40, 0)
	lesser, greater := byKey(w.add(nil, swarm.Config{}), w.add(nil, swarm.Config{}))
	lesser.listen()
	greater.listen()
	greater.do(func(s *swarm.Swarm) { s.JoinPeer(lesser.keys.Public) })
	w.until("they are linked", 10*time.Second, func() bool { return linked(lesser, greater) })
	w.run(10 * time.Second)
	lesser.restart()
	lesser.do(func(s *swarm.Swarm) { s.JoinPeer(greater.keys.Public) })
	w.until("they are linked again", 2*time.Second, func() bool { return linked(lesser, greater) })
	if c := greater.open(lesser)[0]; c.IsInitiator() {
		t.Error("the side that has not crashed has dialled")
	}
}

// A dial that the other side does not answer gives way to the other side's, even at the side with the greater key.
func TestUnansweredDialGivesWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 41, 0)
	deaf := true
	admit := swarm.Config{Admit: func(id.PublicKey) bool { return !deaf }}
	lesser, greater := byKey(w.add(nil, admit), w.add(nil, admit))
	lesser.listen()
	greater.listen()
	deaf = false // for the moment in which the greater one asks whether it may dial
	greater.do(func(s *swarm.Swarm) { s.JoinPeer(lesser.keys.Public) })
	deaf = true
	w.run(500 * time.Millisecond)
	deaf = false
	lesser.do(func(s *swarm.Swarm) { s.JoinPeer(greater.keys.Public) })
	w.until("they are linked", time.Second, func() bool { return linked(lesser, greater) })
	if s := greater.status(); s.Dialling != 0 || s.Incoming != 1 || s.Stats.Duplicates != 1 || s.Stats.Dials != 1 {
		t.Errorf("%+v", s)
	}
}

// The side that was dialled leaves it to the other one to dial again, for five seconds.
func TestDialledSideWaitsForTheOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 42, 0)
	a, b := w.add(nil, swarm.Config{}), w.add(nil, swarm.Config{})
	a.listen()
	b.listen()
	a.do(func(s *swarm.Swarm) { s.JoinPeer(b.keys.Public) })
	w.until("a has dialled", 10*time.Second, func() bool { return linked(a, b) })
	w.run(20 * time.Second)
	b.restart()
	b.listen()
	b.do(func(s *swarm.Swarm) { s.JoinPeer(a.keys.Public) })
	w.until("b has dialled", 10*time.Second, func() bool { return linked(a, b) && b.open(a)[0].IsInitiator() })
	w.run(20 * time.Second)
	b.do(func(s *swarm.Swarm) { s.LeavePeer(a.keys.Public) })
	c := a.open(b)[0]
	a.host.Do(func() { c.Destroy(nil) })
	w.run(4800 * time.Millisecond)
	early := a.status().Stats.Dials
	w.run(2 * time.Second)
	if late := a.status().Stats.Dials; early != 1 || late != 2 || b.status().Stats.Dials != 1 {
		t.Errorf("%d dials before five seconds, %d after, want 1 and 2", early, late)
	}
}

// A flush waits for peers that wait for others' dials to end.
func TestFlushWaitsForQueuedPeers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 43, 0)
	for range 4 {
		w.add(nil, swarm.Config{}).join(topic, server)
	}
	w.run(20 * time.Second)
	a := w.add(nil, swarm.Config{MaxParallel: 1})
	a.join(topic, client)
	if err := a.flush(); err != nil || len(a.got) != 4 {
		t.Errorf("%v, %d connections", err, len(a.got))
	}
}

// A node that sleeps takes its swarm along, which finds its peers again when the node is back.
func TestSwarmSurvivesTheSleepOfItsNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 44, 0)
	a, b := w.add(nil, swarm.Config{}), w.add(nil, swarm.Config{})
	a.join(topic, server)
	if err := a.flush(); err != nil {
		t.Fatal(err)
	}
	b.join(topic, client)
	w.until("they are linked", 10*time.Second, func() bool { return linked(a, b) })
	w.run(time.Minute)
	b.host.Do(func() { b.node.Suspend(nil) })
	w.run(time.Hour)
	if s := b.status(); s.Known != 1 || s.Dialled != 0 {
		t.Errorf("asleep: %+v", s)
	}
	b.host.Do(func() {
		if err := b.node.Resume(); err != nil {
			t.Error(err)
		}
	})
	w.until("they are linked again", 15*time.Second, func() bool { return linked(a, b) })
}

// A member whose router has another address looks its topics up again as soon as its node notices.
func TestSwarmFollowsItsNodeToAnotherNetwork(t *testing.T) {
	w := newWorld(t, 41, 0)
	nat := simnet.PortRestricted()
	a, b := w.add(&nat, swarm.Config{}), w.add(&nat, swarm.Config{})
	a.join(topic, asBoth)
	b.join(topic, asBoth)
	w.until("they are linked", time.Minute, func() bool { return linked(a, b) })
	w.run(time.Minute)
	before := a.status().Stats.Refreshes
	a.router.SetAddr(netip.MustParseAddr("100.128.1.77"))
	w.until("the topic is looked up again", 30*time.Second, func() bool { return a.status().Stats.Refreshes > before })
	w.until("they are linked again", time.Minute, func() bool { return linked(a, b) })

	// A closed swarm does nothing more, while its node goes on.
	_ = w.wait("the swarm closes", func(done func(error)) { a.do(func(s *swarm.Swarm) { s.Close(func() { done(nil) }) }) })
	closed := a.status().Stats.Refreshes
	a.router.SetAddr(netip.MustParseAddr("100.128.1.78"))
	w.run(time.Minute)
	if s := a.status().Stats; s.Refreshes != closed {
		t.Errorf("a closed swarm has looked its topics up: %d times after %d", s.Refreshes, closed)
	}
}
