package app_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// slowSource answers after a delay.
type slowSource struct {
	loop  host.Host
	after time.Duration
}

func (s *slowSource) Scrape(_ domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	return slowScrape{timer: s.loop.AfterFunc(s.after, func() { portstest.Answer(h, "up 1\n", nil) })}
}

type slowScrape struct {
	portstest.Nothing
	timer host.Timer
}

func (s slowScrape) Cancel() { s.timer.Stop() }

// takenOver is a scraper with a client for whose direct path a relay has just taken over.
func takenOver(t *testing.T) (*world, *testClient, *slowSource) {
	t.Helper()
	w := newWorld(t)
	w.startScraper(nil)
	source := &slowSource{loop: w.loop}
	c := w.startClient("web", 2, func(cfg *app.ClientConfig) { cfg.Source = source })
	w.loop.Advance(20 * time.Minute)
	w.events, c.events = nil, nil
	w.loop.Turn(func() { w.net.TakePath(c.PublicKey(), domain.PathRelay) })
	return w, c, source
}

func TestSessionGoesOverToADirectPathAfterALongTakeover(t *testing.T) {
	w, c, _ := takenOver(t)
	since, registered, dials := w.status("web").Since, c.Status().Registrations, w.net.Dials
	w.loop.Advance(29 * time.Second)
	if w.net.Dials != dials || w.status("web").Peer.Path != domain.PathRelay {
		t.Fatal("dialled before the takeover is old")
	}
	w.loop.Advance(12 * time.Second)
	after := w.status("web")
	if w.net.Dials != dials+1 || after.Session != domain.SessionOpen || after.Peer.Path != domain.PathDirect {
		t.Errorf("%d dials, session %s, path %s", w.net.Dials-dials, after.Session, after.Peer.Path)
	}
	if w.net.Links(c.PublicKey()) != 1 {
		t.Errorf("%d connections are left", w.net.Links(c.PublicKey()))
	}
	if _, _, err := w.scrape("web", 0); err != nil {
		t.Error(err)
	}
	w.loop.Advance(5 * time.Minute)
	if w.net.Dials != dials+1 {
		t.Errorf("%d more dials on a direct path", w.net.Dials-dials-1)
	}
	// The operator sees a client that has been connected all the time.
	wantNames(t, w.events.names(), "connection-open", "connection-close")
	open, end := of[domain.ConnectionOpen](w.events)[0], of[domain.ConnectionClose](w.events)[0]
	if open.UID == end.UID || open.Side != domain.SideScrape || open.Peer.Path != domain.PathDirect {
		t.Errorf("open %+v, close %+v", open, end)
	}
	d, _ := w.scraper.Alias("web")
	for _, h := range d.History {
		if h.State != domain.SessionOpen || h.Err != nil {
			t.Errorf("history: %+v", h)
		}
	}
	if !d.Since.Equal(since) || len(d.History) == 0 {
		t.Errorf("connected since %v, was %v; %d lines of history", d.Since, since, len(d.History))
	}
	if s := w.scraper.Stats().Paths; s.SecondDirect != 1 || s.SecondRelayed != 0 || s.SecondFailed != 0 || s.FirstConnected != 1 {
		t.Errorf("%+v", s)
	}
	// So does the client, which has no reason to register.
	if got := c.Status(); got.Registrations != registered || got.Connections != 1 || got.RequestsFailed != 0 {
		t.Errorf("%+v", got)
	}
	wantNames(t, c.events.names("connection-open", "connection-close", "connection-error"), "connection-open", "connection-close")
	w.closeScraper()
	c.close()
	if n := w.loop.Timers(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

// Scrapes in progress at the switch end on the old connection; later ones use the new one.
func TestScrapesUnderWayEndOnTheOldConnection(t *testing.T) {
	for _, breaks := range []bool{false, true} {
		w, c, source := takenOver(t)
		w.net.Texts = true // of others a target has two at once at most
		source.after = 4 * time.Second
		failed, ended := 0, 0
		scrape := func() {
			w.loop.Turn(func() {
				w.scraper.Scrape("web", 9*time.Second, func(_ []byte, err error) {
					ended++
					if err != nil {
						failed++
						t.Error(err)
					}
				})
			})
		}
		w.loop.Advance(25 * time.Second)
		asked := 1
		for ; w.status("web").Peer.Path == domain.PathRelay; asked++ {
			scrape()
			w.loop.Until(time.Second, func() bool { return w.status("web").Peer.Path != domain.PathRelay })
		}
		if n := w.net.Links(c.PublicKey()); n != 2 || asked > 16 {
			t.Fatalf("%d connections right after the change, which took %d s", n, 25+asked)
		}
		wantNames(t, w.events.names(), "connection-open")
		if breaks {
			w.loop.Turn(func() { w.net.BreakPath(c.PublicKey(), domain.PathRelay) })
		}
		scrape()
		w.loop.Advance(10 * time.Second)
		if ended != asked || failed != 0 || w.net.Links(c.PublicKey()) != 1 {
			t.Errorf("breaks %v: %d scrapes ended, %d failed; %d connections are left", breaks, ended, failed, w.net.Links(c.PublicKey()))
		}
		want := []string{"connection-open", "connection-close"}
		if breaks {
			want = []string{"connection-open", "connection-error", "connection-close"}
		}
		wantNames(t, w.events.names(), want...)
	}
}

func TestShortTakeoverIsNoReasonToDial(t *testing.T) {
	w, c, _ := takenOver(t)
	dials := w.net.Dials
	for range 20 {
		w.loop.Advance(20 * time.Second)
		w.loop.Turn(func() { w.net.TakePath(c.PublicKey(), domain.PathDirect) })
		w.loop.Advance(10 * time.Second)
		w.loop.Turn(func() { w.net.TakePath(c.PublicKey(), domain.PathRelay) })
	}
	if w.net.Dials != dials {
		t.Errorf("%d dials", w.net.Dials-dials)
	}
}

// A relayed connection that never was direct has had its search during the dial.
func TestConnectionRelayedFromTheStartIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.net.SetPath(pair(2).Public, domain.PathRelay)
	w.startClient("web", 2, nil)
	w.loop.Advance(time.Minute)
	dials := w.scraper.Stats().Dials
	w.loop.Advance(3 * time.Hour)
	if got := w.scraper.Stats().Dials - dials; got != 0 {
		t.Errorf("%d dials", got)
	}
}

// While the second connection is relayed or cannot be made, the first one is used, and attempts become rare. News of the client
// trigger the next one soon.
func TestSearchThatFindsNoDirectPathBecomesRare(t *testing.T) {
	for _, tc := range []struct {
		name string
		deny func(w *world, c *testClient)
		held time.Duration // duration of an attempt
	}{
		{"relayed", func(w *world, c *testClient) { w.net.SetPath(c.PublicKey(), domain.PathRelay) }, 45 * time.Second},
		{"failed", func(w *world, c *testClient) { w.net.Refuse(c.PublicKey(), true) }, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, c, _ := takenOver(t)
			tc.deny(w, c)
			open := c.Status().Connections
			dials, waits := w.scraper.Stats().Dials, []time.Duration{}
			last := w.loop.Now()
			next := func() time.Duration {
				t.Helper()
				if !w.loop.Until(20*time.Minute, func() bool { return w.scraper.Stats().Dials > dials }) {
					t.Fatalf("no try after %v", waits)
				}
				dials++
				wait := w.loop.Now().Sub(last)
				last = w.loop.Now().Add(tc.held)
				w.mustScrape2("web")
				return wait
			}
			for range 7 {
				waits = append(waits, next())
			}
			for i, bounds := range [][2]time.Duration{{30, 40}, {60, 60}, {60, 120}, {120, 240}, {240, 480}, {450, 900}, {450, 900}} {
				if w := waits[i]; w < bounds[0]*time.Second || w > bounds[1]*time.Second+time.Second {
					t.Errorf("try %d comes %v after the one before, want %d to %d s", i, w, bounds[0], bounds[1])
				}
			}
			w.loop.Advance(tc.held + 40*time.Second)
			if c.Status().Connections != open || len(w.events.names("connection-open", "connection-close", "connection-error", "session-wait")) != 0 {
				t.Errorf("%d connections at the client; events %v", c.Status().Connections, w.events.names())
			}
			s := w.scraper.Stats().Paths
			if s.SecondDirect != 0 || s.SecondRelayed+s.SecondFailed != 7 || (s.SecondFailed == 0) != (tc.name == "relayed") {
				t.Errorf("%+v", s)
			}
			// A renewed registration. The last attempt is 40 s ago, so the next one may begin at once.
			if _, err := w.send(registration("web", 2)); err != nil {
				t.Fatal(err)
			}
			last = w.loop.Now()
			if wait := next(); wait > time.Second {
				t.Errorf("after news the next try takes %v", wait)
			}
			if wait := next(); wait > 61*time.Second {
				t.Errorf("the try after it comes %v later", wait)
			}
		})
	}
}

