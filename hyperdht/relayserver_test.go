package hyperdht_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

// relayClient talks to a blind relay as a test says.
type relayClient struct {
	l      *lab
	from   *actor
	conn   *hyperdht.Connection
	ch     *mux.Channel
	got    []string
	closed bool
}

// relayClient connects to the relay from an actor, under a key of its own.
func (l *lab) relayClient(from *actor, key byte) *relayClient {
	c := &relayClient{l: l, from: from}
	keys := keysOf(key)
	from.host.Do(func() {
		c.conn = from.node.Connect(keysOf(relayKey).Public, hyperdht.ConnectOptions{Keys: &keys})
		m := mux.New(c.conn)
		m.OnClose(func(error) { c.closed = true })
		var err error
		c.ch, err = m.Open(mux.ChannelOptions{Protocol: "blind-relay", ID: keys.Public[:], Messages: []func([]byte){
			func(b []byte) {
				m, err := wire.ParseRelayPair(b)
				c.got = append(c.got, fmt.Sprintf("pair %d %v %v", m.Token[0], m.Initiator, err))
			},
			func(b []byte) {
				m, err := wire.ParseRelayUnpair(b)
				c.got = append(c.got, fmt.Sprintf("unpair %d reason %d %v", m.Token[0], m.Reason, err))
			},
		}})
		if err != nil {
			l.t.Fatal(err)
		}
	})
	l.run(time.Second)
	return c
}

func (c *relayClient) pair(token byte, initiator bool) {
	c.from.host.Do(func() {
		c.ch.Send(0, wire.RelayPair{Token: [32]byte{token}, Initiator: initiator, ID: uint32(token)}.Append(nil))
	})
	c.l.run(time.Second)
}

func (c *relayClient) unpair(token byte) {
	c.from.host.Do(func() { c.ch.Send(1, wire.RelayUnpair{Token: [32]byte{token}}.Append(nil)) })
	c.l.run(time.Second)
}

func (c *relayClient) want(t *testing.T, got ...string) {
	t.Helper()
	if fmt.Sprint(c.got) != fmt.Sprint(got) {
		t.Errorf("the relay said %q, want %q", c.got, got)
	}
	c.got = nil
}

// relayWants compares what counts of a relay: sessions, waiting, active, and what has ended or was refused.
func relayWants(t *testing.T, r *hyperdht.RelayServer, want string) {
	t.Helper()
	s := r.Stats()
	got := fmt.Sprintf("sessions %d, waiting %d, active %d, matched %d, cancelled %d, expired %d, refused %d, by key %d, crowded %d",
		s.Sessions, s.Waiting, s.Active, s.Matched, s.Cancelled, s.Expired, s.Refused, s.RefusedKey, s.Crowded)
	if got != want {
		t.Errorf("the relay has\n%s, want\n%s", got, want)
	}
}

func TestRelayPairsTwoSides(t *testing.T) {
	l := newLab(t, 4, public(), public())
	_, r := l.relay(hyperdht.RelayConfig{})
	a, b := l.relayClient(l.dialler, 11), l.relayClient(l.answerer, 12)
	a.pair(1, true)
	a.pair(1, true) // again, which changes nothing
	relayWants(t, r, "sessions 2, waiting 1, active 0, matched 0, cancelled 0, expired 0, refused 0, by key 0, crowded 0")
	b.unpair(1) // what is not its own
	b.pair(1, false)
	relayWants(t, r, "sessions 2, waiting 0, active 1, matched 1, cancelled 0, expired 0, refused 0, by key 0, crowded 0")
	a.want(t, "pair 1 true <nil>")
	b.want(t, "pair 1 false <nil>")
	a.unpair(1)
	relayWants(t, r, "sessions 2, waiting 0, active 0, matched 1, cancelled 1, expired 0, refused 0, by key 0, crowded 0")
	a.unpair(1) // again
	b.unpair(1)
	relayWants(t, r, "sessions 2, waiting 0, active 0, matched 1, cancelled 1, expired 0, refused 0, by key 0, crowded 0")
	a.pair(2, true)
	a.unpair(2)
	relayWants(t, r, "sessions 2, waiting 0, active 0, matched 1, cancelled 2, expired 0, refused 0, by key 0, crowded 0")
	a.pair(3, true)
	l.dialler.host.Do(func() { a.conn.Destroy(nil) })
	l.run(time.Second)
	relayWants(t, r, "sessions 1, waiting 0, active 0, matched 1, cancelled 3, expired 0, refused 0, by key 0, crowded 0")
	a.want(t)
	b.want(t)
}

