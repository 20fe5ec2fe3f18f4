package hyperdht_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
)

// Direct paths that lose some packets only, and a relay that ends while it carries.
func TestSecondWayOfPathsThatLose(t *testing.T) {
	for _, test := range []struct {
		name string
		play func(l *lab, relay *actor, c *hyperdht.Connection)
		path hyperdht.Path // in the end
		// takeOvers bounds the number of times that the dialler moves to the relay.
		takeOvers [2]uint64
	}{
		{"a path that loses half of all packets is left", func(l *lab, _ *actor, c *hyperdht.Connection) {
			l.link(simnet.Link{Delay: hop, Loss: 0.5})
			l.echo(c, 100, 50*time.Millisecond)
		}, hyperdht.PathRelayed, [2]uint64{1, 1}},
		{"a path that loses one in a hundred is kept", func(l *lab, _ *actor, c *hyperdht.Connection) {
			l.link(simnet.Link{Delay: hop, Loss: 0.01})
			l.echo(c, 100, 50*time.Millisecond)
		}, hyperdht.PathPunched, [2]uint64{0, 0}},
		{"a path that swallows large packets is left, and taken again with small ones", func(l *lab, _ *actor, c *hyperdht.Connection) {
			l.link(simnet.Link{Delay: hop, MTU: 900})
			l.echo(c, 10, 3*time.Second)
			l.run(time.Minute)
			l.echo(c, 10, 3*time.Second)
		}, hyperdht.PathPunched, [2]uint64{1, 2}},
		{"a relay that ends while it carries gives the connection back", func(l *lab, relay *actor, c *hyperdht.Connection) {
			l.apart()
			l.echo(c, 1, 5*time.Second)
			if c.Path() != hyperdht.PathRelayed {
				l.t.Fatalf("the path is %v", c.Path())
			}
			l.together()
			relay.host.Do(func() { relay.node.Close(nil) })
			l.run(time.Second)
			l.echo(c, 1, 5*time.Second)
		}, hyperdht.PathPunched, [2]uint64{1, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 4, cone(), cone())
			relay, _ := l.relay(hyperdht.RelayConfig{})
			l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay})
			c := l.dial(hyperdht.ConnectOptions{})
			l.run(30 * time.Second)
			test.play(l, relay, c)
			took := l.dialler.node.Status().Peering.TakeOvers
			if c.Closed() || c.Path() != test.path || took < test.takeOvers[0] || took > test.takeOvers[1] {
				t.Errorf("closed %v, path %v, taken over %d times", c.Closed(), c.Path(), took)
			}
		})
	}
}

// A relay whose path is narrower than the direct one takes over while large packets are in flight. These cannot be split again,
// and the relay's path swallows them. The connection ends within seconds, for that reason, and the next one over that relay
// carries on.
func TestSecondWayThatIsNarrower(t *testing.T) {
	l := newLab(t, 4, cone(), cone())
	relay, _ := l.relay(hyperdht.RelayConfig{})
	l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay})
	c := l.dial(hyperdht.ConnectOptions{})
	l.run(30 * time.Second)
	l.echo(c, 30, 100*time.Millisecond) // the direct path turns out to carry 1,500 bytes
	for _, a := range []*actor{l.dialler, l.answerer} {
		l.net.SetLinks(a.host, relay.host, simnet.Link{Delay: hop, MTU: 1280})
	}
	l.apart()
	var closed error
	began := l.net.Now()
	l.dialler.host.Do(func() {
		c.OnClose(func(err error) { closed = err })
		c.Send(make([]byte, 20_000))
	})
	l.net.RunUntil(func() bool { return closed != nil }, 20*time.Second)
	hole, ok := errors.AsType[*udx.BlackHoleError](closed)
	if took := l.net.Now() - began; !ok || hole.Size <= 1280 || took > 5*time.Second {
		t.Errorf("after %v: %v", took, closed)
	}
	c = l.dial(hyperdht.ConnectOptions{})
	if !l.net.RunUntil(c.Opened, 10*time.Second) {
		t.Fatal("no connection follows")
	}
	l.echo(c, 10, 100*time.Millisecond)
	if c.Path() != hyperdht.PathRelayed {
		t.Errorf("the path is %v", c.Path())
	}
}

