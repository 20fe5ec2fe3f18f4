package hyperdht_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// computations are those of a host that a test ends, one at a time, once it holds them back.
type computations struct {
	holding bool
	held    []func()
}

// Compute implements host.Host.
func (h watchedHost) Compute(work, done func()) {
	if !h.holding {
		h.Host.Compute(work, done)
		return
	}
	h.held = append(h.held, func() { work(); done() })
}

// hold has the computations of a host wait for release.
func (a *actor) hold() { a.holding = true }

// await runs until n computations are held.
func (a *actor) await(n int) {
	a.l.t.Helper()
	if !a.l.net.RunUntil(func() bool { return len(a.held) >= n }, 10*time.Second) {
		a.l.t.Fatalf("%s has %d computations, want %d", a.name, len(a.held), n)
	}
}

// release ends the computation that is held longest.
func (a *actor) release() {
	end := a.held[0]
	a.held = a.held[1:]
	a.host.Do(end)
}

// message1 is a handshake of a caller for the answerer.
func (c *fakeCaller) message1() []byte {
	return wire.Handshake{Mode: wire.FromClient, Noise: c.write(callerPayload().Append(nil))}.Append(nil)
}

// computingFor are the two computations of a server for a caller.
var computingFor = []struct {
	name string
	ends int // computations before it
}{{"reading", 0}, {"answering", 1}}

// A caller whose handshake is computed may be dropped meanwhile. The computation ends, and nothing comes of it.
func TestCallersMayBeDroppedWhileTheirHandshakeIsComputed(t *testing.T) {
	for _, what := range []struct {
		name string
		drop func(l *lab)
	}{
		{"the server is closed", func(l *lab) { l.server.Close(nil) }},
		{"the server leaves", func(l *lab) { l.server.Leave(nil) }},
		{"the node is suspended", func(l *lab) { l.answerer.node.Suspend(nil) }},
		{"the node is suspended and resumes", func(l *lab) {
			l.answerer.node.Suspend(nil)
			if err := l.answerer.node.Resume(); err != nil {
				l.t.Error(err)
			}
		}},
		{"the node is closed", func(l *lab) { l.answerer.node.Close(nil) }},
		{"another server takes the key", func(l *lab) {
			l.server.Close(nil)
			_, err := l.answerer.node.Listen(hyperdht.ListenOptions{
				Keys: keysOf(answererKey), OnConnection: func(*hyperdht.Connection) { l.t.Error("the new server has a connection") },
			}, func(error) {})
			if err != nil {
				l.t.Error(err)
			}
		}},
	} {
		for _, at := range computingFor {
			t.Run(fmt.Sprintf("%s/%s", at.name, what.name), func(t *testing.T) {
				t.Parallel()
				l := newLab(t, 4, cone(), open())
				asked := 0
				l.listen(hyperdht.ListenOptions{Admit: func(id.PublicKey, *hyperdht.HandshakePayload, netip.AddrPort) bool {
					asked++
					return true
				}})
				c := l.fakeCaller()
				l.answerer.hold()
				c.ask(c.relay.addr(), wire.CmdPeerHandshake, c.message1())
				l.answerer.await(1)
				for range at.ends {
					l.answerer.release()
					l.answerer.await(1)
				}
				l.answerer.host.Do(func() { what.drop(l) })
				l.run(100 * time.Millisecond)
				c.got = nil
				l.answerer.release()
				l.run(20 * time.Second)
				if asked != at.ends {
					t.Errorf("the application is asked %d times", asked)
				}
				if len(c.got) != 0 || len(l.accepted) != 0 || len(l.answerer.held) != 0 {
					t.Errorf("%d answers, %d connections, %d further computations", len(c.got), len(l.accepted), len(l.answerer.held))
				}
				if s := l.holds(l.answerer); s != nothing {
					t.Errorf("the answerer holds%s", s)
				}
				l.answerer.node.Faults(time.Second, func(what string) { t.Error(what) })
			})
		}
	}
}

