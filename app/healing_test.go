package app_test

import (
	"errors"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// A scraper whose table was deleted, restored or moved does not know its clients any more. They notice that no scraper connects.
func TestClientsOfALostTableComeBackWithinHalfAMinute(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	for i, alias := range []string{"a", "b", "c"} {
		w.startClient(alias, byte(2+i), nil)
	}
	w.loop.Advance(10 * time.Minute)
	w.closeScraper()
	clear(w.disk.Entries)
	w.startScraper(nil)
	w.loop.Advance(30 * time.Second)
	if got := w.aliases(); len(got) != 3 {
		t.Fatalf("%v are back after half a minute", got)
	}
	w.mustScrape("a")
}

// A crash sends no packet: the connection is given up after 15 s of silence, and the scraper has had that time to come back.
func TestClientsWithSilentConnectionsRegisterSoon(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(10 * time.Minute)
	before := c.Status().Registrations
	w.net.Silence(c.PublicKey())
	w.net.Cut(c.PublicKey(), true) // its registrations are dialled under another key
	w.loop.Advance(11 * time.Second)
	if got := c.Status().Registrations; got != before+1 {
		t.Errorf("%d registrations within 10 s", got-before)
	}
}

// A scraper that accepted the registration knows the client. If it does not connect, because its NAT makes it guess ports, or
// connects with the next scrape, as some JavaScript versions do, the client does not register again.
func TestClientWithoutAConnectionRegistersOnce(t *testing.T) {
	for _, set := range []bool{false, true} {
		w := newWorld(t)
		w.startScraper(nil)
		proves := func(cfg *app.ClientConfig) { cfg.Transport.(*portstest.Transport).Proves = true }
		start := func() *testClient { return w.startClient("web", 2, proves) }
		if set {
			start = func() *testClient { return w.startSet(proves, "web") }
		}
		c := start()
		w.net.Cut(c.PublicKey(), true) // its registrations are dialled under another key
		w.loop.Advance(50 * time.Minute)
		if got := c.Status().Registrations; got != 1 {
			t.Errorf("%d registrations, of a set: %v", got, set)
		}
	}
}

// A scraper of a group says that another member is to connect. While none does, the client registers less and less.
func TestClientThatNoOtherMemberConnectsToRegistersLessAndLess(t *testing.T) {
	w := newWorld(t)
	leader := portstest.NewTransport(w.net)
	var at []time.Duration
	began := w.loop.Now()
	if _, err := leader.ListenAliases(ports.AliasListen{Keys: pair(1), OnOpen: func(ports.Conn) ports.AliasHandlers {
		return ports.AliasHandlers{OnRegister: func(_ ports.AliasRequest, reply func(ports.AliasReply)) {
			at = append(at, w.loop.Now().Sub(began))
			reply(ports.AliasReply{Success: true, Elsewhere: true})
		}, OnLeave: func(_ ports.AliasRequest, reply func(ports.AliasReply)) { reply(ports.AliasReply{Success: true}) }}
	}}, func(error) {}); err != nil {
		t.Fatal(err)
	}
	c := w.startClient("web", 2, nil)
	w.loop.Advance(50 * time.Minute)
	if n := c.Status().Registrations; n < 5 || n > 8 || int(n) != len(at) {
		t.Fatalf("%d registrations at %v, want waits that double from 45 s on", n, at)
	}
	for i := 2; i < len(at); i++ {
		if first, next := at[i-1]-at[i-2], at[i]-at[i-1]; first < 45*time.Second || next > 4*first {
			t.Errorf("it registers at %v", at)
		}
	}
	// A connection that has lasted makes the next wait a short one.
	session := leader.DialMetrics(ports.MetricsDial{Keys: pair(1), Client: c.PublicKey(), OnOpen: func(domain.Peer) {}, OnReady: func() {}, OnClose: func(error) {}})
	w.loop.Advance(2 * time.Minute)
	before := len(at)
	w.loop.Turn(func() { session.Close(nil) })
	w.loop.Advance(3 * time.Minute)
	if n := len(at) - before; n < 2 || n > 4 {
		t.Errorf("%d registrations in the three minutes after a connection", n)
	}
	before = len(at)
	c.Close(func() {})
	w.loop.Advance(2 * time.Hour)
	if len(at) != before {
		t.Error("a closed client registers")
	}
}

// A connection that comes and goes causes fewer and fewer registrations.
func TestClientWhoseConnectionsDoNotLastRegistersLessAndLess(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(2 * time.Minute)
	before := c.Status().Registrations
	for range 50 * 2 { // until it registers, and 5 s more
		w.net.Cut(c.PublicKey(), true)
		w.loop.Advance(25 * time.Second)
		w.net.Cut(c.PublicKey(), false)
		w.loop.Advance(5 * time.Second)
	}
	if got := c.Status().Registrations - before; got < 2 || got > 20 {
		t.Errorf("%d more registrations in fifty minutes", got)
	}
}

func TestReachableClientThatIsConnectedDoesNotRegisterTwice(t *testing.T) {
	for _, connected := range []bool{true, false} {
		w := newWorld(t)
		w.startScraper(nil)
		var transport *portstest.Transport
		c := w.startClient("web", 2, func(cfg *app.ClientConfig) { transport = cfg.Transport.(*portstest.Transport) })
		if !connected {
			w.net.Cut(c.PublicKey(), true)
		}
		w.loop.Advance(time.Second)
		before := c.Status().Registrations
		w.loop.Turn(func() { transport.Move(ports.MoveIntoReach) })
		w.loop.Advance(2 * time.Second)
		if again := c.Status().Registrations > before; again == connected {
			t.Errorf("connected %v: registers again %v", connected, again)
		}
	}
}

// Connecting takes as long as announcing, so both begin at once.
func TestRegistrationConnectsBesideTheAnnouncement(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.net.Silent = true // no announcement succeeds any more
	c := w.newClient("web", 2, nil)
	dials := w.net.Dials
	w.loop.Turn(func() { c.Start(func(error) {}) })
	if got := w.net.Dials - dials; got != 1 {
		t.Errorf("%d dials at the start", got)
	}
	w.loop.Advance(9 * time.Second)
	if c.Status().Registrations != 0 {
		t.Error("registered without an announcement")
	}
	w.loop.Advance(2 * time.Second)
	if c.Status().Registrations != 1 {
		t.Error("not registered, though patience has ended")
	}
}

// knowing gives a client an address of its scraper.
func knowing(cfg *app.ClientConfig) {
	cfg.Scrapers = []app.ClientScraper{{Key: cfg.Scraper, Secret: cfg.Secret, Addrs: []domain.Address{{Host: "scraper.example", Port: 443}}}}
	cfg.Scraper, cfg.Secret = domain.PublicKey{}, domain.Secret{}
}

// A scraper at a known address scrapes on the connection of the registration, which waits for no announcement.
func TestRegistrationAtAKnownAddressDoesNotWaitForTheAnnouncement(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.net.Silent = true
	c := w.newClient("web", 2, knowing)
	started := false
	w.loop.Turn(func() { c.Start(func(err error) { started = err == nil }) })
	w.loop.Advance(time.Second)
	if s := c.Status(); s.Registrations != 1 || s.Listening || !started {
		t.Errorf("status %+v, started %v", s, started)
	}
}

// All sessions of a scraper that has moved are nudged, soon and spread.
func TestScraperThatMovesLooksForItsClients(t *testing.T) {
	w := newWorld(t)
	var transport *portstest.Transport
	w.startScraper(func(cfg *app.ScraperConfig) { transport = cfg.Transport.(*portstest.Transport) })
	frozen := w.startClient("frozen", 2, cutOff)
	gone := w.startClient("gone", 3, cutOff)
	w.loop.Advance(time.Minute)
	w.net.Cut(gone.PublicKey(), true)
	w.loop.Advance(10 * time.Minute)
	w.loop.Until(time.Minute, func() bool { return w.status("gone").Session == domain.SessionWaiting })
	w.net.Freeze(frozen.PublicKey())
	w.net.Cut(gone.PublicKey(), false)
	w.loop.Turn(func() { transport.Move(ports.MoveIntoReach) })
	w.loop.Advance(500 * time.Millisecond)
	if w.status("gone").Session == domain.SessionOpen {
		t.Fatal("connected before the move")
	}
	w.loop.Turn(func() { transport.Move(ports.MoveElsewhere) })
	w.loop.Advance(5 * time.Second)
	for _, alias := range []string{"frozen", "gone"} {
		w.mustScrape(alias)
	}
	dials := w.scraper.Stats().Dials
	for range 60 { // a link that flaps
		w.loop.Turn(func() { transport.Move(ports.MoveElsewhere) })
		w.loop.Advance(time.Second)
	}
	if got := w.scraper.Stats().Dials - dials; got > 0 {
		t.Errorf("%d dials without a fault", got)
	}
}

// pingCounter counts a scraper's probes.
type pingCounter struct {
	ports.ScraperTransport
	n int
}

type countedSession struct {
	ports.MetricsSession
	c *pingCounter
}

func (c *pingCounter) DialMetrics(d ports.MetricsDial) ports.MetricsSession {
	return countedSession{c.ScraperTransport.DialMetrics(d), c}
}

func (s countedSession) Ping(done func(error)) (cancel func()) {
	s.c.n++
	return s.MetricsSession.Ping(done)
}

// A second move during the round of nudges of the first, or seconds later, starts another round; moves that go on start one each
// 15 s.
func TestScraperThatMovesTwiceAsksTwice(t *testing.T) {
	for _, after := range []time.Duration{20 * time.Millisecond, 3 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			w := newWorld(t)
			var transport *portstest.Transport
			var pings *pingCounter
			w.startScraper(func(cfg *app.ScraperConfig) {
				transport = cfg.Transport.(*portstest.Transport)
				pings = &pingCounter{ScraperTransport: transport}
				cfg.Transport = pings
			})
			w.startClient("web", 2, nil)
			w.loop.Advance(time.Minute)
			before := pings.n
			w.loop.Turn(func() { transport.Move(ports.MoveElsewhere) })
			w.loop.Advance(after)
			w.loop.Turn(func() { transport.Move(ports.MoveElsewhere) })
			w.loop.Advance(2 * time.Second)
			if got := pings.n - before; got != 2 {
				t.Errorf("asked %d times two seconds after the second move, want 2", got)
			}
			before = pings.n
			for range 60 { // a link that flaps
				w.loop.Turn(func() { transport.Move(ports.MoveElsewhere) })
				w.loop.Advance(time.Second)
			}
			if got := pings.n - before; got < 3 || got > 4 {
				t.Errorf("asked %d times in a minute of moving, want three or four", got)
			}
		})
	}
}

