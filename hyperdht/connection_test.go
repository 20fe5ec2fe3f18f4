package hyperdht_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

// talk is a connection over a direct path and its other end.
type talk struct {
	*lab
	dialled, accepted *hyperdht.Connection
	got               []string // by the answerer
}

// newTalk dials; accept runs in OnConnection, before anything is delivered.
func newTalk(t *testing.T, accept func(*talk)) *talk {
	w := &talk{lab: newLab(t, 4, public(), open())}
	w.listen(hyperdht.ListenOptions{OnConnection: func(c *hyperdht.Connection) {
		w.accepted = c
		c.OnMessage(func(b []byte) { w.got = append(w.got, string(b)) })
		if accept != nil {
			accept(w)
		}
	}})
	return w
}

func (tk *talk) connect() {
	tk.dialler.host.Do(func() {
		tk.dialled = tk.dialler.node.Connect(keysOf(answererKey).Public, hyperdht.ConnectOptions{})
	})
}

func (tk *talk) send(messages ...string) {
	tk.dialler.host.Do(func() {
		for _, m := range messages {
			tk.dialled.Send([]byte(m))
		}
	})
	tk.run(time.Second)
}

func (tk *talk) want(messages ...string) {
	tk.t.Helper()
	if !slices.Equal(tk.got, messages) {
		tk.t.Errorf("got %q, want %q", tk.got, messages)
	}
}

// at runs f as a turn of the answerer.
func (tk *talk) at(f func()) { tk.answerer.host.Do(f) }

// Connections are dialled, ended by either side or both, and cut, in any order.
func TestConnectionsKeepToTheTable(t *testing.T) {
	connections := statestest.NewMachines(statestest.NewWatch(t, hyperdht.ConnectionTable), (*hyperdht.Connection).State)
	random := rand.New(rand.NewPCG(1, 1))
	end := func(c *hyperdht.Connection) {
		switch random.IntN(3) {
		case 0:
			c.Destroy(nil)
		case 1:
			c.Close()
		default:
			c.End()
		}
	}
	w := newTalk(t, func(w *talk) {
		c := w.accepted
		connections.Add(c)
		c.OnEnd(c.End)
		w.answerer.host.AfterFunc(time.Duration(random.IntN(5000))*time.Millisecond, func() { end(c) })
	})
	run := func(d time.Duration) {
		w.net.RunUntil(func() bool { connections.Look(); return false }, d)
	}
	for range 80 {
		w.connect()
		c := w.dialled
		connections.Add(c)
		w.dialler.host.AfterFunc(time.Duration(random.IntN(2)*random.IntN(2000))*time.Millisecond, func() { end(c) })
		if random.IntN(10) == 0 {
			w.apart()
			run(time.Duration(random.IntN(30)) * time.Second)
			w.together()
		}
		run(time.Duration(random.IntN(1000)) * time.Millisecond)
	}
}

func TestPauseStopsDelivery(t *testing.T) {
	w := newTalk(t, nil)
	w.connect()
	w.send("1")
	w.want("1")
	w.at(w.accepted.Pause)
	w.send("2", "3")
	w.want("1")
	w.at(w.accepted.Pause) // again, which changes nothing
	w.at(w.accepted.Resume)
	w.run(time.Second)
	w.want("1", "2", "3")
	w.at(w.accepted.Resume)
	w.send("4")
	w.want("1", "2", "3", "4")
}

// What the peer sends to a paused connection fills a window, and no more.
func TestPauseHoldsThePeer(t *testing.T) {
	w := newTalk(t, nil)
	w.connect()
	w.send("1")
	w.at(w.accepted.Pause)
	refused := false
	w.dialler.host.Do(func() {
		for range 16 {
			refused = !w.dialled.Send(make([]byte, 1<<20))
		}
	})
	w.run(20 * time.Second)
	if unsent := w.dialled.Unsent(); !refused || unsent < 8<<20 {
		t.Errorf("%d bytes are unsent, the last message was refused: %v", unsent, refused)
	}
	drained := false
	w.dialled.OnDrain(func() { drained = true })
	w.at(w.accepted.Resume)
	w.run(20 * time.Second)
	if len(w.got) != 17 || !drained || w.dialled.Unsent() > 1<<16 {
		t.Errorf("%d messages, drained %v, %d bytes unsent", len(w.got), drained, w.dialled.Unsent())
	}
}