// A message that comes again while it is computed, through other nodes as well, is computed once, and each copy is answered.
func TestCopiesOfAHandshakeAreComputedOnce(t *testing.T) {
	l := newLab(t, 4, cone(), open())
	l.listen(hyperdht.ListenOptions{})
	c := l.fakeCaller()
	message := c.message1()
	l.answerer.hold()
	answers := map[string]int{}
	copies := func() {
		for _, n := range l.dht[:3] {
			c.ask(n.addr(), wire.CmdPeerHandshake, message)
		}
		l.run(100 * time.Millisecond)
		for _, b := range c.got {
			if r, err := wire.ParseResponse(b); err == nil {
				if m, err := wire.ParseHandshake(r.Value); err == nil {
					answers[string(m.Noise)]++
				}
			}
		}
		c.got = nil
	}
	for _, at := range computingFor {
		copies()
		if len(l.answerer.held) != 1 || len(answers) != 0 {
			t.Fatalf("%s: %d computations, %d answers", at.name, len(l.answerer.held), len(answers))
		}
		l.answerer.release()
	}
	copies()
	if len(l.answerer.held) != 0 || len(answers) != 1 {
		t.Errorf("%d further computations, %d different answers", len(l.answerer.held), len(answers))
	}
	for _, n := range answers {
		if n != 9 {
			t.Errorf("%d answers to nine messages", n)
		}
	}
}

// A handshake that comes through a less crowded node as well, while it is read, counts there afterwards.
func TestCallerCountsForTheNodeThroughWhichItCameWhileItWasRead(t *testing.T) {
	l := newLab(t, 4, cone(), open())
	l.listen(hyperdht.ListenOptions{})
	crowded, other := l.dht[1], l.dht[2]
	callers := l.fakeCaller()
	for range 4 {
		callers.request(crowded.addr(), wire.CmdPeerHandshake, callers.message1())
	}
	before := l.server.CallersThrough(other.host.Addr())
	message := callers.message1()
	l.answerer.hold()
	callers.request(crowded.addr(), wire.CmdPeerHandshake, message)
	callers.request(other.addr(), wire.CmdPeerHandshake, message)
	l.answerer.holding = false
	l.answerer.release()
	l.run(time.Second)
	if n := l.server.CallersThrough(other.host.Addr()) - before; n != 1 {
		t.Errorf("%d callers more count for the less crowded node, %d for the other one", n, l.server.CallersThrough(crowded.host.Addr()))
	}
}

// In a flood, so many messages are computed, and the others wait in the queue of callers, which is shared by address and relay.
func TestFloodsWaitForComputations(t *testing.T) {
	const flood, most = 100, 16
	l := newLab(t, 4, cone(), open())
	l.listen(hyperdht.ListenOptions{})
	l.answerer.hold()
	random := l.fakeCaller()
	for range flood {
		m := wire.Handshake{Mode: wire.FromClient, Noise: random.write(callerPayload().Append(nil))}
		random.ask(l.answerer.addr(), wire.CmdPeerHandshake, m.Append(nil))
	}
	l.run(500 * time.Millisecond)
	check := func(what string, held, waiting int) {
		t.Helper()
		if h, w := len(l.answerer.held), size(l.answerer.node, "callers that wait"); h != held || w != waiting {
			t.Fatalf("%s: %d computations and %d waiting callers, want %d and %d", what, h, w, held, waiting)
		}
		if n := size(l.answerer.node, "computations for callers"); n != held {
			t.Fatalf("%s: %d computations are counted, want %d", what, n, held)
		}
	}
	check("at first", most, flood-most)
	for range most { // answers go before further callers
		l.answerer.release()
	}
	l.run(100 * time.Millisecond)
	check("when those are read", most, flood-most)
	for range most {
		l.answerer.release()
	}
	l.run(100 * time.Millisecond)
	check("when those are answered", most, flood-2*most)
	l.answerer.holding = false
	for len(l.answerer.held) > 0 {
		l.answerer.release()
	}
	l.run(time.Second)
	check("at last", 0, 0)
	l.run(time.Minute)
	if s := l.holds(l.answerer); s != nothing {
		t.Errorf("the answerer holds%s", s)
	}
}

