package uplinks

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// fake is the transport of one uplink. DHT nodes answer over it while it has some.
type fake struct {
	*portstest.Transport
	nodes  int
	taken  []bool // TakeOver of its listeners
	left   int    // listeners that ended by Leave
	closed int    // listeners that ended by Close
}

func (f *fake) Status() ports.NodeStatus { return ports.NodeStatus{State: "online", Nodes: f.nodes} }

func (f *fake) ListenMetrics(m ports.MetricsListen, ready func(error)) (ports.Listener, error) {
	f.taken = append(f.taken, m.TakeOver)
	l, err := f.Transport.ListenMetrics(m, ready)
	return &fakeListener{l, f}, err
}

type fakeListener struct {
	ports.Listener
	on *fake
}

func (l *fakeListener) Close(done func()) {
	l.on.closed++
	l.Listener.Close(done)
}

func (l *fakeListener) Leave(done func()) {
	l.on.left++
	l.Listener.Leave(done)
}

// answer makes DHT nodes answer over it, or no more.
func (f *fake) answer(nodes int) {
	f.nodes = nodes
	f.Network(ports.Network{Answering: nodes > 0})
}

// rig is a transport on two fakes, and a network with a peer.
type rig struct {
	t         *testing.T
	loop      *portstest.Loop
	net       *portstest.Network
	transport *Transport
	udp, turn *fake
	peer      *portstest.Transport

	up       func(ports.Transport)
	failed   func(error)
	opened   int // times that the TURN uplink was opened
	closed   int
	kept     []Kind
	moves    []ports.Move
	networks []ports.Network
	err      error // of the next opening
}

func newRig(t *testing.T, change func(*rig, *Config)) *rig {
	r := &rig{t: t, loop: portstest.NewLoop(1)}
	r.net = portstest.NewNetwork(r.loop)
	r.peer = portstest.NewTransport(r.net)
	r.udp, r.turn = &fake{Transport: portstest.NewTransport(r.net)}, &fake{Transport: portstest.NewTransport(r.net)}
	cfg := Config{
		Host: r.loop, Remember: func(k Kind) { r.kept = append(r.kept, k) },
		UDP: func() (ports.Transport, error) { return r.udp, nil },
		TURN: func(up func(ports.Transport), failed func(error)) (func(func()), error) {
			if r.err != nil {
				return nil, r.err
			}
			r.opened++
			r.up, r.failed = up, failed
			return func(done func()) {
				r.closed++
				done()
			}, nil
		},
	}
	if change != nil {
		change(r, &cfg)
	}
	var err error
	r.loop.Turn(func() { r.transport, err = New(cfg) })
	if err != nil {
		t.Fatal(err)
	}
	r.transport.OnMoved(func(m ports.Move) { r.moves = append(r.moves, m) })
	r.transport.OnNetwork(func(n ports.Network) { r.networks = append(r.networks, n) })
	return r
}

// relay makes the TURN server relay, and DHT nodes answer over it.
func (r *rig) relay() {
	if r.up == nil {
		r.t.Fatal("the TURN uplink was not opened")
	}
	r.turn = &fake{Transport: portstest.NewTransport(r.net), nodes: 3}
	r.loop.Turn(func() { r.up(r.turn) })
	r.loop.Advance(interval)
}

func (r *rig) uses(k Kind) {
	r.t.Helper()
	if got := r.transport.Status().Uplink; got != k.String() {
		r.t.Fatalf("at %v the uplink in use is %s, want %s", r.loop.Now(), got, k)
	}
}

// key returns the key pair with a number.
func key(n byte) domain.KeyPair {
	return domain.KeyPairFromSeed(domain.SeedFrom([domain.KeySize]byte{n}))
}