func TestPauseBeforeThereIsAPath(t *testing.T) {
	w := newTalk(t, func(w *talk) {
		w.accepted.OnMessage(func(b []byte) { w.accepted.Send(b) })
	})
	w.dialler.host.Do(func() {
		w.dialled = w.dialler.node.Connect(keysOf(answererKey).Public, hyperdht.ConnectOptions{})
		w.dialled.OnMessage(func(b []byte) { w.got = append(w.got, string(b)) })
		w.dialled.Pause()
		w.dialled.Send([]byte("1"))
	})
	w.run(time.Second)
	w.want()
	w.dialler.host.Do(w.dialled.Resume)
	w.run(time.Second)
	w.want("1")
}

// Handlers are set in OnConnection, and nothing is delivered before they are, Resume or not.
func TestPauseAsAConnectionIsHandedOver(t *testing.T) {
	for name, test := range map[string]struct {
		accept func(*hyperdht.Connection)
		want   []string
	}{
		"paused":             {func(c *hyperdht.Connection) { c.Pause() }, nil},
		"paused and resumed": {func(c *hyperdht.Connection) { c.Pause(); c.Resume() }, []string{"1"}},
		"resumed":            {func(c *hyperdht.Connection) { c.Resume() }, []string{"1"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTalk(t, func(w *talk) { test.accept(w.accepted) })
			w.connect()
			w.send("1")
			w.want(test.want...)
			w.at(w.accepted.Resume)
			w.run(time.Second)
			w.want("1")
		})
	}
}

func TestPauseAfterTheEnd(t *testing.T) {
	w := newTalk(t, nil)
	w.connect()
	w.send("1")
	for _, c := range []*hyperdht.Connection{w.accepted, w.dialled} {
		w.at(func() {
			c.Destroy(nil)
			c.Pause()
			c.Resume()
		})
	}
	w.run(time.Second)
	w.want("1")
	if !w.accepted.Closed() || !w.dialled.Closed() {
		t.Error("a connection lives on")
	}
}

// A connection whose other side does not end its direction is cut off ten seconds after Close, one that has no path at once.
func TestCloseHasADeadline(t *testing.T) {
	w := newTalk(t, nil)
	w.connect()
	w.send("1")
	closed := 0
	w.dialler.host.Do(func() {
		w.dialled.OnClose(func(error) { closed++ })
		w.dialled.Close()
		w.dialled.Close()
		if w.dialled.Send([]byte("late")) {
			t.Error("a message is taken after the end")
		}
	})
	w.run(9900 * time.Millisecond)
	if closed != 0 {
		t.Error("closed before its time")
	}
	w.run(200 * time.Millisecond)
	if closed != 1 {
		t.Errorf("told %d times that it is closed", closed)
	}
	w.dialler.host.Do(func() {
		w.dialAgain(func(c *hyperdht.Connection) {
			c.OnClose(func(error) { closed++ })
			c.Close()
		})
	})
	w.run(10 * time.Millisecond)
	if closed != 2 {
		t.Error("a connection without a path waits for its other side")
	}
	w.want("1")
}

// SetKeepAlive leaves the deadline of Close in place.
func TestKeepAliveDoesNotReplaceTheDeadlineOfClose(t *testing.T) {
	for _, interval := range []time.Duration{0, time.Second, time.Minute} {
		t.Run(interval.String(), func(t *testing.T) {
			w := newTalk(t, nil)
			w.connect()
			w.send("1")
			closed := false
			w.dialler.host.Do(func() {
				w.dialled.OnClose(func(error) { closed = true })
				w.dialled.Close()
				w.dialled.SetKeepAlive(interval)
			})
			w.run(11 * time.Second)
			if !closed {
				t.Error("open eleven seconds after Close")
			}
		})
	}
}

func (tk *talk) dialAgain(f func(*hyperdht.Connection)) {
	f(tk.dialler.node.Connect(keysOf(answererKey).Public, hyperdht.ConnectOptions{}))
}

