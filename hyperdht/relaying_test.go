package hyperdht_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// Blind relays, as the two sides that they bring together see them.
func TestRelayPaths(t *testing.T) {
	through := hyperdht.ListenOptions{RelayThrough: throughRelay}
	for _, test := range []struct {
		name              string
		dialler, answerer place
		server            hyperdht.ListenOptions
		client            hyperdht.ConnectOptions
		relay             hyperdht.RelayConfig
		apart             bool
		then              func(l *lab, relay *actor)
	}{
		{name: "relay-then-upgrade", dialler: cone(), answerer: cone(), server: through, apart: true, then: func(l *lab, _ *actor) {
			l.run(5 * time.Second)
			l.together()
			l.run(30 * time.Second)
		}},
		{name: "relay-then-silence", dialler: cone(), answerer: cone(), server: through, apart: true, then: func(l *lab, _ *actor) {
			l.run(45 * time.Second)
		}},
		// Punching ends at once, and so does the session of the answerer; the connection stays.
		{name: "relay-random-both", dialler: random(), answerer: random(), server: through, then: func(l *lab, _ *actor) {
			l.run(5 * time.Minute)
		}},
		{name: "relay-named-by-dialler", dialler: random(), answerer: random(), client: hyperdht.ConnectOptions{RelayThrough: throughRelay}},
		{name: "relay-named-by-both", dialler: random(), answerer: random(), server: through, client: hyperdht.ConnectOptions{RelayThrough: throughRelay}},
		{name: "relay-not-needed", dialler: cone(), answerer: open(), server: through, then: func(l *lab, _ *actor) {
			l.run(30 * time.Second)
		}},
		{name: "relay-punched-first", dialler: cone(), answerer: cone(), server: through, then: func(l *lab, _ *actor) {
			l.run(30 * time.Second)
		}},
		{name: "relay-rejects-dialler", dialler: random(), answerer: random(), server: through, then: func(l *lab, _ *actor) {
			l.run(30 * time.Second)
		}, relay: hyperdht.RelayConfig{Admit: func(key id.PublicKey) bool { return key != keysOf(diallerKey).Public }}},
		{name: "relay-is-cut-off-before", dialler: random(), answerer: random(), server: through, then: func(l *lab, relay *actor) {
			l.run(40 * time.Second)
		}},
		{name: "relay-is-cut-off-before-it-pairs", dialler: random(), answerer: random(), server: through, then: func(l *lab, relay *actor) {
			l.until("dialler", hyperdht.AttemptRelay)
			l.run(60 * time.Millisecond)
			l.off(relay)
			l.run(40 * time.Second)
		}},
		{name: "relay-is-cut-off-while-it-carries", dialler: random(), answerer: random(), server: through, then: func(l *lab, relay *actor) {
			l.until("dialler", hyperdht.AttemptOpen)
			l.run(time.Second)
			l.off(relay)
			l.run(60 * time.Second)
		}},
		{name: "relay-is-closed-while-it-carries", dialler: random(), answerer: random(), server: through, then: func(l *lab, relay *actor) {
			l.until("dialler", hyperdht.AttemptOpen)
			l.run(time.Second)
			l.log.note("the relay's node is closed")
			relay.host.Do(func() { relay.node.Close(nil) })
			l.run(30 * time.Second)
		}},
		{name: "relay-is-cut-off-after-the-upgrade", dialler: cone(), answerer: cone(), server: through, apart: true, then: func(l *lab, relay *actor) {
			l.run(5 * time.Second)
			l.together()
			l.run(10 * time.Second)
			l.off(relay)
			l.run(30 * time.Second)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 4, test.dialler, test.answerer)
			relay, _ := l.relay(test.relay)
			l.listen(test.server)
			if test.apart {
				l.apart()
			}
			l.begin()
			if test.name == "relay-is-cut-off-before" {
				l.off(relay)
			}
			l.dial(test.client)
			if test.then == nil {
				l.run(10 * time.Second)
			} else {
				test.then(l, relay)
			}
			l.end(test.name)
		})
	}
}
