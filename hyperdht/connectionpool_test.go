package hyperdht_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// pooled is a node with a pool and a server.
type pooled struct {
	w       *world
	keys    id.KeyPair
	host    *simnet.Host
	node    *hyperdht.Node
	pool    *hyperdht.ConnectionPool
	entered []*hyperdht.Connection // in order
	closed  []error                // of these
	got     []string
}

func (w *world) pooled(name string, keys id.KeyPair) *pooled {
	w.t.Helper()
	h := w.host(name)
	n := w.node(h, hyperdht.Config{Keys: keys})
	w.until(name+" is ready", time.Minute, n.Ready)
	p := &pooled{w: w, keys: keys, host: h, node: n}
	h.Do(func() {
		p.pool = n.NewConnectionPool(func(c *hyperdht.Connection) {
			p.entered = append(p.entered, c)
			c.OnMessage(func(b []byte) { p.got = append(p.got, string(b)) })
			c.OnClose(func(err error) { p.closed = append(p.closed, err) })
		})
	})
	w.listen(h, n, hyperdht.ListenOptions{Keys: keys, OnConnection: p.pool.Add})
	return p
}

// connect begins to connect to another node's key.
func (p *pooled) connect(to *pooled, done func(*hyperdht.Connection, error)) (cancel func()) {
	p.host.Do(func() { cancel = p.pool.Connect(to.keys.Public, hyperdht.ConnectOptions{}, done) })
	return cancel
}

// one returns the only connection of a pool.
func (p *pooled) one(t *testing.T) *hyperdht.Connection {
	t.Helper()
	all := p.pool.Connections()
	if len(all) != 1 || p.pool.Connecting() != 0 || p.node.Status().Connections != 1 || p.entered[len(p.entered)-1] != all[0] {
		t.Fatalf("%d connections, %d dials, %d of the node", len(all), p.pool.Connecting(), p.node.Status().Connections)
	}
	return all[0]
}

// Whichever of the two comes first, one connection is left, the same at both sides.
func TestPoolsKeepOneConnectionWhereBothSidesDial(t *testing.T) {
	for seed := range uint64(12) {
		w := newWorld(t, 6, simnet.Config{Seed: 80 + seed})
		a, b := w.pooled("a", keyPair(byte(1+seed))), w.pooled("b", keyPair(byte(100+seed)))
		var answers [2][]*hyperdht.Connection
		for i, p := range []*pooled{a, b} {
			to := []*pooled{b, a}[i]
			for range 2 {
				p.connect(to, func(c *hyperdht.Connection, err error) {
					if err != nil {
						t.Errorf("seed %d: %v", seed, err)
						return
					}
					c.Send(fmt.Appendf(nil, "from %d", i))
					answers[i] = append(answers[i], c)
				})
			}
			w.net.Run(time.Duration(seed) * 20 * time.Millisecond) // the second dials so much later
		}
		w.net.Run(20 * time.Second)
		ac, bc := a.one(t), b.one(t)
		if ac.HandshakeHash() != bc.HandshakeHash() {
			t.Fatalf("seed %d: the two sides keep different connections", seed)
		}
		smaller := bytes.Compare(a.keys.Public[:], b.keys.Public[:]) < 0
		if seed < 4 && ac.IsInitiator() != smaller { // both dial before a packet of the other arrives
			t.Errorf("seed %d: the connection is the one that the larger key has dialled", seed)
		}
		if len(answers[0]) != 2 || len(answers[1]) != 2 {
			t.Errorf("seed %d: %d and %d calls have ended", seed, len(answers[0]), len(answers[1]))
		}
		for _, p := range []*pooled{a, b} {
			for _, err := range p.closed {
				if err == nil {
					t.Errorf("seed %d: a duplicate has ended in order", seed)
				}
			}
		}
	}
}

func TestPooledConnectionIsSharedUntilItEnds(t *testing.T) {
	w := newWorld(t, 6, simnet.Config{Seed: 95})
	a, b := w.pooled("a", keyPair(1)), w.pooled("b", keyPair(2))
	var first, second *hyperdht.Connection
	a.connect(b, func(c *hyperdht.Connection, err error) { first = c })
	if !a.pool.Has(b.keys.Public) || a.pool.Get(b.keys.Public) != nil || a.pool.Connecting() != 1 {
		t.Error("a dial is not in the pool")
	}
	w.until("it connects", time.Minute, func() bool { return first != nil && len(b.entered) == 1 })
	a.connect(b, func(c *hyperdht.Connection, err error) { second = c })
	b.connect(a, func(c *hyperdht.Connection, err error) {
		if c != b.entered[0] || err != nil {
			t.Errorf("the other side gets another connection, %v", err)
		}
	})
	w.net.Run(time.Second)
	if first != second || a.one(t) != first || len(a.entered) != 1 || len(b.entered) != 1 || a.pool.Get(b.keys.Public) != first {
		t.Error("a second call gets another connection")
	}
	b.host.Do(func() { b.one(t).Send([]byte("hello")) })
	w.net.Run(time.Second)
	if len(a.got) != 1 || a.got[0] != "hello" {
		t.Errorf("received %q", a.got)
	}
	a.host.Do(func() { first.Destroy(nil) })
	w.net.Run(time.Second)
	if a.pool.Has(b.keys.Public) || b.pool.Has(a.keys.Public) {
		t.Error("a closed connection is in the pool")
	}
	a.connect(b, func(c *hyperdht.Connection, err error) { second = c })
	w.net.Run(5 * time.Second)
	if second == first || a.pool.Get(b.keys.Public) != second {
		t.Error("no new connection after the end of the first")
	}
}