// mustScrape2 scrapes an alias whose page has no name in it.
func (w *world) mustScrape2(alias string) {
	w.t.Helper()
	if _, _, err := w.scrape(alias, 0); err != nil {
		w.t.Errorf("scrape of %q: %v", alias, err)
	}
}

// handTransport has connections that the test controls.
type handTransport struct {
	ports.ScraperTransport
	all []*handSession
}

type handSession struct {
	dial     ports.MetricsDial
	path     domain.Path
	answered bool
	closed   int
	released bool
	asked    []func(error)
	heads    []func(domain.ScrapeHead) // of the scrapes asked for
	pong     host.Host                 // nil: probes are not answered
	pings    int
	busy     bool                 // something is under way
	heard    func() time.Duration // time since the last packet on the direct path; nil for always
}

func (t *handTransport) DialMetrics(d ports.MetricsDial) ports.MetricsSession {
	s := &handSession{dial: d}
	t.all = append(t.all, s)
	return s
}

func (s *handSession) Scrape(_ domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	s.asked = append(s.asked, func(err error) { portstest.Answer(h, "", err) })
	s.heads = append(s.heads, h.OnHead)
	return portstest.Nothing{}
}
func (s *handSession) DirectSilence() time.Duration {
	if s.heard == nil {
		return time.Hour
	}
	return s.heard()
}
func (s *handSession) Detour() domain.Detour   { return domain.Detour{} }
func (s *handSession) Stats() domain.LinkStats { return domain.LinkStats{} }
func (s *handSession) Version() string         { return "" }
func (s *handSession) Ping(done func(error)) (cancel func()) {
	s.pings++
	if s.pong != nil {
		s.pong.Post(func() { done(nil) })
	}
	return func() {}
}
func (s *handSession) Idle() bool        { return !s.busy }
func (s *handSession) Answered() bool    { return s.answered }
func (s *handSession) Peer() domain.Peer { return domain.Peer{Path: s.path} }
func (s *handSession) Close(error)       { s.closed++ }
func (s *handSession) Release()          { s.released = true }