// A connection that a client registered on before it moved opens at once and carries nothing. A registration meanwhile shortens
// the wait for its channel to the time of a probe, once.
func TestNewsShortenTheWaitForTheChannel(t *testing.T) {
	w := newWorld(t)
	transport := &pendingTransport{}
	var told events
	s, err := app.NewSession(app.SessionConfig{Host: w.loop, Transport: transport, Keys: pair(1), Client: pair(2).Public, OnEvent: told.add})
	if err != nil {
		t.Fatal(err)
	}
	w.loop.Turn(s.Start)
	w.loop.Turn(func() { transport.dials[0].OnOpen(domain.Peer{}) })
	for range 2 {
		w.loop.Turn(s.Nudge)
		w.loop.Advance(1400 * time.Millisecond)
	}
	if len(transport.dials) != 1 {
		t.Fatal("given up before a sign of life could have come")
	}
	w.loop.Advance(300 * time.Millisecond)
	if len(transport.dials) != 2 || transport.closed != 1 {
		t.Errorf("%d dials, %d closed, want 2, 1", len(transport.dials), transport.closed)
	}
	w.loop.Turn(s.Close)
}

// The connection after a failed probe may be as old, and gets no more time for its channel. A third one does.
func TestConnectionAfterADeadOneGetsTheTimeOfASignOfLife(t *testing.T) {
	w := newWorld(t)
	transport := &pendingTransport{}
	var told events
	s, err := app.NewSession(app.SessionConfig{Host: w.loop, Transport: transport, Keys: pair(1), Client: pair(2).Public, OnEvent: told.add})
	if err != nil {
		t.Fatal(err)
	}
	w.loop.Turn(s.Start)
	w.loop.Turn(func() {
		transport.dials[0].OnOpen(domain.Peer{})
		transport.dials[0].OnReady()
	})
	w.loop.Turn(s.Nudge)
	for i, wait := range []time.Duration{3 * time.Second, 3 * time.Second, 10 * time.Second} {
		w.loop.Advance(wait - 100*time.Millisecond)
		if transport.closed != i {
			t.Fatalf("connection %d is given up within %v", i, wait)
		}
		w.loop.Advance(200 * time.Millisecond)
		if transport.closed != i+1 {
			t.Fatalf("connection %d is kept for more than %v", i, wait)
		}
		if i < 2 {
			w.loop.Turn(func() { transport.dials[i+1].OnOpen(domain.Peer{}) })
		}
	}
	w.loop.Turn(s.Close)
}