// Clients show tokens, withdraw them, leave and come back in any order.
func TestRelayPairsKeepToTheTable(t *testing.T) {
	l := newLab(t, 4, public(), public())
	_, r := l.relay(hyperdht.RelayConfig{MaxPairs: 3})
	pairs := statestest.NewMachines(statestest.NewWatch(t, hyperdht.PairTable), hyperdht.Pair.State)
	random := rand.New(rand.NewPCG(1, 1))
	clients := make([]*relayClient, 4)
	for range 150 {
		i := random.IntN(len(clients))
		if clients[i] == nil || clients[i].closed {
			clients[i] = l.relayClient([]*actor{l.dialler, l.answerer}[i%2], byte(11+i))
		}
		token := byte(random.IntN(5))
		switch c := clients[i]; random.IntN(10) {
		case 0:
			c.unpair(token)
		case 1:
			c.from.host.Do(func() { c.conn.Destroy(nil) })
			l.run(time.Second)
		case 2:
			l.run(time.Duration(random.IntN(20)) * time.Second)
		default:
			c.pair(token, i < 2)
		}
		pairs.Add(r.Pairs()...)
		pairs.Look()
	}
}

// Everything that a client has at a relay has a deadline: a connection without a pair, a token, a pair that carries nothing.
func TestRelayDeadlines(t *testing.T) {
	l := newLab(t, 4, public(), public())
	_, r := l.relay(hyperdht.RelayConfig{})
	idle := l.relayClient(l.dialler, 11)
	l.run(18 * time.Second)
	relayWants(t, r, "sessions 1, waiting 0, active 0, matched 0, cancelled 0, expired 0, refused 0, by key 0, crowded 0")
	l.run(13 * time.Second)
	relayWants(t, r, "sessions 0, waiting 0, active 0, matched 0, cancelled 0, expired 1, refused 0, by key 0, crowded 0")
	if !idle.closed {
		t.Error("a connection without a pair lives on")
	}

	a := l.relayClient(l.dialler, 12)
	a.pair(1, true)
	l.run(18 * time.Second)
	a.want(t)
	l.run(2 * time.Second)
	a.want(t, "unpair 1 reason 3 <nil>")
	relayWants(t, r, "sessions 1, waiting 0, active 0, matched 0, cancelled 0, expired 2, refused 0, by key 0, crowded 0")

	a.pair(2, true)
	b := l.relayClient(l.answerer, 13)
	b.pair(2, false)
	a.want(t, "pair 2 true <nil>")
	l.run(57 * time.Second)
	relayWants(t, r, "sessions 2, waiting 0, active 1, matched 1, cancelled 0, expired 2, refused 0, by key 0, crowded 0")
	l.run(3 * time.Second)
	a.want(t, "unpair 2 reason 3 <nil>")
	b.want(t, "pair 2 false <nil>", "unpair 2 reason 3 <nil>")
	relayWants(t, r, "sessions 2, waiting 0, active 0, matched 1, cancelled 0, expired 3, refused 0, by key 0, crowded 0")
	l.run(time.Minute)
	relayWants(t, r, "sessions 0, waiting 0, active 0, matched 1, cancelled 0, expired 5, refused 0, by key 0, crowded 0")
}

// Beyond its limits a relay refuses with a reason, or ends what the fullest address has had the longest.
func TestRelayLimits(t *testing.T) {
	t.Run("by key", func(t *testing.T) {
		l := newLab(t, 4, public(), public())
		_, r := l.relay(hyperdht.RelayConfig{MaxPairsPerKey: 1})
		a, b := l.relayClient(l.dialler, 11), l.relayClient(l.answerer, 12)
		for token := byte(1); token <= 2; token++ {
			a.pair(token, true)
			b.pair(token, false)
		}
		a.want(t, "pair 1 true <nil>", "unpair 2 reason 2 <nil>")
		b.want(t, "pair 1 false <nil>", "unpair 2 reason 2 <nil>")
		relayWants(t, r, "sessions 2, waiting 0, active 1, matched 1, cancelled 0, expired 0, refused 0, by key 1, crowded 0")
	})
	t.Run("in all, one address", func(t *testing.T) {
		l := newLab(t, 4, public(), public())
		_, r := l.relay(hyperdht.RelayConfig{MaxPairs: 1})
		a, b := l.relayClient(l.dialler, 11), l.relayClient(l.answerer, 12)
		for token := byte(1); token <= 2; token++ {
			a.pair(token, true)
			b.pair(token, false)
		}
		a.want(t, "pair 1 true <nil>", "unpair 2 reason 1 <nil>")
		b.want(t, "pair 1 false <nil>", "unpair 2 reason 1 <nil>")
		relayWants(t, r, "sessions 2, waiting 0, active 1, matched 1, cancelled 0, expired 0, refused 1, by key 0, crowded 0")
	})
	t.Run("waiting, one address", func(t *testing.T) {
		l := newLab(t, 4, public(), public())
		_, r := l.relay(hyperdht.RelayConfig{MaxPairs: 2})
		a := l.relayClient(l.dialler, 11)
		for token := byte(1); token <= 3; token++ {
			a.pair(token, true)
		}
		a.want(t, "unpair 1 reason 1 <nil>")
		relayWants(t, r, "sessions 1, waiting 2, active 0, matched 0, cancelled 0, expired 0, refused 0, by key 0, crowded 1")
	})
}

