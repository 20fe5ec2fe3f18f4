package swarm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// inside is a simulated network of a bootstrap node and nodes with a swarm each.
type inside struct {
	t         *testing.T
	net       *simnet.Net
	bootstrap []string
}

// machineOf is a host with a swarm.
type machineOf struct {
	*simnet.Host
	swarm *Swarm
}

func newInside(t *testing.T) *inside {
	in := &inside{t: t, net: simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: 10 * time.Millisecond}})}
	for i := range byte(4) {
		h := in.net.AddHost(fmt.Sprint("node", i), netip.AddrFrom4([4]byte{100, 128, 0, i + 1}))
		at := netip.AddrPortFrom(h.Addr(), 49737)
		cfg := hyperdht.Config{Bootstrap: append([]string{}, in.bootstrap...), Listen: at, Mode: hyperdht.Persistent, PublicAddr: at}
		if i == 0 {
			in.bootstrap = []string{at.String()}
		}
		in.node(h, cfg)
	}
	return in
}

func (in *inside) node(h *simnet.Host, cfg hyperdht.Config) (n *hyperdht.Node) {
	in.t.Helper()
	h.Do(func() {
		var err error
		if n, err = hyperdht.New(h, cfg); err != nil {
			in.t.Fatal(err)
		}
	})
	in.net.Run(5 * time.Second)
	return n
}

// add starts a swarm on a machine of its own.
func (in *inside) add(n byte, keys id.KeyPair) *machineOf {
	in.t.Helper()
	m := &machineOf{Host: in.net.AddHost(fmt.Sprint("machine", n), netip.AddrFrom4([4]byte{100, 128, 1, n}))}
	node := in.node(m.Host, hyperdht.Config{Bootstrap: in.bootstrap})
	m.Do(func() {
		var err error
		if m.swarm, err = New(node, Config{Keys: keys, OnConnection: func(*hyperdht.Connection, Peer) {}}); err != nil {
			in.t.Fatal(err)
		}
	})
	return m
}

// alone is a machine with a topic that it has joined as a client.
func (in *inside) alone() (*machineOf, *topic) {
	in.t.Helper()
	m := in.add(1, id.KeyPairFromSeed(id.Seed{1}))
	m.Do(func() {
		if _, err := m.swarm.Join(id.Target{1}, JoinOptions{Mode: ClientOnly}); err != nil {
			in.t.Fatal(err)
		}
	})
	in.net.Run(time.Second)
	return m, m.swarm.topics[id.Target{1}]
}

// records are records of keys that do not exist.
func records(n int) (list []hyperdht.Peer) {
	for i := range n {
		var key id.PublicKey
		binary.BigEndian.PutUint32(key[:], uint32(i+1))
		list = append(list, hyperdht.Peer{PublicKey: key, RelayAddrs: make([]netip.AddrPort, 10)})
	}
	return list
}

func TestKnownPeersAreBounded(t *testing.T) {
	in := newInside(t)
	m, topic := in.alone()
	m.Do(func() {
		before := m.swarm.stats.Ignored
		all := records(maxKnown + 100)
		for _, r := range all {
			m.swarm.found(topic, r)
		}
		if s := m.swarm.Status(); s.Known != maxKnown || s.Stats.Ignored-before != 100 {
			t.Errorf("%d are known, %d ignored", s.Known, s.Stats.Ignored-before)
		}
		m.swarm.found(topic, all[0]) // it is known, so it takes no room
		if s := m.swarm.Status(); s.Stats.Ignored-before != 100 {
			t.Error("a known peer is ignored")
		}
		if p := m.swarm.peers[all[0].PublicKey]; len(p.relays) != maxRelayAddrs {
			t.Errorf("%d addresses of a record are kept", len(p.relays))
		}
	})
}

func TestKeysOfOneLookupAreBounded(t *testing.T) {
	in := newInside(t)
	m, topic := in.alone()
	m.Do(func() {
		all := records(maxFound + 50)
		topic.seen = map[id.PublicKey]struct{}{}
		topic.take(all[:maxFound])
		topic.take(all) // with those that were there before
		if s := m.swarm.Status(); s.Known != maxFound || s.Stats.Ignored != 50 {
			t.Errorf("%d are known, %d ignored", s.Known, s.Stats.Ignored)
		}
	})
}

