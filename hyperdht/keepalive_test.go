package hyperdht_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// The node with many connections wakes up for all of them together, and each idle connection costs three datagrams in five seconds: a
// message of the side that was dialled, the answer with its acknowledgement, and the acknowledgement of the answer.
func TestKeepAlivesLeaveTogetherAndAreAnsweredAtOnce(t *testing.T) {
	const connections, intervals = 30, 12
	w := newTalk(t, nil)
	for i := range connections {
		w.connect()
		w.run(time.Second / connections)
		if i == 0 {
			w.run(5 * time.Second) // for the path
		}
	}
	w.run(20 * time.Second)
	sent := map[*simnet.Host]int{}
	wakes := map[time.Duration]bool{}
	w.net.SetTap(func(c simnet.Crossing) {
		for _, a := range []*actor{w.answerer, w.dialler} {
			if c.From.Addr() == a.host.Addr() && c.To.Addr() != c.From.Addr() && (c.To.Addr() == w.answerer.host.Addr() || c.To.Addr() == w.dialler.host.Addr()) {
				sent[a.host]++
				if a == w.answerer {
					wakes[w.net.Now()] = true
				}
			}
		}
	})
	w.run(intervals * 5 * time.Second)
	if w.dialled.Closed() || !w.dialled.Opened() || w.dialled.Path() == hyperdht.PathNone {
		t.Fatal("no connection")
	}
	if n := sent[w.answerer.host]; n < connections*intervals || n > 2*connections*(intervals+1) {
		t.Errorf("the answerer sent %d datagrams for %d connections in %d intervals", n, connections, intervals)
	}
	if n := sent[w.dialler.host]; n < connections*intervals || n > connections*(intervals+1) {
		t.Errorf("the dialler sent %d datagrams for %d connections in %d intervals", n, connections, intervals)
	}
	// The connections began within a second, which has ten slots; an answer arrives a round trip later.
	if n := len(wakes); n > 2*12*(intervals+1) {
		t.Errorf("the answerer sent at %d times", n)
	}
}

// lasting returns a place of a node with a keep-alive interval.
func lasting(interval time.Duration) place {
	p := open()
	p.cfg.ConnectionKeepAlive = interval
	return p
}

func TestKeepAliveOfANodeIsThatOfItsConnections(t *testing.T) {
	const never, minute = time.Duration(-1), time.Minute
	for _, tc := range []struct {
		name              string
		dialler, answerer time.Duration
		last              time.Duration // after which both are known to have failed; 0 for never
		most              int           // datagrams of both in ten minutes without anything to say
	}{
		{"default", 0, 0, 15 * time.Second, 4 * 121},
		{"a minute", minute, minute, 3 * minute, 4 * 11},
		{"never", never, never, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(t, 4, lasting(tc.dialler), lasting(tc.answerer))
			l.listen(hyperdht.ListenOptions{})
			c := l.dial(hyperdht.ConnectOptions{})
			if !l.net.RunUntil(c.Opened, time.Minute) {
				t.Fatal("no connection")
			}
			l.run(10 * time.Second)
			sent := 0
			between := func(c simnet.Crossing) bool {
				return c.From == l.dialler.addr() && c.To == l.answerer.addr() || c.From == l.answerer.addr() && c.To == l.dialler.addr()
			}
			l.net.SetTap(func(c simnet.Crossing) {
				if between(c) {
					sent++
				}
			})
			l.run(10 * time.Minute)
			if (sent == 0) != (tc.most == 0) || sent > tc.most {
				t.Errorf("%d datagrams in ten minutes, want at most %d, and none only for never", sent, tc.most)
			}
			if c.Closed() {
				t.Fatal("the connection has closed")
			}
			l.apart()
			if tc.last == 0 {
				if l.run(time.Hour); c.Closed() {
					t.Error("the connection has closed, though nothing was to be sent")
				}
				return
			}
			l.run(tc.last + tc.last/10) // earlier where the stream below gives up
			if !c.Closed() || !l.accepted[0].Closed() {
				t.Errorf("closed at the dialler %v, at the answerer %v", c.Closed(), l.accepted[0].Closed())
			}
		})
	}
}

// A node without keep-alives notices the loss of a relay nevertheless, and so the end of what it carries.
func TestLinksToRelaysKeepTheirKeepAlive(t *testing.T) {
	dialler, answerer := random(), random()
	dialler.cfg.ConnectionKeepAlive, answerer.cfg.ConnectionKeepAlive = -1, -1
	l := newLab(t, 4, dialler, answerer)
	relay, _ := l.relay(hyperdht.RelayConfig{})
	l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay, NeverPunch: true})
	c := l.dial(hyperdht.ConnectOptions{})
	if !l.net.RunUntil(c.Opened, time.Minute) || c.Path() != hyperdht.PathRelayed {
		t.Fatalf("opened %v, path %v", c.Opened(), c.Path())
	}
	l.run(10 * time.Second)
	if c.Closed() {
		t.Fatal("closed without a reason")
	}
	l.off(relay)
	l.run(30 * time.Second) // the relay would end a pair without traffic after a minute
	if !c.Closed() {
		t.Error("the connection outlives its relay")
	}
}