func TestFailedDialLeavesThePool(t *testing.T) {
	w := newWorld(t, 6, simnet.Config{Seed: 96})
	a, b := w.pooled("a", keyPair(1)), w.pooled("b", keyPair(2))
	b.host.Do(func() { b.node.Close(nil) })
	w.net.Run(10 * time.Second)
	var failures []error
	for range 2 {
		a.connect(b, func(_ *hyperdht.Connection, err error) { failures = append(failures, err) })
	}
	a.connect(b, nil)
	w.net.Run(time.Minute)
	if len(failures) != 2 || !errors.Is(failures[0], hyperdht.ErrPeerNotFound) || a.pool.Has(b.keys.Public) || len(a.entered) != 0 {
		t.Errorf("%v, in the pool %v", failures, a.pool.Has(b.keys.Public))
	}
}

func TestDialEndsWithItsLastCall(t *testing.T) {
	w := newWorld(t, 6, simnet.Config{Seed: 97})
	a, b := w.pooled("a", keyPair(1)), w.pooled("b", keyPair(2))
	never := func(*hyperdht.Connection, error) { t.Error("a cancelled call ends") }
	one, two := a.connect(b, never), a.connect(b, never)
	a.host.Do(one)
	if !a.pool.Has(b.keys.Public) {
		t.Error("a dial ends though a call waits for it")
	}
	a.host.Do(two)
	a.host.Do(two)
	if a.pool.Has(b.keys.Public) || a.node.Status().Connections != 0 {
		t.Error("a dial goes on though no call waits for it")
	}
	connected := false
	three := a.connect(b, func(*hyperdht.Connection, error) { connected = true })
	w.net.Run(5 * time.Second)
	a.host.Do(two)
	a.host.Do(three)                                                                        // its answer was given
	a.host.Do(func() { a.pool.Connect(b.keys.Public, hyperdht.ConnectOptions{}, never)() }) // of a connection that there is
	w.net.Run(time.Second)
	if !connected || !a.pool.Has(b.keys.Public) {
		t.Error("a cancelled call ends the connection of others")
	}
}

// A connection that the pool's handler ends, or takes out, is none for those that wait for it.
func TestConnectReportsWhatTheHandlerOfThePoolDoes(t *testing.T) {
	refused := errors.New("refused by the handler")
	for _, tc := range []struct {
		name   string
		handle func(*hyperdht.ConnectionPool, *hyperdht.Connection)
		want   error
	}{
		{"Destroy with a cause", func(_ *hyperdht.ConnectionPool, c *hyperdht.Connection) { c.Destroy(refused) }, refused},
		{"Destroy", func(_ *hyperdht.ConnectionPool, c *hyperdht.Connection) { c.Destroy(nil) }, hyperdht.ErrConnectionClosed},
		{"Close", func(_ *hyperdht.ConnectionPool, c *hyperdht.Connection) { c.Close() }, hyperdht.ErrConnectionClosed},
		{"Remove and Destroy", func(p *hyperdht.ConnectionPool, c *hyperdht.Connection) { p.Remove(c); c.Destroy(refused) }, refused},
	} {
		for _, dials := range []bool{true, false} { // whether the connection is this side's dial, or the peer's
			name := fmt.Sprintf("%s, dialled %v", tc.name, dials)
			w := newWorld(t, 6, simnet.Config{Seed: 94})
			ah, a := w.join("a")
			bh, b := w.join("b")
			var pool *hyperdht.ConnectionPool
			ah.Do(func() {
				pool = a.NewConnectionPool(func(c *hyperdht.Connection) { tc.handle(pool, c) })
			})
			w.listen(ah, a, hyperdht.ListenOptions{Keys: keyPair(1), OnConnection: func(c *hyperdht.Connection) { pool.Add(c) }})
			keys := keyPair(2)
			w.listen(bh, b, hyperdht.ListenOptions{Keys: keys, Admit: func(id.PublicKey, *hyperdht.HandshakePayload, netip.AddrPort) bool { return dials }})
			var got []error
			for range 2 {
				ah.Do(func() {
					pool.Connect(keys.Public, hyperdht.ConnectOptions{}, func(c *hyperdht.Connection, err error) {
						if got = append(got, err); c != nil {
							t.Errorf("%s: a connection that ends is returned", name)
						}
					})
				})
			}
			if !dials { // whose dial goes on meanwhile
				bh.Do(func() { b.Connect(keyPair(1).Public, hyperdht.ConnectOptions{Keys: &keys}) })
			}
			w.net.Run(time.Minute)
			if len(got) != 2 || !errors.Is(got[0], tc.want) || !errors.Is(got[1], tc.want) || pool.Has(keys.Public) {
				t.Errorf("%s: %v, in the pool: %v", name, got, pool.Has(keys.Public))
			}
		}
	}
}