// pendingTransport has dials that never end.
type pendingTransport struct {
	ports.ScraperTransport
	answered bool
	dials    []ports.MetricsDial
	closed   int
}

type pendingSession struct {
	silentSession
	t *pendingTransport
}

func (t *pendingTransport) DialMetrics(d ports.MetricsDial) ports.MetricsSession {
	t.dials = append(t.dials, d)
	return pendingSession{t: t}
}

func (s pendingSession) Answered() bool { return s.t.answered }
func (s pendingSession) Close(error)    { s.t.closed++ }

// News of a client cancel a dial that it has not answered, and no other: punching takes many seconds.
func TestNewsBeginADialAnewUnlessItIsAnswered(t *testing.T) {
	for _, tc := range []struct {
		name     string
		answered bool
		age      time.Duration
		dials    int
	}{
		{"young", false, time.Second, 1},
		{"old", false, 5 * time.Second, 2},
		{"answered", true, 5 * time.Second, 1},
	} {
		w := newWorld(t)
		transport := &pendingTransport{answered: tc.answered}
		var told events
		s, err := app.NewSession(app.SessionConfig{
			Host: w.loop, Transport: transport, Keys: pair(1), Client: pair(2).Public, RequestTimeout: time.Minute, OnEvent: told.add,
		})
		if err != nil {
			t.Fatal(err)
		}
		failed := false
		w.loop.Turn(func() {
			s.Start()
			ask(s, func(error) { failed = true })
		})
		w.loop.Advance(tc.age)
		w.loop.Turn(s.Nudge)
		if got := len(transport.dials); got != tc.dials || transport.closed != tc.dials-1 || failed {
			t.Errorf("%s: %d dials, %d closed, want %d, %d; the request failed %v", tc.name, got, transport.closed, tc.dials, tc.dials-1, failed)
		}
		w.loop.Turn(func() { transport.dials[0].OnClose(nil) })
		if tc.dials > 1 && (s.State() != domain.SessionConnecting || failed) {
			t.Errorf("%s: the end of the old dial makes the session %v", tc.name, s.State())
		}
		w.loop.Turn(s.Close)
	}
}

