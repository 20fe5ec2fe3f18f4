package hyperdht_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
)

// fakeRelay is a blind relay that says what a test says. Messages 0 of its channel pair, messages 1 unpair.
type fakeRelay struct {
	l     *lab
	host  *actor
	pairs []wire.RelayPair // asked for, by both sides
}

// fakeRelay calls asked a second after a side has asked for a pair.
func (l *lab) fakeRelay(asked func(m wire.RelayPair, ch *mux.Channel, c *hyperdht.Connection)) *fakeRelay {
	l.t.Helper()
	r := &fakeRelay{l: l, host: l.join("relay", open())}
	done := false
	opts := hyperdht.ListenOptions{Keys: keysOf(relayKey), OnConnection: func(c *hyperdht.Connection) {
		own := c.RemotePublicKey()
		var ch *mux.Channel
		ch, err := mux.New(c).Open(mux.ChannelOptions{Protocol: "blind-relay", ID: own[:], Messages: []func([]byte){func(b []byte) {
			m, err := wire.ParseRelayPair(b)
			if err != nil {
				l.t.Error(err)
			}
			r.pairs = append(r.pairs, m)
			r.host.host.AfterFunc(time.Second, func() { asked(m, ch, c) }) // when the punch rounds are over
		}}})
		if err != nil {
			l.t.Error(err)
		}
	}}
	r.host.host.Do(func() {
		if _, err := r.host.node.Listen(opts, func(error) { done = true }); err != nil {
			l.t.Fatal(err)
		}
	})
	if !l.net.RunUntil(func() bool { return done }, time.Minute) {
		l.t.Fatal("the relay is not announced")
	}
	return r
}

// What the two sides make of a relay's answers.
func TestAnswersOfRelays(t *testing.T) {
	t.Parallel()
	unpair := func(reason wire.RelayReason) func(wire.RelayPair, *mux.Channel, *hyperdht.Connection) {
		return func(m wire.RelayPair, ch *mux.Channel, _ *hyperdht.Connection) {
			ch.Send(1, wire.RelayUnpair{Token: m.Token, Reason: reason}.Append(nil))
		}
	}
	pair := func(change func(*wire.RelayPair)) func(wire.RelayPair, *mux.Channel, *hyperdht.Connection) {
		return func(m wire.RelayPair, ch *mux.Channel, _ *hyperdht.Connection) {
			m.ID = 99
			change(&m)
			ch.Send(0, m.Append(nil))
		}
	}
	var all []section
	for _, test := range []struct {
		name  string
		asked func(wire.RelayPair, *mux.Channel, *hyperdht.Connection)
	}{
		{"silence", func(wire.RelayPair, *mux.Channel, *hyperdht.Connection) {}},
		{"closes the channel", func(_ wire.RelayPair, ch *mux.Channel, _ *hyperdht.Connection) { ch.Close() }},
		{"closes the connection", func(_ wire.RelayPair, _ *mux.Channel, c *hyperdht.Connection) { c.Destroy(nil) }},
		{"unpairs without a reason", unpair(wire.RelayUnpaired)},
		{"is full", unpair(wire.RelayFull)},
		{"is full for one key", unpair(wire.RelayKeyFull)},
		{"the pair has expired", unpair(wire.RelayExpired)},
		{"unpairs with a reason that is not known here", unpair(200)},
		{"unpairs another token", func(m wire.RelayPair, ch *mux.Channel, _ *hyperdht.Connection) {
			m.Token[0]++
			ch.Send(1, wire.RelayUnpair{Token: m.Token, Reason: wire.RelayFull}.Append(nil))
		}},
		{"sends what cannot be read", func(_ wire.RelayPair, ch *mux.Channel, _ *hyperdht.Connection) {
			ch.Send(0, []byte{1})
			ch.Send(1, []byte{1})
		}},
		{"pairs another token", pair(func(m *wire.RelayPair) { m.Token[0]++ })},
		{"takes one side for the other", pair(func(m *wire.RelayPair) { m.Initiator = !m.Initiator })},
		{"pairs with a stream that it does not have", pair(func(*wire.RelayPair) {})},
		{"pairs twice, then unpairs", func(m wire.RelayPair, ch *mux.Channel, _ *hyperdht.Connection) {
			m.ID = 99
			ch.Send(0, m.Append(nil))
			ch.Send(0, m.Append(nil))
			ch.Send(1, wire.RelayUnpair{Token: m.Token, Reason: wire.RelayExpired}.Append(nil))
		}},
	} {
		l := newLab(t, 4, random(), random())
		l.fakeRelay(test.asked)
		l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay})
		l.begin()
		l.log.muted = true
		l.dial(hyperdht.ConnectOptions{})
		l.run(500 * time.Millisecond)
		l.show()
		l.run(40 * time.Second)
		all = append(all, section{test.name, l.finish()})
	}
	sections(t, "answers-of-relays", all)
}