// OnPath runs after each change of the path, when Path and RemoteAddr describe the new one.
func TestChangesOfThePathAreTold(t *testing.T) {
	l := newLab(t, 4, cone(), cone())
	relay, _ := l.relay(hyperdht.RelayConfig{})
	l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay})
	c := l.dial(hyperdht.ConnectOptions{})
	l.run(30 * time.Second)
	var told []hyperdht.Path
	l.dialler.host.Do(func() {
		c.OnPath(func() {
			told = append(told, c.Path())
			if onRelay := c.RemoteAddr().Addr() == relay.host.Addr(); onRelay != (c.Path() == hyperdht.PathRelayed) {
				t.Errorf("path %v leads to %v", c.Path(), c.RemoteAddr())
			}
		})
	})
	silence := func(least, most time.Duration) {
		t.Helper()
		if s := c.DirectSilence(); s < least || s > most {
			t.Errorf("on path %v the direct path is silent for %v, want %v to %v", c.Path(), s, least, most)
		}
	}
	for range 2 {
		silence(0, 0)
		l.apart()
		l.run(30 * time.Second)
		silence(20*time.Second, 30*time.Second)
		l.together()
		l.run(40 * time.Second)
	}
	silence(0, 0)
	// A path that is slow answers, and is left all the same.
	l.link(simnet.Link{Delay: 2 * time.Second})
	l.run(2 * time.Minute)
	silence(1, 25*time.Second)
	l.dialler.host.Do(func() { c.Destroy(nil) })
	l.run(time.Second)
	silence(0, 0)
	if want := []hyperdht.Path{hyperdht.PathRelayed, hyperdht.PathPunched, hyperdht.PathRelayed, hyperdht.PathPunched, hyperdht.PathRelayed}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

// link is the way between the dialler and the answerer from now on.
func (l *lab) link(link simnet.Link) { l.net.SetLinks(l.dialler.host, l.answerer.host, link) }

// echo sends n messages of some packets, one each pause, which have to come back.
func (l *lab) echo(c *hyperdht.Connection, n int, pause time.Duration) {
	l.t.Helper()
	back := 0
	message := bytes.Repeat([]byte("metric 1\n"), 400)
	l.dialler.host.Do(func() {
		c.OnMessage(func(b []byte) {
			if bytes.Equal(b, message) {
				back++
			}
		})
	})
	for range n {
		l.dialler.host.Do(func() { c.Send(message) })
		l.run(pause)
	}
	if !l.net.RunUntil(func() bool { return back == n }, 10*time.Second) {
		l.t.Fatalf("%d of %d messages come back", back, n)
	}
}

// A relay that is far quicker than the direct path, as one is that answers for the peer, does not make that path worse.
func TestSecondWayIsNotTakenForBeingShorter(t *testing.T) {
	l := newLab(t, 4, cone(), cone())
	l.relay(hyperdht.RelayConfig{})
	l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay})
	l.link(simnet.Link{Delay: 125 * time.Millisecond})
	c := l.dial(hyperdht.ConnectOptions{})
	l.run(2 * time.Minute)
	if s := l.dialler.node.Status().Peering; s.SecondWays != 1 || s.TakeOvers != 0 || c.Path() != hyperdht.PathPunched {
		t.Errorf("%d relays in reserve, taken over %d times, path %v", s.SecondWays, s.TakeOvers, c.Path())
	}
}

// A server that is closed soon after a caller has come leaves the relay in reserve to the connection.
func TestClosedServerKeepsSecondWays(t *testing.T) {
	l := newLab(t, 4, cone(), cone())
	l.relay(hyperdht.RelayConfig{})
	l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay})
	c := l.dial(hyperdht.ConnectOptions{})
	l.run(5 * time.Second)
	l.answerer.host.Do(func() { l.server.Close(func() {}) })
	l.run(30 * time.Second)
	if s := l.answerer.node.Status().Peering; c.Closed() || s.SecondWays != 1 {
		t.Errorf("closed %v, %d relays in reserve", c.Closed(), s.SecondWays)
	}
}

// A path that takes longer than the pause between two questions is not taken for a quick one when the answer to the first question comes
// right after the second: the connection stays on the relay until the path is as it was. Answers of earlier versions do not name their
// question, so that it may return there if the pause happens to be as long as the path: twice in 20 minutes, since it then waits longer.
func TestSlowPathIsNotReturnedTo(t *testing.T) {
	for _, delay := range []time.Duration{900 * time.Millisecond, time.Second, 2 * time.Second} {
		slowPathIsNotReturnedTo(t, delay, thisVersion)
		slowPathIsNotReturnedTo(t, delay, earlierVersion)
	}
}

// version is the version of both peers.
type version bool

const (
	thisVersion    version = true
	earlierVersion version = false
)

