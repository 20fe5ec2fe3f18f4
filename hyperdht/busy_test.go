package hyperdht_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// busyLab has an answerer that guesses ports for another client, without success, for 35 s, and then pauses for 20 s.
func busyLab(t *testing.T, relayed bool) (l *lab, relay *actor) {
	l = newLab(t, 4, random(), cone())
	opts := hyperdht.ListenOptions{}
	if relayed {
		relay, _ = l.relay(hyperdht.RelayConfig{})
		opts.RelayThrough = throughRelay
	}
	other := l.join("other", random())
	l.listen(opts)
	l.cut(other, l.answerer)
	l.cut(l.answerer, other)
	other.host.Do(func() { other.node.Connect(keysOf(answererKey).Public, hyperdht.ConnectOptions{}) })
	l.run(time.Second)
	return l, relay
}

// A side that guesses ports already does not guess any for another connection.
func TestBusyPunching(t *testing.T) {
	for _, test := range []struct {
		name    string
		relayed bool
		then    func(l *lab, relay *actor)
	}{
		{name: "busy-answerer", then: func(l *lab, _ *actor) { l.run(30 * time.Second) }},
		{name: "busy-answerer-with-a-relay", relayed: true, then: func(l *lab, _ *actor) {
			l.run(5 * time.Second)
			l.log.luck, l.log.blur = true, true
			l.run(2 * time.Second) // the dialler asks again
		}},
		// The answerer has told the dialler to try later, and waits for a relay that has gone and for a dialler that has gone.
		{name: "busy-answerer-and-both-others-go", relayed: true, then: func(l *lab, relay *actor) {
			l.until("dialler", hyperdht.AttemptRelay)
			l.off(relay)
			l.run(5 * time.Second)
			l.off(l.dialler)
			l.run(10 * time.Second)
			l.log.luck, l.log.blur = true, true
			l.run(10 * time.Minute)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l, relay := busyLab(t, test.relayed)
			l.begin()
			l.log.others = true
			l.dial(hyperdht.ConnectOptions{})
			test.then(l, relay)
			l.end(test.name)
			if test.name == "busy-answerer-with-a-relay" {
				l.until("dialler", hyperdht.AttemptAgreed)
			}
		})
	}
}

// The same on the dialler's side: the second of two dials has to wait, or fails.
func TestBusyDialler(t *testing.T) {
	for _, relayed := range []bool{false, true} {
		name := "busy-dialler"
		if relayed {
			name += "-with-a-relay"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 4, random(), cone())
			opts := hyperdht.ListenOptions{}
			if relayed {
				l.relay(hyperdht.RelayConfig{})
				opts.RelayThrough = throughRelay
			}
			l.listen(opts)
			l.apart()
			l.dialler.host.Do(func() {
				keys := keysOf(200)
				l.dialler.node.Connect(keysOf(answererKey).Public, hyperdht.ConnectOptions{Keys: &keys})
			})
			l.run(time.Second)
			l.begin()
			l.log.others = true
			l.dial(hyperdht.ConnectOptions{})
			l.run(5 * time.Second)
			l.end(name)
			if relayed {
				l.until("dialler", hyperdht.AttemptAgreed) // the first one has lost its punch
			}
		})
	}
}

// A second dial goes over the path of the first one, where both sides offer that.
func TestReusedPaths(t *testing.T) {
	server, client := hyperdht.ListenOptions{ReusableSocket: true}, hyperdht.ConnectOptions{ReusableSocket: true}
	for _, test := range []struct {
		name   string
		server hyperdht.ListenOptions
		client hyperdht.ConnectOptions
		before func(l *lab, first *hyperdht.Connection) // the second dial
	}{
		{name: "route-is-used-again", server: server, client: client, before: func(*lab, *hyperdht.Connection) {}},
		{name: "route-is-not-offered-by-the-server", client: client, before: func(*lab, *hyperdht.Connection) {}},
		{name: "route-is-not-wanted-by-the-client", server: server, before: func(*lab, *hyperdht.Connection) {}},
		{name: "route-ended-with-an-error", server: server, client: client, before: func(l *lab, first *hyperdht.Connection) {
			l.dialler.host.Do(func() { first.Destroy(hyperdht.ErrPeerSilent) })
		}},
		{name: "route-ended-well", server: server, client: client, before: func(l *lab, first *hyperdht.Connection) {
			l.dialler.host.Do(first.Close)
			l.run(time.Second)
		}},
		{name: "route-is-dead", server: server, client: client, before: func(l *lab, first *hyperdht.Connection) {
			l.apart()
			l.run(time.Second)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 4, cone(), cone())
			l.listen(test.server)
			first := l.dial(test.client)
			l.run(time.Second)
			test.before(l, first)
			l.begin()
			l.dial(test.client)
			l.run(4500 * time.Millisecond)
			l.end(test.name)
		})
	}
}

// A dial that waits for its turn to punch while a relay is to carry the connection ends when the relay does not: its turn may be
// minutes away, and the next dial may find the relay again.
func TestRelayThatFailsEndsTheWaitForATurn(t *testing.T) {
	l := newLab(t, 4, random(), cone())
	relay, _ := l.relay(hyperdht.RelayConfig{})
	l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay})
	l.apart()
	l.net.SetLinks(l.dialler.host, relay.host, simnet.Link{Loss: 1})
	l.net.SetLinks(l.answerer.host, relay.host, simnet.Link{Loss: 1})
	l.dialler.host.Do(func() {
		keys := keysOf(200)
		l.dialler.node.Connect(keysOf(answererKey).Public, hyperdht.ConnectOptions{Keys: &keys})
	})
	l.run(time.Second)
	var failed error
	l.dialler.host.Do(func() {
		c := l.dialler.node.Connect(keysOf(answererKey).Public, hyperdht.ConnectOptions{})
		c.OnClose(func(err error) { failed = err })
	})
	began := l.net.Now()
	if !l.net.RunUntil(func() bool { return failed != nil }, 2*time.Minute) || l.net.Now()-began > 20*time.Second {
		t.Errorf("after %v: %v", l.net.Now()-began, failed)
	}
}