// The end of a dial, which another connection has replaced, is not that of a later dial of the same key.
func TestEndOfAReplacedDialLeavesTheNextOne(t *testing.T) {
	w := newWorld(t, 6, simnet.Config{Seed: 92})
	ah, a := w.join("a")
	bh, b := w.join("b")
	keys := keyPair(2)
	var pool *hyperdht.ConnectionPool
	again, has := false, false
	ah.Do(func() {
		pool = a.NewConnectionPool(func(c *hyperdht.Connection) { c.Destroy(nil) })
		pool.Connect(keys.Public, hyperdht.ConnectOptions{}, nil)
	})
	w.listen(ah, a, hyperdht.ListenOptions{Keys: keyPair(1), OnConnection: func(c *hyperdht.Connection) { pool.Add(c) }})
	w.listen(bh, b, hyperdht.ListenOptions{Keys: keys, AdmitLater: func(*hyperdht.Admission) {}}) // so that the dial goes on
	ah.Do(func() {
		pool.Connect(keys.Public, hyperdht.ConnectOptions{}, func(_ *hyperdht.Connection, err error) {
			again = true
			pool.Connect(keys.Public, hyperdht.ConnectOptions{}, nil)
			ah.AfterFunc(time.Millisecond, func() { has = pool.Has(keys.Public) && pool.Connecting() == 1 })
		})
	})
	bh.Do(func() { b.Connect(keyPair(1).Public, hyperdht.ConnectOptions{Keys: &keys}) })
	w.until("the dial is replaced, by a connection that ends", 3*time.Second, func() bool { return again })
	w.net.Run(10 * time.Millisecond)
	if !has {
		t.Error("the second dial has left the pool with the first")
	}
}

// Between a call and its answer, a connection may end, or another one may take its place.
func TestConnectAnswersWithWhatThePoolHasThen(t *testing.T) {
	for _, seed := range [][2]byte{{1, 2}, {2, 1}} { // either has the smaller key
		w := newWorld(t, 6, simnet.Config{Seed: 93})
		connectAnswers(w, w.pooled("a", keyPair(seed[0])), w.pooled("b", keyPair(seed[1])))
	}
}

func connectAnswers(w *world, a, b *pooled) {
	t := w.t
	t.Helper()
	var got *hyperdht.Connection
	var failure error
	note := func(c *hyperdht.Connection, err error) { got, failure = c, err }
	a.connect(b, note)
	w.until("it connects", time.Minute, func() bool { return got != nil && len(b.entered) == 1 })
	first := got

	// The application closes it: what waits gets no connection that ends, and the next call dials, though the peer has not ended it.
	a.host.Do(func() {
		a.pool.Connect(b.keys.Public, hyperdht.ConnectOptions{}, note)
		first.Close()
	})
	if w.net.Run(0); got != nil || !errors.Is(failure, hyperdht.ErrConnectionClosed) {
		t.Errorf("closed before the answer: %v, %v", got, failure)
	}
	a.connect(b, note)
	w.until("it connects again", time.Minute, func() bool { return got != nil })
	second := got
	if second == first || a.pool.Get(b.keys.Public) != second {
		t.Error("a connection that was closed is returned")
	}

	// The peer connects while one that this side has closed is still there, and another replaces that before the answer.
	var arrived []*hyperdht.Connection
	keys := keyPair(3)
	for seed := byte(4); bytes.Compare(keys.Public[:], b.keys.Public[:]) > 0; seed++ { // by the rule of two dials, the closed one stays
		keys = keyPair(seed)
	}
	w.listen(a.host, a.node, hyperdht.ListenOptions{Keys: keys, OnConnection: func(c *hyperdht.Connection) { arrived = append(arrived, c) }})
	for range 2 {
		b.host.Do(func() { b.node.Connect(keys.Public, hyperdht.ConnectOptions{}) })
	}
	w.until("both have arrived", time.Minute, func() bool { return len(arrived) == 2 && arrived[0].Opened() && arrived[1].Opened() })
	a.host.Do(func() {
		second.Close()
		a.pool.Add(arrived[0])
	})
	if c := a.pool.Get(b.keys.Public); c != arrived[0] {
		t.Fatal("one that is being closed is kept")
	}
	a.host.Do(func() {
		a.pool.Connect(b.keys.Public, hyperdht.ConnectOptions{}, note)
		a.pool.Add(arrived[1])
	})
	if w.net.Run(0); got != arrived[1] || failure != nil {
		t.Errorf("replaced before the answer: %v, %v", got, failure)
	}
	a.host.Do(func() { a.pool.Remove(arrived[0]) })
	if a.pool.Get(b.keys.Public) != arrived[1] {
		t.Error("the removal of a connection that was replaced removes the other one")
	}
}

