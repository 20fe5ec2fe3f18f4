package hyperdht_test

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// How a server's record gets onto the DHT, and stays or goes.
func TestAnnouncing(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(l *lab)
	}{
		{"announce-and-again", func(l *lab) {
			l.announce()
			l.run(70 * time.Second)
		}},
		{"announce-no-node-answers", func(l *lab) {
			l.off(l.answerer)
			l.announce()
			l.run(20 * time.Second)
			l.heal()
			l.run(20 * time.Second)
		}},
		{"announce-while-offline", func(l *lab) {
			l.announce()
			l.run(5 * time.Second)
			l.off(l.answerer)
			l.run(3 * time.Minute)
			l.status()
			l.heal()
			l.run(40 * time.Second)
		}},
		{"announce-outage-of-a-minute", func(l *lab) {
			l.announce()
			l.run(5 * time.Second)
			l.off(l.answerer)
			l.run(time.Minute)
			l.status()
			l.heal()
			l.run(20 * time.Second)
		}},
		{"announce-a-relay-dies", func(l *lab) {
			l.announce()
			l.run(5 * time.Second)
			l.off(l.dht[2])
			l.run(20 * time.Second)
		}},
		{"announce-a-node-refuses", func(l *lab) {
			l.refuseToken(l.dht[2])
			l.announce()
			l.run(20 * time.Second)
		}},
		{"announce-moved", func(l *lab) {
			l.announce()
			l.run(5 * time.Second)
			l.log.note("the router has another address")
			moved := netip.MustParseAddr("100.128.2.77")
			l.log.names[moved] = "answerer"
			l.answerer.router.SetAddr(moved)
			l.run(20 * time.Second)
		}},
		{"announce-told-of-a-new-network", func(l *lab) {
			l.announce()
			l.run(5 * time.Second)
			l.log.note("NetworkChanged is called")
			l.answerer.host.Do(l.answerer.node.NetworkChanged)
			l.run(10 * time.Second)
		}},
		{"announce-suspended-and-resumed", func(l *lab) {
			l.announce()
			l.run(5 * time.Second)
			l.log.note("suspended")
			l.answerer.host.Do(func() { l.answerer.node.Suspend(nil) })
			l.run(10 * time.Second)
			l.status()
			l.resume(l.answerer)
			l.run(5 * time.Second)
		}},
		{"announce-suspended-in-a-cycle", func(l *lab) {
			l.announce()
			l.run(25 * time.Millisecond)
			l.log.note("suspended")
			l.answerer.host.Do(func() { l.answerer.node.Suspend(nil) })
			l.run(5 * time.Second)
			l.resume(l.answerer)
			l.run(5 * time.Second)
		}},
		{"announce-while-suspended", func(l *lab) {
			l.log.note("suspended")
			l.answerer.host.Do(func() { l.answerer.node.Suspend(nil) })
			l.announce()
			l.run(5 * time.Second)
			l.resume(l.answerer)
			l.run(5 * time.Second)
		}},
		{"announce-closed", func(l *lab) {
			l.announce()
			l.run(5 * time.Second)
			l.log.note("the server is closed")
			l.answerer.host.Do(func() { l.server.Close(func() { l.log.say("answerer", "app: closed") }) })
			l.run(10 * time.Second)
		}},
		{"announce-closed-in-a-cycle", func(l *lab) {
			l.announce()
			l.run(25 * time.Millisecond)
			l.log.note("the server is closed, twice")
			for range 2 {
				l.answerer.host.Do(func() { l.server.Close(func() { l.log.say("answerer", "app: closed") }) })
			}
			l.run(10 * time.Second)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 4, cone(), cone())
			l.begin()
			l.log.announces = true
			test.do(l)
			l.status()
			l.end(test.name)
		})
	}
}

// announce makes the answerer listen and does not wait for anything.
func (l *lab) announce() {
	l.answerer.host.Do(func() {
		var err error
		l.server, err = l.answerer.node.Listen(hyperdht.ListenOptions{Keys: keysOf(answererKey)}, func(err error) {
			l.log.say("answerer", "app: announced, %v", err)
		})
		if err != nil {
			l.t.Fatal(err)
		}
	})
}

// status describes the record of the server.
func (l *lab) status() {
	a := l.server.Announcement()
	l.log.say("answerer", "app: %d nodes hold the record, ever=%v, silent for %v, relays %s", a.Nodes, a.Ever, a.Silent.Round(time.Second), l.log.list(l.server.Relays()))
}

func (l *lab) heal() {
	l.log.note("all is well")
	l.net.Heal()
	clear(l.log.lost)
}

// refuseToken makes nodes refuse announcements, because their token is damaged on the way.
func (l *lab) refuseToken(nodes ...*actor) {
	l.net.SetFilter(func(d simnet.Datagram) bool {
		if !slices.ContainsFunc(nodes, func(n *actor) bool { return d.To == n.addr() }) || !wire.IsRequest(d.Payload) {
			return true
		}
		if m, err := wire.ParseRequest(d.Payload); err == nil && !m.Internal && m.Command == wire.CmdAnnounce && m.Token != nil {
			d.Payload[bytes.Index(d.Payload, m.Token[:])]++
		}
		return true
	})
}

// A node without bootstrap nodes is a network of its own: its server is announced although no node takes its record.
func TestAnnouncingAlone(t *testing.T) {
	net := simnet.New(simnet.Config{Seed: 1, Link: simnet.Link{Delay: hop}})
	h := net.AddHost("alone", netip.MustParseAddr("100.128.0.1"))
	var calls []error
	var s *hyperdht.Server
	h.Do(func() {
		n := node(t, h, hyperdht.Config{Bootstrap: []string{}})
		var err error
		s, err = n.Listen(hyperdht.ListenOptions{Keys: keysOf(answererKey)}, func(err error) { calls = append(calls, err) })
		if err != nil {
			t.Fatal(err)
		}
	})
	net.Run(time.Minute)
	if len(calls) != 1 || calls[0] != nil {
		t.Errorf("told %v", calls)
	}
	if a := s.Announcement(); a != (hyperdht.Announcement{}) {
		t.Errorf("announced %+v", a)
	}
}

// The nodes of the last cycle that reached one stay relays of the server while no cycle does: callers still come in
// through them.
func TestRelaysOutliveFailedCycles(t *testing.T) {
	l := newLab(t, 4, cone(), cone())
	l.listen(hyperdht.ListenOptions{})
	l.refuseToken(l.dht...)
	l.run(2 * time.Minute)
	if a := l.server.Announcement(); a.Nodes > 0 || len(l.server.Relays()) == 0 {
		t.Fatalf("%+v, relays %v", a, l.server.Relays())
	}
	c := l.fakeCaller()
	c.dial(callerPayload())
	if round, ok := c.round(wire.HolepunchPayload{Firewall: wire.FirewallConsistent}); !ok || round.Token == nil {
		t.Error("a relay that the server has announced to is not believed any more")
	}
}