// A relay that is closed takes no clients; those that it has keep what is relayed.
func TestRelayCloses(t *testing.T) {
	l := newLab(t, 4, random(), random())
	relay, r := l.relay(hyperdht.RelayConfig{})
	l.listen(hyperdht.ListenOptions{RelayThrough: []id.PublicKey{r.PublicKey()}})
	c := l.dial(hyperdht.ConnectOptions{})
	l.run(5 * time.Second)
	closed := false
	relay.host.Do(func() { r.Close(func() { closed = true }) })
	l.run(time.Minute)
	if !closed || c.Closed() || c.Path() != hyperdht.PathRelayed {
		t.Errorf("closed %v, the connection is over: %v, path %v", closed, c.Closed(), c.Path())
	}
	late := l.relayClient(l.dialler, 20)
	l.run(20 * time.Second)
	if !late.closed {
		t.Error("a closed relay takes a client")
	}
}

// A client whose connection to the relay has died comes back on another one before the relay has noticed. It gets its place, and the
// other side is notified that the pair has ended.
func TestRelayTakesAClientThatComesBack(t *testing.T) {
	t.Parallel()
	l := newLab(t, 4, cone(), cone())
	_, r := l.relay(hyperdht.RelayConfig{})
	before, other := l.relayClient(l.dialler, 40), l.relayClient(l.answerer, 41)
	before.pair(1, true)
	other.pair(1, false)
	other.want(t, "pair 1 false <nil>")
	again, stranger := l.relayClient(l.dialler, 40), l.relayClient(l.dialler, 42)
	stranger.pair(1, true)
	stranger.want(t)
	relayWants(t, r, "sessions 4, waiting 0, active 1, matched 1, cancelled 0, expired 0, refused 0, by key 0, crowded 0")
	again.pair(1, true)
	other.want(t, fmt.Sprintf("unpair 1 reason %d <nil>", wire.RelayExpired))
	relayWants(t, r, "sessions 4, waiting 1, active 0, matched 1, cancelled 1, expired 0, refused 0, by key 0, crowded 0")
	other.pair(1, false)
	other.want(t, "pair 1 false <nil>")
	again.want(t, "pair 1 true <nil>")
	relayWants(t, r, "sessions 4, waiting 0, active 1, matched 2, cancelled 1, expired 0, refused 0, by key 0, crowded 0")
}

// A client that asks faster than it acknowledges has some answers wait, and its connection ends with one too many. The others' go on.
func TestRelayEndsClientsThatLetAnswersPileUp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		asked int
		ended bool
	}{{70, false}, {400, true}} {
		l := newLab(t, 4, public(), public())
		relay, r := l.relay(hyperdht.RelayConfig{MaxPairs: 2})
		a, b := l.relayClient(l.dialler, 11), l.relayClient(l.answerer, 12)
		l.net.SetLink(relay.host, l.dialler.host, simnet.Link{Delay: 2 * time.Second})
		b.pair(200, true)
		for i := range test.asked { // each but the last waits until the next one, and is refused then
			l.dialler.host.Do(func() {
				a.ch.Send(0, wire.RelayPair{Token: [32]byte{byte(i), byte(i >> 8), 1}, Initiator: true}.Append(nil))
			})
		}
		l.run(15 * time.Second)
		if a.closed != test.ended || !test.ended && len(a.got) != test.asked-1 || b.closed {
			t.Errorf("%d asked: %d answers, closed %v, another client %v", test.asked, len(a.got), a.closed, b.closed)
		}
		if s := r.Stats(); test.ended && (s.Crowded < 69 || s.Crowded > 160 || s.Sessions != 1 || s.Waiting != 1) {
			t.Errorf("%d asked: %+v", test.asked, s)
		}
	}
}