// A peer that has lost its connection, as after a crash, connects again; what it lost is not noticed here yet.
func TestSecondConnectionOfOneSideReplacesTheFirst(t *testing.T) {
	for _, seed := range [][2]byte{{1, 2}, {2, 1}} { // either has the smaller key
		w := newWorld(t, 6, simnet.Config{Seed: 98})
		a := w.pooled("a", keyPair(seed[0]))
		h, n := w.join("b")
		keys := keyPair(seed[1])
		dial := func() (c *hyperdht.Connection) {
			h.Do(func() { c = n.Connect(a.keys.Public, hyperdht.ConnectOptions{Keys: &keys}) })
			w.net.Run(5 * time.Second)
			return c
		}
		first := dial()
		second := dial()
		if !first.Closed() || !second.Opened() || len(a.entered) != 2 || a.one(t).HandshakeHash() != second.HandshakeHash() {
			t.Errorf("closed %v, opened %v, %d entered", first.Closed(), second.Opened(), len(a.entered))
		}
		if len(a.closed) != 1 || !errors.Is(a.closed[0], hyperdht.ErrDuplicateConnection) {
			t.Errorf("closed with %v", a.closed)
		}
	}
}

// A peer whose own dial is under way ends this node's when it meets that, before its own has arrived here.
func TestDialThatThePeerEndsWaitsForThePeersOwn(t *testing.T) {
	large, small := keyPair(1), keyPair(2)
	if bytes.Compare(large.Public[:], small.Public[:]) < 0 {
		large, small = small, large
	}
	for _, tc := range []struct {
		name        string
		local, peer id.KeyPair
		dials       bool
		connects    bool
	}{
		{"the peer keeps its own", large, small, true, true},
		{"the peer has none", large, small, false, false},
		{"the peer should have kept the dial", small, large, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, 6, simnet.Config{Seed: 99})
			a := w.pooled("a", tc.local)
			h, n := w.join("b")
			w.listen(h, n, hyperdht.ListenOptions{Keys: tc.peer, OnConnection: func(c *hyperdht.Connection) {
				c.Destroy(nil)
				if tc.dials {
					h.AfterFunc(time.Second, func() { n.Connect(a.keys.Public, hyperdht.ConnectOptions{Keys: &tc.peer}) })
				}
			}})
			var got *hyperdht.Connection
			var failure error
			calls := 0
			a.host.Do(func() {
				a.pool.Connect(tc.peer.Public, hyperdht.ConnectOptions{}, func(c *hyperdht.Connection, err error) { got, failure, calls = c, err, calls+1 })
			})
			w.net.Run(10 * time.Second)
			if tc.connects != (got != nil) || calls != 1 || got != nil && (got.IsInitiator() || a.pool.Get(tc.peer.Public) != got) {
				t.Errorf("connected %v, %v in %d calls", got != nil, failure, calls)
			}
			if a.pool.Connecting() != 0 {
				t.Error("the dial is not over")
			}
		})
	}
}

// The handshake of a peer is no proof of its presence: an attacker may have recorded it.
func TestUnopenedConnectionReplacesNone(t *testing.T) {
	l := newLab(t, 4, open(), open())
	var pool *hyperdht.ConnectionPool
	entered := 0
	l.answerer.host.Do(func() {
		pool = l.answerer.node.NewConnectionPool(func(*hyperdht.Connection) { entered++ })
	})
	accepted := 0
	l.listen(hyperdht.ListenOptions{OnConnection: func(c *hyperdht.Connection) {
		accepted++
		pool.Add(c)
	}})
	c := l.dial(hyperdht.ConnectOptions{})
	l.run(5 * time.Second)
	if entered != 1 || !c.Opened() {
		t.Fatal("no connection")
	}
	caller := l.fakeCaller() // with the same key
	caller.relay = l.answerer
	caller.dial(callerPayload())
	l.run(10 * time.Second)
	if accepted != 2 || entered != 1 || c.Closed() || len(pool.Connections()) != 1 {
		t.Errorf("%d accepted, %d entered, closed %v", accepted, entered, c.Closed())
	}
}