func slowPathIsNotReturnedTo(t *testing.T, delay time.Duration, v version) {
	t.Helper()
	l := newLab(t, 4, cone(), cone())
	if v == earlierVersion {
		l.dropNumbers()
	}
	l.relay(hyperdht.RelayConfig{})
	l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay})
	c := l.dial(hyperdht.ConnectOptions{})
	l.run(time.Minute)
	var told []hyperdht.Path
	l.dialler.host.Do(func() { c.OnPath(func() { told = append(told, c.Path()) }) })
	l.net.SetLink(l.dialler.host, l.answerer.host, simnet.Link{Delay: delay})
	l.run(20 * time.Minute)
	returns := 0
	for _, path := range told {
		if path != hyperdht.PathRelayed {
			returns++
		}
	}
	if len(told) == 0 || told[0] != hyperdht.PathRelayed || c.Path() != hyperdht.PathRelayed || returns > 0 && v == thisVersion || returns > 2 {
		t.Errorf("%v longer, this version %v: %v, want [relayed]", delay, v, told)
	}
	l.net.SetLink(l.dialler.host, l.answerer.host, simnet.Link{Delay: hop})
	l.run(time.Minute)
	if c.Path() != hyperdht.PathPunched {
		t.Errorf("%v longer, and as before since a minute, this version %v: %v", delay, v, c.Path())
	}
}

// dropNumbers has questions arrive without their numbers, so that no answer names one.
func (l *lab) dropNumbers() {
	l.net.SetFilter(func(d simnet.Datagram) bool {
		if _, ok := udx.PeekStreamID(d.Payload); ok && udx.Question(d.Payload) != 0 {
			clear(d.Payload[udx.HeaderSize:])
		}
		return true
	})
}

// A path that has grown much longer is left for the relay, and not returned to, whatever else is sent and acknowledged meanwhile.
func TestSlowPathWithTrafficIsLeft(t *testing.T) {
	page := make([]byte, 4<<10)
	for _, pause := range []time.Duration{315 * time.Millisecond, 345 * time.Millisecond, 375 * time.Millisecond, 405 * time.Millisecond} {
		l := newLab(t, 4, cone(), cone())
		relay, _ := l.relay(hyperdht.RelayConfig{})
		for _, a := range []*actor{l.dialler, l.answerer} {
			l.net.SetLinks(a.host, relay.host, simnet.Link{Delay: 50 * time.Millisecond})
		}
		l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay})
		c := l.dial(hyperdht.ConnectOptions{})
		l.run(time.Minute)
		l.answerer.host.Do(func() {
			s := l.accepted[0]
			s.OnMessage(func([]byte) { s.Send(page) })
		})
		var told []hyperdht.Path
		l.dialler.host.Do(func() { c.OnPath(func() { told = append(told, c.Path()) }) })
		l.net.SetLink(l.dialler.host, l.answerer.host, simnet.Link{Delay: time.Second})
		for end := l.net.Now() + 2*time.Minute; l.net.Now() < end; {
			l.dialler.host.Do(func() { c.Send([]byte("request")) })
			l.run(pause)
		}
		if want := []hyperdht.Path{hyperdht.PathRelayed}; !slices.Equal(told, want) {
			t.Errorf("a request each %v: path %v, want %v", pause, told, want)
		}
	}
}

// A direct path whose questions were first answered while the relay carried is measured by that: it is left when it is much longer after the
// return, although it is not longer than most paths that have never answered.
func TestSlowPathIsLeftThatWasMeasuredInReserve(t *testing.T) {
	l := newLab(t, 4, cone(), cone())
	relay, _ := l.relay(hyperdht.RelayConfig{})
	l.listen(hyperdht.ListenOptions{RelayThrough: throughRelay})
	l.net.SetFilter(func(d simnet.Datagram) bool {
		return d.From.Addr() == relay.host.Addr() || d.To.Addr() == relay.host.Addr() || udx.Question(d.Payload) == 0
	})
	l.link(simnet.Link{Delay: 100 * time.Millisecond})
	c := l.dial(hyperdht.ConnectOptions{})
	l.run(30 * time.Second)
	if c.Path() != hyperdht.PathRelayed {
		t.Fatalf("without answers, the path is %v", c.Path())
	}
	l.net.SetFilter(nil)
	if !l.net.RunUntil(func() bool { return c.Path() == hyperdht.PathPunched }, time.Minute) {
		t.Fatal("with answers, the direct path is not returned to")
	}
	l.link(simnet.Link{Delay: 535 * time.Millisecond})
	l.run(time.Minute)
	if c.Path() != hyperdht.PathRelayed {
		t.Errorf("a second longer, the path is %v", c.Path())
	}
}