// Both ends know each other, and where they are, from the path on and not before.
func TestConnectionTellsOfItself(t *testing.T) {
	w := newTalk(t, nil)
	started := 0
	w.dialler.host.Do(func() {
		w.dialled = w.dialler.node.Connect(keysOf(answererKey).Public, hyperdht.ConnectOptions{})
		w.dialled.OnStart(func() { started++ })
		if w.dialled.RemoteAddr().IsValid() || w.dialled.LocalAddr().IsValid() || w.dialled.Unsent() != 0 || w.dialled.Opened() {
			t.Error("there is a path before there is one")
		}
		if s := w.dialled.Stats(); s != (hyperdht.ConnectionStats{}) {
			t.Errorf("before there is a path: %+v", s)
		}
	})
	w.send("1")
	if s := w.dialled.Stats(); s.RTT == 0 || s.Sent == 0 || s.Resent != 0 {
		t.Errorf("measured %+v", s)
	}
	d, a := w.dialled, w.accepted
	if started != 1 || !d.Opened() || !a.Opened() || !d.IsInitiator() || a.IsInitiator() {
		t.Errorf("started %d times, opened %v and %v, initiators %v and %v", started, d.Opened(), a.Opened(), d.IsInitiator(), a.IsInitiator())
	}
	if d.HandshakeHash() != a.HandshakeHash() || d.HandshakeHash() == [64]byte{} {
		t.Error("the handshake's hashes differ")
	}
	if d.PublicKey() != a.RemotePublicKey() || a.PublicKey() != d.RemotePublicKey() {
		t.Error("the keys differ")
	}
	if d.RemoteAddr() != w.answerer.addr() || a.RemoteAddr() != d.LocalAddr() && a.RemoteAddr().Port() != d.LocalAddr().Port() {
		t.Errorf("%v to %v, and %v to %v", d.LocalAddr(), d.RemoteAddr(), a.LocalAddr(), a.RemoteAddr())
	}
	w.dialler.host.Do(func() { d.Destroy(nil) })
	if s := d.Stats(); s != (hyperdht.ConnectionStats{}) {
		t.Errorf("after the close: %+v", s)
	}
}

func TestUnorderedMessages(t *testing.T) {
	w := newTalk(t, func(w *talk) {
		w.accepted.OnUnordered(func(b []byte) { w.got = append(w.got, "u:"+string(b)) })
	})
	w.connect()
	w.dialler.host.Do(func() { w.dialled.SendUnordered([]byte("lost, there is no path")) })
	w.send("1")
	w.dialler.host.Do(func() { w.dialled.SendUnordered([]byte("2")) })
	w.run(time.Second)
	w.want("1", "u:2")
}

// What an application cannot send ends its connection.
func TestTooMuchIsNotSent(t *testing.T) {
	for name, test := range map[string]struct {
		send func(*hyperdht.Connection)
		want string
	}{
		"a message of 16 MiB": {func(c *hyperdht.Connection) { c.Send(make([]byte, 1<<24)) }, hyperdht.ErrMessageTooLarge.Error()},
		"a thousand messages before there is a path": {func(c *hyperdht.Connection) {
			for range 1025 {
				c.Send(nil)
			}
		}, "too many messages queued before the connection opened"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTalk(t, nil)
			var why error
			w.dialler.host.Do(func() {
				w.dialAgain(func(c *hyperdht.Connection) {
					c.OnClose(func(err error) { why = err })
					test.send(c)
				})
			})
			w.run(time.Second)
			if why == nil || why.Error() != test.want {
				t.Errorf("closed with %v", why)
			}
		})
	}
}

// A silent connection is kept alive, unless told otherwise, and given up where the peer is silent.
func TestKeepAlive(t *testing.T) {
	for name, test := range map[string]struct {
		every    time.Duration
		low, top time.Duration // when it is given up; zero for never
	}{
		"every second": {time.Second, time.Second, 4 * time.Second},
		"never":        {0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTalk(t, nil)
			w.connect()
			w.send("1")
			w.run(time.Minute)
			if w.dialled.Closed() {
				t.Fatal("closed without a fault")
			}
			var after time.Duration
			var why error
			w.apart()
			start := w.net.Now()
			w.dialler.host.Do(func() {
				w.dialled.SetKeepAlive(test.every)
				w.dialled.OnClose(func(err error) { after, why = w.net.Now()-start, err })
			})
			w.run(time.Minute)
			switch {
			case test.top == 0 && why != nil:
				t.Errorf("closed after %v with %v", after, why)
			case test.top > 0 && (!errors.Is(why, hyperdht.ErrPeerSilent) || after < test.low || after > test.top):
				t.Errorf("closed after %v with %v", after, why)
			}
		})
	}
}