// A packet for the stream of an answer that is being written is forged: no caller knows its number yet.
func TestNoPathIsTakenBeforeTheAnswerIsWritten(t *testing.T) {
	l := newLab(t, 4, cone(), open())
	l.listen(hyperdht.ListenOptions{})
	c := l.fakeCaller()
	l.answerer.hold()
	c.ask(c.relay.addr(), wire.CmdPeerHandshake, c.message1())
	l.answerer.await(1)
	l.answerer.release()
	l.answerer.await(1)
	forged := udx.Header{Flags: udx.FlagData, StreamID: l.log.lastID, Window: udx.DefaultWindow}.Append(nil)
	before := l.answerer.node.Status().Streams.Packets
	for range 3 {
		c.send(l.answerer.addr(), append(bytes.Clone(forged), 1, 2, 3))
		l.run(50 * time.Millisecond)
	}
	if n := l.answerer.node.Status().Streams.Packets - before; n != 3 {
		t.Fatalf("%d packets for the stream, want 3", n)
	}
	l.answerer.release()
	l.run(time.Second)
	if len(l.accepted) != 0 {
		t.Errorf("a forged packet has led to %d connections", len(l.accepted))
	}
}

// A dial may end while its messages are computed.
func TestDialsMayEndWhileTheirHandshakeIsComputed(t *testing.T) {
	for _, what := range []struct {
		name string
		end  func(l *lab, c *hyperdht.Connection)
		err  error
	}{
		{"it is cancelled", func(_ *lab, c *hyperdht.Connection) { c.Destroy(nil) }, hyperdht.ErrConnectionClosed},
		{"the node is suspended", func(l *lab, _ *hyperdht.Connection) { l.dialler.node.Suspend(nil) }, hyperdht.ErrSuspended},
		{"the node is closed", func(l *lab, _ *hyperdht.Connection) { l.dialler.node.Close(nil) }, hyperdht.ErrClosed},
	} {
		for i, at := range []string{"greeting", "reading the answer"} {
			t.Run(at+"/"+what.name, func(t *testing.T) {
				t.Parallel()
				l := newLab(t, 4, cone(), cone())
				l.listen(hyperdht.ListenOptions{})
				l.dialler.hold()
				c := l.dial(hyperdht.ConnectOptions{})
				closed, why := 0, error(nil)
				l.dialler.host.Do(func() { c.OnClose(func(err error) { closed++; why = err }) })
				l.dialler.await(1)
				for range i {
					l.dialler.release()
					l.dialler.await(1)
				}
				l.run(time.Second)
				l.dialler.host.Do(func() { what.end(l, c) })
				l.run(time.Second)
				for len(l.dialler.held) > 0 {
					l.dialler.release()
				}
				l.run(time.Minute)
				if closed != 1 || why != what.err || len(l.accepted) != 0 {
					t.Errorf("closed %d times, with %v, want %v; %d connections", closed, why, what.err, len(l.accepted))
				}
				if s := l.holds(l.dialler); s != nothing {
					t.Errorf("the dialler holds%s", s)
				}
				l.dialler.node.Faults(time.Second, func(what string) { t.Error(what) })
			})
		}
	}
}

// Answers are read one at a time, and a forged one that comes first does not end the dial.
func TestAnswersAreReadOneAtATime(t *testing.T) {
	l := newLab(t, 4, cone(), open())
	liar := l.fakeServer(netip.MustParseAddrPort("100.128.9.9:1234"))
	liar.message = func(*noise.Handshake) []byte { return make([]byte, 100) }
	l.listen(hyperdht.ListenOptions{})
	l.dialler.hold()
	c := l.dial(hyperdht.ConnectOptions{RelayAddrs: []netip.AddrPort{liar.addr()}})
	l.dialler.await(1)
	l.dialler.release()
	l.run(time.Second)
	for range 2 {
		if len(l.dialler.held) != 1 || c.Path() != hyperdht.PathNone {
			t.Fatalf("%d computations at a time, path %v", len(l.dialler.held), c.Path())
		}
		l.dialler.release()
	}
	l.run(time.Second)
	for len(l.dialler.held) > 0 { // of further answers, which are not needed
		t.Error("answers are read after the good one")
		l.dialler.release()
	}
	if c.Path() != hyperdht.PathDirect || l.dialler.node.Status().Peering.HandshakesInvalid != 1 {
		t.Errorf("path %v, %d invalid", c.Path(), l.dialler.node.Status().Peering.HandshakesInvalid)
	}
}