// A machine that slept during a dial finds itself moved. The dial that its client answers has the whole timeout from then on.
func TestMoveRestartsTheTimeoutOfAnAnsweredDial(t *testing.T) {
	w := newWorld(t)
	var transport *portstest.Transport
	pending := &pendingTransport{answered: true}
	w.startScraper(func(cfg *app.ScraperConfig) {
		transport = cfg.Transport.(*portstest.Transport)
		pending.ScraperTransport = transport
		cfg.Transport = pending
	})
	w.startClient("web", 2, nil)
	w.loop.Advance(40 * time.Second)
	w.loop.Turn(func() { transport.Move(ports.MoveElsewhere) })
	w.loop.Advance(40 * time.Second)
	if len(pending.dials) != 1 || pending.closed != 0 {
		t.Errorf("%d dials, %d closed, want 1, 0", len(pending.dials), pending.closed)
	}
	w.loop.Advance(6 * time.Second)
	if pending.closed != 1 {
		t.Errorf("%d closed after the timeout, want 1", pending.closed)
	}
}

// A side that is busy with another random punch is free again in seconds, so waits do not grow.
func TestBusySidesAreTriedAgainInSeconds(t *testing.T) {
	w := newWorld(t)
	transport := &pendingTransport{}
	var told events
	s, err := app.NewSession(app.SessionConfig{Host: w.loop, Transport: transport, Keys: pair(1), Client: pair(2).Public, OnEvent: told.add})
	if err != nil {
		t.Fatal(err)
	}
	w.loop.Turn(s.Start)
	for i := range 10 {
		w.loop.Turn(func() { transport.dials[i].OnClose(&ports.ConnectionError{Err: errors.New("busy"), Busy: true}) })
		w.loop.Advance(4 * time.Second)
		if len(transport.dials) != i+2 {
			t.Fatalf("%d dials after %d refusals", len(transport.dials), i+1)
		}
	}
	for _, wait := range of[domain.SessionWait](told) {
		if wait.RetryIn < 2*time.Second || wait.RetryIn > 4*time.Second {
			t.Errorf("tried again in %v", wait.RetryIn)
		}
	}
	w.loop.Turn(s.Close)
}