// A place in the queue for punches is no failure: the peer is dialled again at its time.
func TestBusyPeerIsDialledWhenItsTurnComes(t *testing.T) {
	for _, wait := range []time.Duration{42 * time.Second, 0} {
		in := newInside(t)
		m := in.add(1, id.KeyPairFromSeed(id.Seed{1}))
		key := records(1)[0].PublicKey
		m.Do(func() {
			m.swarm.JoinPeer(key)
			p := m.swarm.peers[key]
			if p.state != peerDialling {
				t.Fatalf("the peer is in state %d", p.state)
			}
			m.swarm.over(p, p.conn, &hyperdht.BusyError{Err: hyperdht.ErrRemoteBusy, RetryAfter: wait})
			left, stats, attempts := p.due.Sub(m.Now()), m.swarm.stats, 0
			if wait == 0 { // unknown: as any failure
				attempts = 1
			}
			if p.state != peerWaiting || p.attempts != attempts || int(stats.Failed) != attempts || wait > 0 && left != wait || wait == 0 && left > mediumWait*5/4 {
				t.Errorf("RetryAfter %v: state %d, %v to wait, %d attempts, %+v", wait, p.state, left, p.attempts, stats)
			}
		})
	}
}

// pair are two machines, of which the second accepts connections.
func (in *inside) pair(a, b byte) (dialler, listener *machineOf) {
	in.t.Helper()
	dialler, listener = in.add(1, id.KeyPairFromSeed(id.Seed{a})), in.add(2, id.KeyPairFromSeed(id.Seed{b}))
	listener.Do(func() { listener.swarm.Listen(nil) })
	in.net.Run(5 * time.Second)
	return dialler, listener
}

// A dial that neither opens nor fails is given up.
func TestDialHasALimit(t *testing.T) {
	in := newInside(t)
	a, b := in.pair(1, 2)
	key := b.swarm.PublicKey()
	var ended error
	a.Do(func() {
		a.swarm.JoinPeer(key)
		c := a.swarm.peers[key].conn
		c.OnOpen(nil) // as if it never opened
		c.OnClose(func(err error) { ended = err })
	})
	in.net.Run(dialLimit - time.Second)
	if s := a.swarm.Status(); s.Dialling != 1 || s.Stats.Failed != 0 {
		t.Fatalf("before the limit: %+v", s)
	}
	in.net.Run(2 * time.Second)
	if s := a.swarm.Status(); s.Stats.Failed != 1 || !errors.Is(ended, hyperdht.ErrTimeout) {
		t.Errorf("after the limit: ended with %v, %+v", ended, s)
	}
}

// Suspend and Close end though nothing reports that the records are removed.
func TestSuspendAndCloseHaveALimit(t *testing.T) {
	in := newInside(t)
	m := in.add(1, id.KeyPairFromSeed(id.Seed{1}))
	closes := 0
	m.swarm.cfg.OnClose = func() { closes++ }
	for _, tc := range []struct {
		through, to lifeState
		after       func()
	}{{suspending, suspended, m.swarm.suspended}, {closing, closed, m.swarm.shut}} {
		ended := 0
		m.Do(func() {
			m.swarm.onDone = append(m.swarm.onDone, func() { ended++ })
			m.swarm.enter(tc.through, tc.after)
		})
		in.net.Run(lifeLimit - time.Second)
		if m.swarm.state != tc.through || ended != 0 {
			t.Errorf("state %d before the limit of state %d", m.swarm.state, tc.through)
		}
		in.net.Run(2 * time.Second)
		if m.swarm.state != tc.to || ended != 1 {
			t.Errorf("state %d after the limit of state %d, %d calls have ended", m.swarm.state, tc.through, ended)
		}
		m.Do(tc.after) // the report comes after all
		in.net.Run(time.Second)
		if m.swarm.state != tc.to || ended != 1 || m.swarm.faults.Wrong > 0 {
			t.Errorf("state %d after a late report, %d calls have ended, %s", m.swarm.state, ended, m.swarm.faults.Last)
		}
	}
	if closes != 1 {
		t.Errorf("OnClose was called %d times", closes)
	}
}