// The two handlers for the end of a connection run once each, in their order.
func TestHandlerOfTheManagerRunsBeforeThatOfTheApplication(t *testing.T) {
	w := newWorld(t, 6, simnet.Config{Seed: 61})
	h, n := w.join("peer")
	var order []string
	h.Do(func() {
		c := n.Connect(keyPair(9).Public, hyperdht.ConnectOptions{})
		c.OnClose(func(err error) { order = append(order, "application: "+err.Error()) })
		c.OnOver(func(err error) { order = append(order, "manager: "+err.Error()) })
		c.Destroy(errors.New("enough"))
	})
	w.net.Run(time.Minute)
	if want := []string{"manager: enough", "application: enough"}; !slices.Equal(order, want) {
		t.Errorf("%q, want %q", order, want)
	}
}

// A connection is idle while everything that was sent is acknowledged, and no message is half received.
func TestIdle(t *testing.T) {
	w := newTalk(t, nil)
	idle := func(a *actor, c *hyperdht.Connection) (idle bool) {
		a.host.Do(func() { idle = c.Idle() })
		return idle
	}
	want := func(when string, dialler, answerer bool) {
		t.Helper()
		if d, a := idle(w.dialler, w.dialled), idle(w.answerer, w.accepted); d != dialler || a != answerer {
			t.Errorf("%s: the dialler is idle: %v, the answerer: %v", when, d, a)
		}
	}
	w.connect()
	if idle(w.dialler, w.dialled) {
		t.Error("idle while it connects")
	}
	w.send("hello")
	w.dialler.host.Do(func() { w.dialled.SetKeepAlive(0) }) // which would come between the pieces
	want("after a message", true, true)
	w.dialler.host.Do(func() { w.dialled.Send([]byte("sent")) })
	want("while a message is under way", false, true)
	w.run(time.Second)
	want("after it has arrived", true, true)

	var frame []byte
	w.dialler.host.Do(func() { frame = w.dialled.Frame([]byte("two pieces")) })
	w.dialler.host.Do(func() { w.dialled.WriteRaw(frame[:2]) })
	w.run(3 * time.Second)
	want("with a part of a message", true, false)
	w.dialler.host.Do(func() { w.dialled.WriteRaw(frame[2:]) })
	w.run(time.Second)
	want("with the rest of it", true, true)

	long := make([]byte, 3000)
	w.dialler.host.Do(func() { frame = w.dialled.Frame(long) })
	w.dialler.host.Do(func() { w.dialled.WriteRaw(frame[:1100]) })
	w.run(3 * time.Second)
	want("with a full packet of a message", true, false)
	w.dialler.host.Do(func() { w.dialled.WriteRaw(frame[1100:]) })
	w.run(time.Second)
	want("with the rest of it", true, true)

	w.at(w.accepted.Pause)
	w.send("waits for the reader")
	want("during a pause", true, false)
	w.at(w.accepted.Resume)
	w.run(time.Second)
	want("after the pause", true, true)

	lost := 0
	w.net.SetFilter(func(d simnet.Datagram) bool {
		if d.From.Addr() == w.dialler.host.Addr() && d.To.Addr() == w.answerer.host.Addr() && len(d.Payload) > 1000 {
			lost++
			return lost != 1
		}
		return true
	})
	w.dialler.host.Do(func() {
		w.dialled.Send(make([]byte, 800))
		w.dialled.Send(make([]byte, 900))
	})
	w.run(2*hop + time.Millisecond)
	want("behind a gap", false, false)
	w.net.SetFilter(nil)
	w.run(5 * time.Second)
	want("after the gap", true, true)
	w.dialler.host.Do(func() { w.dialled.Destroy(nil) })
	w.run(time.Second)
	want("after the end", false, false)
}