// server listens with a source that answers after a time, and returns the listener.
func (r *rig) server(after time.Duration) ports.Listener {
	ready := 0
	l, err := r.transport.ListenMetrics(ports.MetricsListen{Keys: key(1), OnOpen: func(ports.Conn) ports.MetricsHandlers {
		return ports.MetricsHandlers{OnScrape: func(_ domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
			r.loop.AfterFunc(after, func() {
				h.OnHead(domain.ScrapeHead{})
				h.OnEnd(nil)
			})
			return &canceled{}
		}}
	}}, func(err error) {
		if ready++; err != nil || ready > 1 {
			r.t.Errorf("ready %d times, %v", ready, err)
		}
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

type canceled struct{}

func (*canceled) Consumed(int) {}
func (*canceled) Cancel()      {}

// dial connects the peer to the server.
func (r *rig) dial() (s ports.MetricsSession, closed *bool) {
	closed = new(bool)
	open := false
	s = r.peer.DialMetrics(ports.MetricsDial{Keys: key(2), Client: key(1).Public,
		OnOpen: func(domain.Peer) {}, OnReady: func() { open = true }, OnClose: func(error) { *closed = true }})
	if !r.loop.Until(time.Second, func() bool { return open }) {
		r.t.Fatal("no connection to the server")
	}
	return s, closed
}

func TestTURNIsNotOpenedWhileUDPWorks(t *testing.T) {
	r := newRig(t, nil)
	r.udp.answer(4)
	r.loop.Advance(time.Hour)
	r.uses(UDP)
	if r.opened != 0 || r.loop.Timers() != 0 {
		t.Errorf("the TURN uplink was opened %d times; %d timers", r.opened, r.loop.Timers())
	}
}

func TestTURNIsOpenedAfterHalfASecondWithoutAnswer(t *testing.T) {
	r := newRig(t, nil)
	r.loop.Advance(patience - time.Millisecond)
	if r.opened != 0 {
		t.Fatal("the TURN uplink was opened too early")
	}
	r.loop.Advance(interval)
	r.relay()
	r.uses(TURN)
	if r.opened != 1 || !slices.Equal(r.kept, []Kind{TURN}) {
		t.Errorf("opened %d times, remembered %v", r.opened, r.kept)
	}
}

func TestBothAreOpenedAtOnceWhereTURNWorkedLast(t *testing.T) {
	r := newRig(t, func(_ *rig, c *Config) { c.Last = TURN })
	if r.opened != 1 {
		t.Fatal("the TURN uplink was not opened")
	}
	r.udp.answer(4)
	r.loop.Advance(time.Second)
	r.uses(UDP)
	r.loop.Advance(closeAfter)
	if r.closed != 1 {
		t.Error("the TURN uplink is still open, though UDP works")
	}
}

func TestCallsWaitForTheFirstUplinkWithoutUDP(t *testing.T) {
	r := newRig(t, func(_ *rig, c *Config) { c.UDP = nil })
	r.uses(TURN)
	r.server(0)
	dialled, registered, canceled := false, false, false
	s := r.transport.DialMetrics(ports.MetricsDial{Keys: key(1), Client: key(9).Public, OnOpen: func(domain.Peer) {}, OnReady: func() {}, OnClose: func(error) { dialled = true }})
	s.Scrape(domain.ScrapeRequest{}, ports.ScrapeHandlers{OnEnd: func(err error) {
		if !errors.Is(err, ErrNoUplink) {
			t.Errorf("a scrape without an uplink ends with %v", err)
		}
		canceled = true
	}})
	own := r.transport.DialMetrics(ports.MetricsDial{Keys: key(2), Client: key(1).Public, OnOpen: func(domain.Peer) {}, OnReady: func() {}, OnClose: func(error) {}})
	r.transport.RegisterAlias(ports.Registration{Scraper: key(9).Public, Dial: key(3)}, func(bool, error) { registered = true })
	r.transport.LeaveAlias(ports.Registration{Scraper: key(9).Public, Dial: key(3)}, func(error) { t.Error("a cancelled goodbye has ended") })()
	r.loop.Advance(time.Minute)
	if dialled || registered || !canceled || r.net.Dials != 0 || own.Idle() {
		t.Fatalf("dialled %t, registered %t, scrape ended %t, %d dials, idle %t", dialled, registered, canceled, r.net.Dials, own.Idle())
	}
	r.relay()
	r.loop.Advance(time.Second)
	if !dialled || !registered || !own.Idle() {
		t.Errorf("dialled %t, registered %t, idle %t", dialled, registered, own.Idle())
	}
	if own.Ping(func(error) {}); own.Idle() {
		t.Error("idle with a ping under way")
	}
	r.dial()
}

// UDP works again: the connection over it is made while the one over the TURN server has a scrape under way, which ends there.
func TestNothingIsLostByGoingOverToUDP(t *testing.T) {
	r := newRig(t, nil)
	r.server(drainAfter + 1100*time.Millisecond)
	r.loop.Advance(time.Second)
	r.relay()
	r.uses(TURN)
	r.loop.Advance(time.Second)
	former, gone := r.dial()

	r.loop.Turn(func() { r.udp.answer(4) })
	r.loop.Advance(minHold - interval)
	r.uses(TURN)
	var ended []error
	former.Scrape(domain.ScrapeRequest{}, ports.ScrapeHandlers{OnHead: func(domain.ScrapeHead) {}, OnEnd: func(err error) { ended = append(ended, err) }})
	r.loop.Advance(time.Second)
	r.uses(UDP)
	if !slices.Equal(r.moves, []ports.Move{ports.MoveElsewhere, ports.MoveOver}) || !slices.Equal(r.kept, []Kind{TURN, UDP}) {
		t.Errorf("moves %v, remembered %v", r.moves, r.kept)
	}
	if !slices.Equal(r.udp.taken, []bool{false, true}) {
		t.Errorf("the listeners over UDP take over: %v", r.udp.taken)
	}
	next, _ := r.dial()
	if *gone || r.net.Links(key(1).Public) != 2 {
		t.Fatal("the former connection is closed before the next one is used")
	}
	next.Close(nil)
	if !r.loop.Until(time.Minute, func() bool { return *gone }) {
		t.Fatal("the former listener does not end")
	}
	if len(ended) != 1 || ended[0] != nil {
		t.Errorf("the scrape under way ended with %v", ended)
	}
	if r.turn.left != 1 || r.turn.closed != 0 {
		t.Errorf("the former listener was unannounced: left %d, closed %d", r.turn.left, r.turn.closed)
	}
	r.loop.Advance(time.Minute)
	if r.closed != 1 || !r.turn.Closed || r.loop.Timers() != 0 {
		t.Errorf("the TURN uplink was closed %d times, its node %t; %d timers", r.closed, r.turn.Closed, r.loop.Timers())
	}
	r.dial()
}

func TestSessionsAreDialledAgainWhenUDPStops(t *testing.T) {
	r := newRig(t, nil)
	r.server(0)
	r.udp.answer(4)
	r.loop.Advance(time.Minute)
	r.net.Silent = true
	r.loop.Turn(func() { r.udp.answer(0) })
	r.net.Silent = false
	if r.opened != 1 {
		t.Fatal("the TURN uplink is not opened at once")
	}
	if len(r.networks) != 0 {
		t.Errorf("reported %+v while the TURN uplink may work", r.networks)
	}
	var failed error
	r.transport.DialMetrics(ports.MetricsDial{Keys: key(2), Client: key(9).Public, OnOpen: func(domain.Peer) {}, OnReady: func() {}, OnClose: func(err error) { failed = err }})
	r.relayNow()
	r.uses(TURN)
	if c, ok := errors.AsType[*ports.ConnectionError](failed); !ok || !c.Busy {
		t.Errorf("the dial over UDP ended with %v", failed)
	}
	if !slices.Equal(r.moves, []ports.Move{ports.MoveElsewhere}) {
		t.Errorf("moves %v", r.moves)
	}
	r.loop.Advance(time.Second)
	r.dial()
}

// relayNow is relay without a pause, so that a dial which takes some milliseconds is still under way.
func (r *rig) relayNow() {
	r.turn = &fake{Transport: portstest.NewTransport(r.net), nodes: 3}
	r.loop.Turn(func() {
		r.up(r.turn)
		r.turn.answer(3)
	})
}

func TestFlappingNetworkIsWaitedForLonger(t *testing.T) {
	r := newRig(t, nil)
	r.loop.Advance(time.Second)
	r.relay()
	for want := minHold; want <= 2*longestHold; want *= 2 {
		r.loop.Turn(func() { r.udp.answer(4) })
		hold := min(want, longestHold)
		r.loop.Advance(hold - interval)
		r.uses(TURN)
		r.loop.Advance(2*interval + openLimit)
		r.uses(UDP)
		r.loop.Turn(func() { r.udp.answer(0) })
		r.loop.Advance(interval)
		r.uses(TURN)
		if r.opened != 1 {
			t.Fatalf("after %v: the TURN uplink was opened %d times", hold, r.opened)
		}
	}
	r.loop.Turn(func() { r.udp.answer(4) })
	r.loop.Advance(longestHold + interval)
	r.loop.Advance(steady + interval)
	r.uses(UDP)
	r.loop.Turn(func() { r.udp.answer(0) })
	r.loop.Advance(interval)
	r.relay()
	r.loop.Turn(func() { r.udp.answer(4) })
	r.loop.Advance(minHold + 2*interval)
	r.uses(UDP)
}

func TestCauseIsReportedWhenNothingWorks(t *testing.T) {
	r := newRig(t, nil)
	r.loop.Advance(time.Second)
	refused := errors.New("refused")
	r.loop.Turn(func() { r.udp.answer(0) })
	if len(r.networks) != 0 {
		t.Fatalf("reported %+v before a TURN server was tried", r.networks)
	}
	r.loop.Turn(func() { r.failed(refused) })
	r.loop.Turn(func() { r.failed(refused) })
	if len(r.networks) != 1 || r.networks[0].Answering || r.networks[0].TURN != refused {
		t.Fatalf("reported %+v", r.networks)
	}
	late := 0
	r.loop.Turn(func() { r.transport.OnNetwork(func(ports.Network) { late++ }) })
	r.relayNow()
	if n := r.networks; late != 2 || len(n) != 2 || !n[1].Answering || r.transport.Failure() != nil {
		t.Errorf("reported %+v, %d to the second listener", n, late)
	}
}

func TestOpeningThatFailsIsRepeated(t *testing.T) {
	r := newRig(t, func(r *rig, _ *Config) { r.err = errors.New("no sockets") })
	r.loop.Advance(time.Second)
	r.uses(UDP)
	r.err = nil
	r.loop.Advance(interval)
	r.relay()
	r.uses(TURN)
}

func TestCloseEndsBothUplinks(t *testing.T) {
	for _, both := range []bool{false, true} {
		r := newRig(t, nil)
		l := r.server(0)
		r.loop.Advance(time.Second)
		if both {
			r.relay()
		}
		ended := 0
		r.loop.Turn(func() {
			l.Close(func() { ended++ })
			r.transport.Close(func() { ended++ })
		})
		r.loop.Turn(func() { r.transport.Close(func() { ended++ }) })
		r.loop.Advance(time.Second)
		if ended != 3 || r.closed != 1 || !r.udp.Closed || both && !r.turn.Closed {
			t.Errorf("both %t: %d ended, the TURN uplink closed %d times, nodes %t and %t", both, ended, r.closed, r.udp.Closed, r.turn.Closed)
		}
		if !both { // the server relays too late
			r.loop.Turn(func() { r.up(r.turn) })
			r.loop.Advance(time.Second)
			if !r.turn.Closed {
				t.Error("a transport that comes after Close stays open")
			}
		}
		if _, err := r.transport.ListenMetrics(ports.MetricsListen{Keys: key(1)}, nil); err == nil {
			t.Error("a closed transport listens")
		}
		closed, failed := false, false
		r.transport.DialMetrics(ports.MetricsDial{OnClose: func(error) { closed = true }})
		r.transport.RegisterAlias(ports.Registration{}, func(_ bool, err error) { failed = err != nil })
		r.loop.Advance(time.Minute)
		if !closed || !failed {
			t.Errorf("after Close: dial closed %t, registration failed %t", closed, failed)
		}
		if n := r.loop.Timers(); n != 0 {
			t.Errorf("both %t: %d timers are left", both, n)
		}
	}
}