// The waits of doc.go, by the attempts since the last connection that lasted.
func TestWaitsBetweenDials(t *testing.T) {
	for _, proven := range []bool{true, false} {
		waits := []time.Duration{5 * time.Second, 15 * time.Second, 15 * time.Second}
		if proven {
			waits = []time.Duration{time.Second, 5 * time.Second, 15 * time.Second}
		}
		for attempts := 1; attempts <= 5; attempts++ {
			for _, named := range []bool{true, false} {
				want, again := 10*time.Minute, named
				switch {
				case attempts <= len(waits):
					want, again = waits[attempts-1], true
				case !named:
					want = 0
				}
				p := &peer{attempts: attempts, proven: proven, explicit: named}
				if got, ok := p.retryAfter(); got != want || ok != again {
					t.Errorf("%d attempts, proven %v, named %v: %v, %v, want %v, %v", attempts, proven, named, got, ok, want, again)
				}
			}
		}
	}
}

func TestTopicStatusOfARefresh(t *testing.T) {
	in := newInside(t)
	m, topic := in.alone()
	in.net.Run(10 * time.Second)
	if s, joined := m.swarm.Topic(topic.target); !joined || s.Refreshing || s.Next <= 0 || s.Next > youngRefresh*3/2 {
		t.Errorf("after a refresh: %+v", s)
	}
	m.Do(m.swarm.NetworkChanged)
	if s, _ := m.swarm.Topic(topic.target); !s.Refreshing || s.Next != 0 {
		t.Errorf("in a refresh: %+v", s)
	}
}

func TestClosedNodesAndSwarmsAreRefused(t *testing.T) {
	in := newInside(t)
	m := in.add(1, id.KeyPairFromSeed(id.Seed{1}))
	var got []error
	m.Do(func() {
		m.swarm.Close(nil)
		m.swarm.Listen(nil)
		m.swarm.Listen(func(err error) { got = append(got, err) })
		m.swarm.node.Close(nil)
		if _, err := New(m.swarm.node, Config{}); !errors.Is(err, hyperdht.ErrClosed) {
			t.Errorf("a swarm on a closed node: %v", err)
		}
	})
	if len(got) != 1 || !errors.Is(got[0], ErrClosed) {
		t.Errorf("Listen of a closed swarm: %v", got)
	}
}

// Of two dials at the same time, the one of the side with the greater key stays. A later one shows that the peer has lost the first.
func TestIncomingConnectionReplacesByTheKeys(t *testing.T) {
	for _, seeds := range [][2]byte{{1, 2}, {2, 1}} {
		in := newInside(t)
		a, b := in.pair(seeds[0], seeds[1])
		mine, other := a.swarm.PublicKey(), b.swarm.PublicKey()
		greater := bytes.Compare(other[:], mine[:]) > 0
		a.Do(func() { a.swarm.JoinPeer(other) })
		in.net.Run(time.Second)
		p, from := a.swarm.peers[other], b.swarm.peers[mine]
		if p == nil || p.state != peerConnected || from == nil || from.state != peerConnected {
			t.Fatal("they are not connected")
		}
		now := a.Now()
		a.Do(func() {
			for _, tc := range []struct {
				what string
				open time.Duration // since when; -1 is not
				want bool
			}{
				{"a dial that has just opened", 1, greater},
				{"a dial that has opened within the time of dials that began before", settling, greater},
				{"a dial that opened long ago", settling + 1, true},
				{"a dial that is answered and not open", -1, greater},
			} {
				if p.openSince = now.Add(-tc.open); tc.open < 0 {
					p.openSince = 0
				}
				if got := a.swarm.replaces(p); got != tc.want {
					t.Errorf("the peer's key is greater: %v; a connection of the peer replaces %s: %v", greater, tc.what, got)
				}
			}
			p.openSince = now
			unanswered := &peer{key: other, conn: a.swarm.node.Connect(other, hyperdht.ConnectOptions{})}
			if !a.swarm.replaces(unanswered) {
				t.Error("a dial that the peer has not answered is kept")
			}
			unanswered.conn.Destroy(nil)
		})
		b.Do(func() {
			if !b.swarm.replaces(from) {
				t.Error("an earlier connection of the peer's own is kept")
			}
		})
	}
}