func (s *handSession) open(p domain.Path) {
	s.path, s.answered = p, true
	s.dial.OnOpen(s.Peer())
}

func (s *handSession) take(p domain.Path) {
	s.path = p
	s.dial.OnPath(s.Peer())
}

// A direct path that still answers, late or rarely, causes no dial: another connection would have the same path.
func TestDirectPathThatIsNotSilentIsLeftToTheTransport(t *testing.T) {
	w, net := newWorld(t), &handTransport{}
	s, err := app.NewSession(app.SessionConfig{Host: w.loop, Transport: net, Keys: pair(1), Client: pair(2).Public})
	if err != nil {
		t.Fatal(err)
	}
	w.loop.Turn(s.Start)
	w.loop.Turn(func() {
		net.all[0].open(domain.PathPunched)
		net.all[0].dial.OnReady()
	})
	var last host.Instant
	net.all[0].heard = func() time.Duration { return w.loop.Now().Sub(last) }
	w.loop.Turn(func() { net.all[0].take(domain.PathRelay) })
	for range 100 {
		last = w.loop.Now()
		w.loop.Advance(20 * time.Second)
	}
	if len(net.all) != 1 {
		t.Fatalf("%d dials", len(net.all))
	}
	w.loop.Advance(9 * time.Second)
	if len(net.all) != 1 {
		t.Error("dialled after less than 30 s of silence")
	}
	w.loop.Advance(time.Second)
	if len(net.all) != 2 {
		t.Error("not dialled after 30 s of silence")
	}
	w.loop.Turn(s.Close)
	if n := w.loop.Timers(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

// searching is a session whose second connection is being dialled.
func searching(t *testing.T) (*world, *handTransport, *app.Session, *events) {
	t.Helper()
	w, net := newWorld(t), &handTransport{}
	told := &events{}
	s, err := app.NewSession(app.SessionConfig{Host: w.loop, Transport: net, Keys: pair(1), Client: pair(2).Public, OnEvent: told.add})
	if err != nil {
		t.Fatal(err)
	}
	w.loop.Turn(s.Start)
	w.loop.Turn(func() {
		net.all[0].open(domain.PathPunched)
		net.all[0].dial.OnReady()
	})
	w.loop.Turn(func() { net.all[0].take(domain.PathRelay) })
	w.loop.Advance(41 * time.Second)
	if len(net.all) != 2 {
		t.Fatalf("%d dials", len(net.all))
	}
	return w, net, s, told
}

func TestSecondConnectionMayBecomeDirectLater(t *testing.T) {
	w, net, s, told := searching(t)
	first, second := net.all[0], net.all[1]
	for i, step := range []func(){
		func() { second.open(domain.PathRelay) },
		func() { second.dial.OnReady() },
		func() { second.take(domain.PathPunched) },
	} {
		if p, ok := s.Peer(); !ok || p.Path != domain.PathRelay || first.closed != 0 {
			t.Fatalf("went over before step %d", i)
		}
		w.loop.Turn(func() { ask(s, func(error) {}) })
		w.loop.Turn(step)
	}
	if p, _ := s.Peer(); p.Path != domain.PathPunched || second.closed != 0 {
		t.Errorf("path %s, closed %d times", p.Path, second.closed)
	}
	w.loop.Turn(func() { ask(s, func(error) {}) })
	if len(first.asked) != 3 || len(second.asked) != 1 {
		t.Errorf("%d requests on the first connection, %d on the second", len(first.asked), len(second.asked))
	}
	// The requests on the first one time out, and it is closed with the last of them.
	w.loop.Advance(4 * time.Second)
	if first.closed != 0 {
		t.Error("closed under a request")
	}
	w.loop.Advance(2 * time.Second)
	if first.closed != 1 || first.released {
		t.Errorf("closed %d times, released %v", first.closed, first.released)
	}
	w.loop.Turn(func() { first.dial.OnClose(nil) })
	wantNames(t, told.names(), "connection-open", "connection-open", "connection-close")
	w.loop.Turn(s.Close)
	if n := w.loop.Timers(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

// A request that the previous connection cannot answer is repeated on the current one, once, unless the client has rejected it.
func TestRequestsLeftBehindAreRepeated(t *testing.T) {
	broken := &ports.ConnectionError{Err: portstest.ErrLost}
	w, net, s, told := searching(t)
	first, second := net.all[0], net.all[1]
	var ended []error
	for range 3 {
		w.loop.Turn(func() { ask(s, func(err error) { ended = append(ended, err) }) })
	}
	cancel := ask(s, func(error) { t.Error("a request that was cancelled has ended") })
	w.loop.Turn(func() {
		second.open(domain.PathPunched)
		second.dial.OnReady()
	})
	w.loop.Turn(func() { first.asked[0](broken) })
	w.loop.Turn(func() { first.asked[1](&domain.RemoteError{}) })
	if len(second.asked) != 1 || len(ended) != 1 || first.closed != 0 {
		t.Errorf("%d requests are repeated, %d have ended, closed %d times", len(second.asked), len(ended), first.closed)
	}
	w.loop.Turn(cancel)
	w.loop.Turn(func() { first.asked[2](broken) })
	if len(second.asked) != 2 || first.closed != 1 {
		t.Errorf("%d requests are repeated, closed %d times", len(second.asked), first.closed)
	}
	w.loop.Turn(func() {
		second.asked[0](nil)
		second.asked[1](broken)
	})
	if len(ended) != 3 || ended[1] != nil || ended[2] != broken || len(second.asked) != 2 {
		t.Errorf("%v, %d requests on the connection in use", ended, len(second.asked))
	}
	wantNames(t, told.names(), "connection-open", "connection-open", "connection-close")

	// Those left when the session loses its connection end on the previous one, and a new dial does not repeat them.
	w, net, s, _ = searching(t)
	first, second = net.all[0], net.all[1]
	ended = nil
	w.loop.Turn(func() { ask(s, func(err error) { ended = append(ended, err) }) })
	w.loop.Turn(func() {
		second.open(domain.PathPunched)
		second.dial.OnReady()
	})
	w.loop.Turn(func() { ask(s, func(err error) { ended = append(ended, err) }) })
	w.loop.Turn(func() { second.dial.OnClose(broken) })
	if len(ended) != 1 || ended[0] == nil || first.closed != 0 {
		t.Errorf("%v, closed %d times", ended, first.closed)
	}
	w.loop.Turn(s.Nudge)
	w.loop.Turn(func() { net.all[2].open(domain.PathPunched) })
	if len(net.all[2].asked) != 0 {
		t.Error("repeated, although it is under way")
	}
	w.loop.Turn(func() { first.asked[0](nil) })
	if len(ended) != 2 || ended[1] != nil || first.closed != 1 {
		t.Errorf("%v, closed %d times", ended, first.closed)
	}
	w.loop.Turn(s.Release)
	if !net.all[2].released {
		t.Error("not released")
	}
	if n := w.loop.Timers(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

// A search that switches again while requests are left on the connection before the previous one repeats them.
func TestThirdConnectionTakesTheRequestsOfTheFirst(t *testing.T) {
	w, net := newWorld(t), &handTransport{}
	s, err := app.NewSession(app.SessionConfig{Host: w.loop, Transport: net, Keys: pair(1), Client: pair(2).Public, RequestTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	w.loop.Turn(s.Start)
	for i := range 3 {
		w.loop.Turn(func() {
			net.all[i].open(domain.PathPunched)
			net.all[i].dial.OnReady()
		})
		w.loop.Turn(func() { ask(s, func(error) {}) })
		if i == 2 {
			break
		}
		w.loop.Turn(func() { net.all[i].take(domain.PathRelay) })
		w.loop.Until(time.Hour, func() bool { return len(net.all) == i+2 })
	}
	for i, want := range []int{1, 0, 0} {
		if net.all[i].closed != want {
			t.Errorf("connection %d is closed %d times", i, net.all[i].closed)
		}
	}
	w.loop.Turn(func() { net.all[0].asked[0](&ports.ConnectionError{Err: portstest.ErrEnded}) })
	if got := len(net.all[2].asked); got != 2 {
		t.Errorf("%d requests on the third connection, want its own and that of the first", got)
	}
	w.loop.Turn(s.Close)
	if n := w.loop.Timers(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

// Any end of the second connection or the session during the second dial leaves nothing behind.
func TestEndsWhileTheSecondConnectionIsMade(t *testing.T) {
	for _, opens := range []bool{false, true} {
		for _, tc := range []struct {
			name   string
			do     func(net *handTransport, s *app.Session)
			state  domain.SessionState
			events string // after the first connection-open
			second int    // number of closes of the second one
		}{
			{"close", func(_ *handTransport, s *app.Session) { s.Close() }, domain.SessionClosed, "connection-close", 1},
			{"release", func(_ *handTransport, s *app.Session) { s.Release() }, domain.SessionClosed, "connection-close", 0}, // released, so that its client does not register again
			{"the first ends", func(net *handTransport, _ *app.Session) { net.all[0].dial.OnClose(nil) }, domain.SessionWaiting, "connection-close session-wait", 1},
			{"both end, the first first", func(net *handTransport, _ *app.Session) {
				net.all[0].dial.OnClose(nil)
				net.all[1].dial.OnClose(nil)
			}, domain.SessionWaiting, "connection-close session-wait", 1},
			{"both end, the second first", func(net *handTransport, _ *app.Session) {
				net.all[1].dial.OnClose(nil)
				net.all[0].dial.OnClose(nil)
			}, domain.SessionWaiting, "connection-close session-wait", 1},
			{"the second ends", func(net *handTransport, _ *app.Session) { net.all[1].dial.OnClose(portstest.ErrLost) }, domain.SessionOpen, "", 1},
			{"the old path is back", func(net *handTransport, _ *app.Session) { net.all[0].take(domain.PathPunched) }, domain.SessionOpen, "", 1},
		} {
			t.Run(tc.name, func(t *testing.T) {
				w, net, s, told := searching(t)
				if opens {
					w.loop.Turn(func() { net.all[1].open(domain.PathRelay) })
				}
				w.loop.Turn(func() { tc.do(net, s) })
				if s.State() != tc.state || net.all[1].closed != tc.second {
					t.Errorf("state %s, second closed %d times", s.State(), net.all[1].closed)
				}
				if released := net.all[1].released; released != (tc.name == "release") {
					t.Errorf("second released: %v", released)
				}
				if got := strings.Join(told.names()[1:], " "); got != tc.events {
					t.Errorf("events %s", got)
				}
				// Later callbacks of the connections are ignored.
				second := net.all[1]
				w.loop.Turn(func() {
					second.open(domain.PathDirect)
					second.dial.OnReady()
					second.take(domain.PathLAN)
				})
				if s.State() != tc.state || len(of[domain.ConnectionOpen](*told)) != 1 {
					t.Errorf("a connection that was given up makes the session %s", s.State())
				}
				w.loop.Turn(s.Close)
				if n := w.loop.Timers(); n != 0 {
					t.Errorf("%d timers are left", n)
				}
			})
		}
	}
}

// A second dial that began before the news uses the old paths, unless the client has answered it.
func TestNewsRestartTheSecondDial(t *testing.T) {
	for _, answered := range []bool{false, true} {
		w, net, s, _ := searching(t)
		net.all[1].answered = answered
		w.loop.Advance(5 * time.Second)
		w.loop.Turn(s.Nudge)
		want := 3
		if answered {
			want = 2
		}
		if len(net.all) != want || net.all[1].closed != want-2 || s.State() != domain.SessionOpen {
			t.Errorf("answered %v: %d dials, closed %d times, state %s", answered, len(net.all), net.all[1].closed, s.State())
		}
		w.loop.Turn(s.Close)
		if n := w.loop.Timers(); n != 0 {
			t.Errorf("%d timers are left", n)
		}
	}
}

// A direct connection to a half-dead client, which opens no channel, is closed.
func TestSecondConnectionWithoutAChannelIsGivenUp(t *testing.T) {
	w, net, s, told := searching(t)
	w.loop.Turn(func() { net.all[1].open(domain.PathPunched) })
	w.loop.Advance(46 * time.Second)
	if p, _ := s.Peer(); p.Path != domain.PathRelay || net.all[1].closed != 1 || len(*told) != 1 {
		t.Errorf("path %s, closed %d times, events %v", p.Path, net.all[1].closed, told.names())
	}
	w.loop.Turn(s.Close)
}

// News replace the wait for the next attempt, and do not add an attempt to it.
func TestNewsReplaceTheWaitForTheNextTry(t *testing.T) {
	w, net, s, _ := searching(t)
	net.all[0].pong = w.loop
	w.loop.Turn(func() { net.all[1].dial.OnClose(&ports.ConnectionError{Err: portstest.ErrPeerNotFound}) })
	w.loop.Advance(40 * time.Second) // of the minute until the next attempt
	w.loop.Turn(s.Nudge)
	w.loop.Advance(time.Second)
	if len(net.all) != 3 {
		t.Fatalf("%d dials after news", len(net.all))
	}
	w.loop.Turn(func() { net.all[2].open(domain.PathRelay) })
	w.loop.Advance(30 * time.Second)
	if len(net.all) != 3 || net.all[2].closed != 0 {
		t.Errorf("%d dials, the third one closed %d times", len(net.all), net.all[2].closed)
	}
	w.loop.Turn(s.Close)
	if n := w.loop.Timers(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

// A probe of the first connection is ignored once the session has switched.
func TestProbeOfTheOldConnectionEndsWithTheChange(t *testing.T) {
	w, net, s, told := searching(t)
	net.all[1].answered = true
	w.loop.Turn(s.Nudge)
	w.loop.Turn(func() {
		ask(s, func(error) {}) // which keeps it
		net.all[1].open(domain.PathDirect)
		net.all[1].dial.OnReady()
	})
	w.loop.Advance(time.Minute)
	if s.State() != domain.SessionOpen || net.all[1].closed != 0 || len(net.all) != 2 {
		t.Errorf("state %s, %d dials", s.State(), len(net.all))
	}
	wantNames(t, told.names(), "connection-open", "connection-open", "connection-close")
	w.loop.Turn(s.Close)
	if n := w.loop.Timers(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

// A session that was connected for a while has short waits again, also when the connection that it switched to ends at once.
func TestConnectionBeforeCountsForTheNextWait(t *testing.T) {
	w, net := newWorld(t), &handTransport{}
	var told events
	s, err := app.NewSession(app.SessionConfig{Host: w.loop, Transport: net, Keys: pair(1), Client: pair(2).Public, OnEvent: told.add})
	if err != nil {
		t.Fatal(err)
	}
	w.loop.Turn(s.Start)
	for i := range 5 {
		w.loop.Turn(func() { net.all[i].dial.OnClose(&ports.ConnectionError{Err: portstest.ErrPeerNotFound}) })
		w.loop.Until(time.Minute, func() bool { return len(net.all) > i+1 })
	}
	for i := range 2 {
		w.loop.Turn(func() {
			net.all[5+i].open(domain.PathPunched)
			net.all[5+i].dial.OnReady()
		})
		if i == 0 {
			w.loop.Advance(time.Minute)
			w.loop.Turn(func() { net.all[5].take(domain.PathRelay) })
			w.loop.Until(time.Minute, func() bool { return len(net.all) > 6 })
		}
	}
	w.loop.Turn(func() { net.all[6].dial.OnClose(&ports.ConnectionError{Err: portstest.ErrLost}) })
	waits := of[domain.SessionWait](told)
	if before, after := waits[len(waits)-2].RetryIn, waits[len(waits)-1].RetryIn; before < 5*time.Second || after > time.Second {
		t.Errorf("the wait was %v, and is %v after a connection of two minutes", before, after)
	}
	w.loop.Turn(s.Close)
}

// Short-lived paths make the next search later than the first one, unless the path before has lasted.
func TestPathsThatDoNotLastAreSearchedForLess(t *testing.T) {
	for _, lasts := range []bool{false, true} {
		w, net, s, _ := searching(t)
		for range 3 {
			now := net.all[len(net.all)-1]
			w.loop.Turn(func() {
				now.open(domain.PathDirect)
				now.dial.OnReady()
			})
			if lasts {
				w.loop.Advance(16 * time.Minute)
			}
			dials := len(net.all)
			w.loop.Turn(func() { now.take(domain.PathRelay) })
			start := w.loop.Now()
			if !w.loop.Until(time.Hour, func() bool { return len(net.all) > dials }) {
				t.Fatal("no other try")
			}
			if wait := w.loop.Now().Sub(start); (wait <= 40*time.Second) != lasts {
				t.Errorf("lasts %v: dialled after %v", lasts, wait)
			}
		}
		w.loop.Turn(s.Close)
	}
}

// Takeovers that end before an attempt is due do not delay the next one.
func TestShortTakeoversDoNotDelayTheNextTry(t *testing.T) {
	w, net, s, _ := searching(t)
	first := net.all[0]
	w.loop.Turn(func() { net.all[1].dial.OnClose(portstest.ErrLost) })
	for range 20 {
		w.loop.Turn(func() { first.take(domain.PathPunched) })
		w.loop.Advance(5 * time.Second)
		w.loop.Turn(func() { first.take(domain.PathRelay) })
		w.loop.Advance(20 * time.Second)
	}
	if len(net.all) != 2 {
		t.Fatalf("%d dials", len(net.all))
	}
	w.loop.Advance(41 * time.Second)
	if len(net.all) != 3 {
		t.Errorf("%d dials a minute after the last takeover", len(net.all))
	}
	w.loop.Turn(s.Close)
}

// The scraper's machine takes another way to the network. Until a connection over that is made, dials go on, whatever becomes of the path of the
// connection that is about to end.
func TestConnectionOverAnotherWayIsDialledWhateverBecomesOfThePath(t *testing.T) {
	for _, paths := range [][]domain.Path{
		{domain.PathDirect},
		{domain.PathRelay},
		{domain.PathDirect, domain.PathRelay},
		{domain.PathRelay, domain.PathDirect},
		{domain.PathDirect, domain.PathRelay, domain.PathDirect},
	} {
		w, net := newWorld(t), &handTransport{}
		w.disk.Entries["web"] = domain.Entry{Alias: "web", Key: pair(2).Public, Expires: noon.Add(time.Hour)}
		machine := portstest.NewTransport(w.net)
		w.startScraper(func(c *app.ScraperConfig) { net.ScraperTransport, c.Transport = machine, net })
		w.loop.Turn(func() {
			net.all[0].open(paths[0])
			net.all[0].dial.OnReady()
		})
		w.loop.Turn(func() { machine.Move(ports.MoveOver) })
		w.loop.Advance(2 * time.Second)
		net.all[0].pong, net.all[1].answered = w.loop, true
		w.loop.Turn(func() { w.scraper.PutAlias(registration("web", 2).Register, func(bool, error) {}) }) // which shortens waits
		for _, path := range paths[1:] {
			w.loop.Turn(func() { net.all[0].take(path) })
		}
		if len(net.all) != 2 || net.all[1].closed != 0 {
			t.Fatalf("%v: %d dials, the second one closed %d times", paths, len(net.all), net.all[1].closed)
		}
		w.loop.Advance(44 * time.Second)
		if net.all[1].closed != 1 {
			t.Errorf("%v: the second dial does not end", paths)
		}
		if !w.loop.Until(time.Minute, func() bool { return len(net.all) == 3 }) {
			t.Fatalf("%v: no third dial", paths)
		}
		w.loop.Turn(func() {
			net.all[2].open(domain.PathRelay)
			net.all[2].dial.OnReady()
		})
		if net.all[0].closed != 1 || net.all[2].closed != 0 {
			t.Errorf("%v: the first connection is closed %d times, the third one %d", paths, net.all[0].closed, net.all[2].closed)
		}
		// The third one is relayed: a direct path is searched for where the first one had one.
		net.all[2].heard = func() time.Duration { return time.Hour }
		w.loop.Advance(2 * time.Minute)
		if searched, want := len(net.all) > 3, paths[len(paths)-1] == domain.PathDirect; searched != want {
			t.Errorf("%v: a direct path is searched for afterwards: %v, want %v", paths, searched, want)
		}
		w.closeScraper()
		if n := w.loop.Timers(); n != 0 {
			t.Errorf("%v: %d timers are left", paths, n)
		}
	}
}

// manyOpen is a scraper with 200 sessions on direct paths, on connections that the test controls.
func manyOpen(t *testing.T) (*world, *handTransport) {
	t.Helper()
	w := newWorld(t)
	for i := range 200 {
		a := domain.Alias("client-" + string(rune('a'+i%26)) + string(rune('a'+i/26)))
		w.disk.Entries[a] = domain.Entry{Alias: a, Key: pair(byte(i + 2)).Public, Expires: noon.Add(time.Hour)}
	}
	net := &handTransport{}
	w.startScraper(func(c *app.ScraperConfig) {
		net.ScraperTransport = c.Transport
		c.Transport = net
	})
	for i := 0; i < len(net.all); i++ {
		w.loop.Turn(func() {
			net.all[i].open(domain.PathDirect)
			net.all[i].dial.OnReady()
		})
	}
	if len(net.all) != 200 {
		t.Fatalf("%d dials", len(net.all))
	}
	return w, net
}

// A search that ends while it waits for its turn does not dial, and blocks no others.
func TestSearchesThatEndLeaveTheQueue(t *testing.T) {
	w, net := manyOpen(t)
	for _, s := range slices.Clone(net.all) {
		w.loop.Turn(func() { s.take(domain.PathRelay) })
		s.heard = func() time.Duration { return 30 * time.Second }
	}
	w.loop.Until(time.Minute, func() bool { return len(net.all) == 200+64 })
	w.loop.Advance(4 * time.Second) // more are due, and wait
	first := slices.Clone(net.all[200:])
	dialled := map[domain.PublicKey]bool{}
	for _, s := range first {
		dialled[s.dial.Client] = true
	}
	began := w.loop.Now()
	for _, s := range net.all[:200] {
		if !dialled[s.dial.Client] { // their old paths work again
			w.loop.Turn(func() { s.take(domain.PathDirect) })
		}
	}
	for _, s := range first {
		w.loop.Turn(func() { s.dial.OnClose(portstest.ErrLost) })
	}
	if n := len(net.all) - 200 - len(first); n != 0 {
		t.Errorf("%d second dials beside direct paths", n)
	}
	last := net.all[:200][slices.IndexFunc(net.all[:200], func(s *handSession) bool { return !dialled[s.dial.Client] })]
	w.loop.Turn(func() { last.dial.OnClose(nil) })
	w.loop.Until(time.Minute, func() bool { return len(net.all) > 200+len(first) })
	if wait := w.loop.Now().Sub(began); wait > 2*time.Second {
		t.Errorf("a dial waits %v for turns that have ended", wait)
	}
	w.closeScraper()
	if n := w.loop.Timers(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

// A request left on the previous connection fails with its error, once, if the session has no other one by then.
func TestRequestLeftBehindFailsWithoutAConnection(t *testing.T) {
	broken := &ports.ConnectionError{Err: portstest.ErrLost}
	w, net, s, _ := searching(t)
	var ended []error
	w.loop.Turn(func() { ask(s, func(err error) { ended = append(ended, err) }) })
	w.loop.Turn(func() {
		net.all[1].open(domain.PathPunched)
		net.all[1].dial.OnReady()
	})
	w.loop.Turn(func() { net.all[1].dial.OnClose(broken) })
	w.loop.Turn(func() {
		net.all[0].asked[0](broken)
		net.all[0].dial.OnClose(broken)
	})
	w.loop.Turn(s.Close)
	if len(ended) != 1 || ended[0] != broken {
		t.Errorf("%v", ended)
	}
	if n := w.loop.Timers(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

// A relay that takes over for all clients at once does not cause dials to all of them at once.
func TestSecondConnectionsAreDialledInTurns(t *testing.T) {
	w, net := manyOpen(t)
	for _, s := range slices.Clone(net.all) {
		w.loop.Turn(func() { s.take(domain.PathRelay) })
	}
	w.loop.Advance(34 * time.Second)
	if n := len(net.all) - 200; n != 64 {
		t.Errorf("%d second dials within the first five seconds", n)
	}
	w.loop.Turn(func() { net.all[200].open(domain.PathRelay) })
	if n := len(net.all) - 200; n != 65 {
		t.Errorf("%d second dials when one of them has opened", n)
	}
	w.loop.Turn(func() { net.all[201].dial.OnClose(portstest.ErrLost) })
	if n := len(net.all) - 200; n != 66 {
		t.Errorf("%d second dials when another one has failed", n)
	}
	w.loop.Advance(30 * time.Second)
	if n := len(net.all) - 200; n != 200 {
		t.Errorf("%d second dials in the end", n)
	}
	w.closeScraper()
	for i, s := range net.all[200:] {
		if s.closed != 1 {
			t.Errorf("the second connection %d is closed %d times", i, s.closed)
		}
	}
	if n := w.loop.Timers(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

// A client that stops while its scraper dials it a second time is gone at once, as without the dial.
func TestClientStopsWhileTheSecondConnectionIsMade(t *testing.T) {
	for _, after := range []time.Duration{0, 5 * time.Millisecond, 15 * time.Millisecond, 25 * time.Millisecond, time.Second} {
		w, c, _ := takenOver(t)
		w.net.SetPath(c.PublicKey(), domain.PathRelay)
		dials := w.scraper.Stats().Dials
		if !w.loop.Until(time.Minute, func() bool { return w.scraper.Stats().Dials > dials }) {
			t.Fatal("no second dial")
		}
		w.loop.Advance(after)
		c.close()
		if all := w.aliases(); len(all) != 0 || len(w.scraper.Sessions()) != 0 || w.net.Links(c.PublicKey()) != 0 {
			t.Errorf("after %v: aliases %v, sessions %v, %d connections", after, all, w.scraper.Sessions(), w.net.Links(c.PublicKey()))
		}
		w.closeScraper()
		if n := w.loop.Timers(); n != 0 {
			t.Errorf("after %v: %d timers are left", after, n)
		}
	}
}

func TestScraperStopsWhileTheSecondConnectionIsMade(t *testing.T) {
	for _, after := range []time.Duration{0, 15 * time.Millisecond, 25 * time.Millisecond, time.Second} {
		w, c, source := takenOver(t)
		if after < time.Second {
			w.net.SetPath(c.PublicKey(), domain.PathRelay)
		} else {
			source.after = 3 * time.Second // a request is left on the connection before
			w.loop.Advance(30 * time.Second)
			for range 11 {
				w.loop.Turn(func() { w.scraper.Scrape("web", 9*time.Second, func([]byte, error) {}) })
				w.loop.Advance(time.Second)
			}
		}
		if after < time.Second {
			dials := w.scraper.Stats().Dials
			if !w.loop.Until(time.Minute, func() bool { return w.scraper.Stats().Dials > dials }) {
				t.Fatal("no second dial")
			}
			w.loop.Advance(after)
		}
		w.closeScraper()
		if n := w.net.Links(c.PublicKey()); n != 0 {
			t.Errorf("after %v: %d connections", after, n)
		}
		if opens, ends := len(w.events.names("connection-open")), len(w.events.names("connection-close")); ends != opens+1 {
			t.Errorf("after %v: %d connections opened, %d closed; one was open", after, opens, ends)
		}
		c.close()
		if n := w.loop.Timers(); n != 0 {
			t.Errorf("after %v: %d timers are left", after, n)
		}
	}
}
