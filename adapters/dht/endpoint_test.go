package dht

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht/muxscrape"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/hyperdht/mux/muxtest"
	"github.com/dhtprom/dhtprom/hyperdht/muxrpc"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/portstest"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// fakeConn is a connection in memory that the test opens.
type fakeConn struct {
	*muxtest.Pipe
	onStart, onOpen, onPath func()

	hash [64]byte // once the encryption is up
	key  id.PublicKey
	addr netip.AddrPort
	path hyperdht.Path

	trusted bool
	unsent  int
	silence time.Duration
	stats   hyperdht.ConnectionStats
	detour  hyperdht.Detour
}

func (c *fakeConn) OnStart(f func())                { c.onStart = f }
func (c *fakeConn) OnOpen(f func())                 { c.onOpen = f }
func (c *fakeConn) OnPath(f func())                 { c.onPath = f }
func (c *fakeConn) DirectSilence() time.Duration    { return c.silence }
func (c *fakeConn) Detour() hyperdht.Detour         { return c.detour }
func (c *fakeConn) Stats() hyperdht.ConnectionStats { return c.stats }
func (c *fakeConn) HandshakeHash() [64]byte         { return c.hash }
func (c *fakeConn) Answered() bool                  { return c.hash != [64]byte{} }
func (c *fakeConn) Close()                          { c.Pipe.End() }
func (c *fakeConn) RemotePublicKey() id.PublicKey   { return c.key }
func (c *fakeConn) RemoteAddr() netip.AddrPort      { return c.addr }
func (c *fakeConn) Path() hyperdht.Path             { return c.path }
func (c *fakeConn) Trust()                          { c.trusted = true }
func (c *fakeConn) Idle() bool                      { return c.unsent == 0 }
func (c *fakeConn) Unsent() int                     { return c.unsent }

var (
	clientKey  = id.KeyPairFromSeed(id.Seed{1}).Public
	scraperKey = id.KeyPairFromSeed(id.Seed{2}).Public
)

// world is a connection between a client (a) and a scraper (b), dialled by either, with the recorded calls.
type world struct {
	t       *testing.T
	loop    *portstest.Loop
	wire    *muxtest.Wire
	client  *fakeConn
	scraper *fakeConn
	calls   []string
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, loop: portstest.NewLoop(1), wire: muxtest.NewWire()}
	w.client = &fakeConn{Pipe: w.wire.A, key: scraperKey, addr: netip.MustParseAddrPort("203.0.113.9:1234"), path: hyperdht.PathPunched}
	w.scraper = &fakeConn{Pipe: w.wire.B, key: clientKey, addr: netip.MustParseAddrPort("192.168.1.5:4321"), path: hyperdht.PathLAN}
	// Nothing is read before the encryption is up.
	w.client.Pause()
	w.scraper.Pause()
	return w
}

func (w *world) call(format string, args ...any) {
	w.calls = append(w.calls, fmt.Sprintf(format, args...))
}

// take returns the calls since the last take.
func (w *world) take() string {
	s := strings.Join(w.calls, "; ")
	w.calls = nil
	return s
}

func (w *world) want(calls string) {
	w.t.Helper()
	w.run()
	if got := w.take(); got != calls {
		w.t.Errorf("called: %s\nwant:   %s", got, calls)
	}
}

// open establishes the encryption on both sides.
func (w *world) open() {
	w.client.hash, w.scraper.hash = [64]byte{1}, [64]byte{1}
	if w.client.onStart != nil {
		w.loop.Turn(w.client.onStart)
	}
	w.loop.Turn(w.client.onOpen)
	w.client.Resume()
	if w.scraper.onStart != nil {
		w.loop.Turn(w.scraper.onStart)
	}
	w.loop.Turn(w.scraper.onOpen)
	w.scraper.Resume()
	w.run()
}

func (w *world) run() {
	for range 10 {
		w.loop.Turn(w.wire.Run)
	}
}

func (w *world) wantClosed() {
	w.t.Helper()
	w.run()
	for name, p := range map[string]*muxtest.Pipe{"client": w.wire.A, "scraper": w.wire.B} {
		if closed, _ := p.Closed(); !closed {
			w.t.Errorf("the %s's end is still open", name)
		}
	}
	if n := w.loop.Timers(); n != 0 {
		w.t.Errorf("%d timers are armed", n)
	}
}

func (w *world) wantOpen() {
	w.t.Helper()
	w.run()
	if closed, err := w.wire.A.Closed(); closed || w.wire.A.Ended() || w.wire.B.Ended() {
		w.t.Errorf("closed %v with %v, ended %v and %v", closed, err, w.wire.A.Ended(), w.wire.B.Ended())
	}
}

// aliasHandlers records what an alias server is asked, and answers with f.
func (w *world) aliasHandlers(f func(req ports.AliasRequest, reply func(ports.AliasReply))) func(ports.Conn) ports.AliasHandlers {
	return func(c ports.Conn) ports.AliasHandlers {
		w.call("alias open %s", c.Peer().Key.Short())
		return ports.AliasHandlers{
			OnRegister: func(req ports.AliasRequest, reply func(ports.AliasReply)) {
				w.call("register %s %s", req.Alias, req.Hostname)
				f(req, reply)
			},
			OnLeave: func(req ports.AliasRequest, reply func(ports.AliasReply)) {
				w.call("leave %s", req.Alias)
				f(req, reply)
			},
			OnError: func(err error) { w.call("alias error %v", err) },
			OnClose: func() { w.call("alias close") },
		}
	}
}

// metricsHandlers records what a metrics server is asked, and answers with f.
func (w *world) metricsHandlers(f func(reply func(MetricsReply))) func(ports.Conn) ports.MetricsHandlers {
	return func(c ports.Conn) ports.MetricsHandlers {
		w.call("metrics open %s", c.Peer().Key.Short())
		return ports.MetricsHandlers{
			OnScrape: answering(w.loop, f),
			OnError:  func(err error) { w.call("metrics error %v", err) },
			OnClose:  func() { w.call("metrics close") },
		}
	}
}

// answering answers scrapes with what f replies, at once or later.
func answering(loop host.Loop, f func(reply func(MetricsReply))) func(domain.ScrapeRequest, ports.ScrapeHandlers) ports.Scrape {
	return func(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
		a := &replying{}
		f(func(m MetricsReply) {
			var err error
			switch {
			case m.Success:
			case r.Text:
				err = &domain.RemoteError{Message: m.Message}
			default:
				err = &domain.ScrapeError{Fault: domain.FaultExporter, Reason: m.Message}
			}
			if !a.over {
				a.Scrape = scrape.Send(loop, scrape.Text(m.Body), err, h)
			}
		})
		return a
	}
}

// replying is a scrape that may not have an answer yet.
type replying struct {
	ports.Scrape
	over bool
}

func (rp *replying) Cancel() {
	if rp.over = true; rp.Scrape != nil {
		rp.Scrape.Cancel()
	}
}

// requestOf requests a page, with a failure that the client reports as a reply.
func requestOf(s ports.MetricsSource, done func(MetricsReply, error)) (cancel func()) {
	return scrape.Collect(s, domain.ScrapeRequest{Within: time.Minute}, domain.MaxBody, func(p scrape.Page, err error) {
		if remote, ok := errors.AsType[*domain.RemoteError](err); ok && !remote.Unknown {
			done(MetricsReply{Message: remote.Message}, nil)
			return
		}
		if e, ok := errors.AsType[*domain.ScrapeError](err); ok {
			done(MetricsReply{Message: e.Reason}, nil)
			return
		}
		done(MetricsReply{Success: err == nil, Body: p.Body}, err)
	})
}

func yes(_ ports.AliasRequest, reply func(ports.AliasReply)) {
	reply(ports.AliasReply{Success: true, Updated: true})
}

func up(reply func(MetricsReply)) {
	reply(MetricsReply{Success: true, Body: []byte("up 1\n")})
}

func (w *world) registration() ports.Registration {
	return ports.Registration{
		Secret:   domain.SecretFrom([32]byte{9}),
		Register: domain.Register{Alias: "a", Key: domain.PublicKey(clientKey), Hostname: "h", Service: "s"},
		OnOpen:   func(p domain.Peer) { w.call("dialled %s %v %s", p.Key.Short(), p.Addr, p.Path) },
	}
}

func (w *world) registered(updated bool, err error) { w.call("registered %v %v", updated, err) }

func (w *world) dial() ports.MetricsDial {
	return ports.MetricsDial{
		Client:  domain.PublicKey(clientKey),
		OnOpen:  func(p domain.Peer) { w.call("session open %s %s", p.Key.Short(), p.Path) },
		OnReady: func() { w.call("session ready") },
		OnClose: func(err error) { w.call("session close %v", err) },
	}
}

func (w *world) gotMetrics(r MetricsReply, err error) {
	if err != nil {
		w.call("no metrics: %v", err)
		return
	}
	w.call("metrics %v %q %q", r.Success, r.Body, r.Message)
}

// aliasWorld returns a world with a registration in progress to an alias server.
func aliasWorld(t *testing.T, f func(ports.AliasRequest, func(ports.AliasReply))) (w *world, server *aliasServer, cancel func()) {
	w = newWorld(t)
	server, err := serveAliases(newLink(w.loop, w.scraper), Config{MaxName: 100}, w.aliasHandlers(f))
	if err != nil {
		t.Fatal(err)
	}
	cancel = register(newLink(w.loop, w.client), methodAlias, w.registration(), nil, w.registered)
	return w, server, cancel
}

// metricsWorld returns a world with a session to a metrics server.
func metricsWorld(t *testing.T, f func(func(MetricsReply))) (w *world, server *metricsServer, s *session) {
	w = newWorld(t)
	server, err := serveMetrics(newLink(w.loop, w.client), w.metricsHandlers(f))
	if err != nil {
		t.Fatal(err)
	}
	s = openSession(newLink(w.loop, w.scraper), w.dial())
	return w, server, s
}

func TestRegistrationAsksOnceAndHangsUp(t *testing.T) {
	w, _, cancel := aliasWorld(t, yes)
	w.want("")
	w.open()
	w.want("dialled " + scraperKey.Short() + " 203.0.113.9:1234 punched; alias open " + clientKey.Short() +
		"; register a h; registered true <nil>; alias close")
	cancel()
	w.wantClosed()
}

func TestLeaveIsTheSameConversation(t *testing.T) {
	w := newWorld(t)
	if _, err := serveAliases(newLink(w.loop, w.scraper), Config{MaxName: 100}, w.aliasHandlers(yes)); err != nil {
		t.Fatal(err)
	}
	r := w.registration()
	r.OnOpen = nil
	register(newLink(w.loop, w.client), methodLeave, r, nil, w.registered)
	w.open()
	w.want("alias open " + clientKey.Short() + "; leave a; registered true <nil>; alias close")
	w.wantClosed()
}

func TestRefusalsAreRemoteErrors(t *testing.T) {
	for name, c := range map[string]struct {
		server func(t *testing.T, w *world)
		want   string
	}{
		"by the scraper": {func(t *testing.T, w *world) {
			serveAliases(newLink(w.loop, w.scraper), Config{MaxName: 100}, w.aliasHandlers(func(_ ports.AliasRequest, reply func(ports.AliasReply)) {
				reply(ports.AliasReply{Message: "Unauthorised"})
			}))
		}, "scraper reported: Unauthorised"},
		"by a limit on names": {func(t *testing.T, w *world) {
			serveAliases(newLink(w.loop, w.scraper), Config{}, w.aliasHandlers(yes))
		}, "scraper reported: alias is 1 bytes long, at most 0 are allowed"},
		"of the method": {func(t *testing.T, w *world) {
			muxrpc.New(newLink(w.loop, w.scraper).mux, muxrpc.Options{Protocol: protocolAlias})
		}, "scraper reported: UNKNOWN_METHOD: Unknown method 'alias'"},
		"of the version": {func(t *testing.T, w *world) {
			rpc, _ := muxrpc.New(newLink(w.loop, w.scraper).mux, muxrpc.Options{Protocol: protocolAlias})
			rpc.Respond(methodAlias, func(_ []byte, reply func([]byte, error)) { reply(nil, decodeError(&VersionError{"too new"})) })
		}, "scraper reported: DECODE_ERROR: Could not decode request: too new"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.server(t, w)
			var got error
			register(newLink(w.loop, w.client), methodAlias, w.registration(), nil, func(_ bool, err error) { got = err })
			w.open()
			var remote *domain.RemoteError
			if !errors.As(got, &remote) || got.Error() != c.want {
				t.Errorf("error %v (%T), want %s", got, got, c.want)
			}
			w.wantClosed()
		})
	}
}

func TestNoAnswerIsAConnectionError(t *testing.T) {
	silent := func(ports.AliasRequest, func(ports.AliasReply)) {}
	for name, c := range map[string]struct {
		f    func(ports.AliasRequest, func(ports.AliasReply))
		then func(w *world, s *aliasServer)
		want string
	}{
		"when the connection breaks":          {silent, func(w *world, _ *aliasServer) { w.client.Destroy(errors.New("cable cut")) }, "cable cut"},
		"when the scraper ends it":            {silent, func(w *world, s *aliasServer) { s.Close(nil) }, errPeerEnded.Error()},
		"when the scraper closes the channel": {silent, func(w *world, s *aliasServer) { s.rpc.Destroy(nil) }, errChannelClosed.Error()},
		"when the answer is nonsense": {silent, func(w *world, s *aliasServer) {
			w.wire.A.Inject([]byte{1, 1, 0, 1, 1}) // response 1 with a value that ends in its version
		}, "alias reply: "},
	} {
		t.Run(name, func(t *testing.T) {
			w, s, _ := aliasWorld(t, c.f)
			w.open()
			w.take()
			w.loop.Turn(func() { c.then(w, s) })
			w.run()
			if got := w.take(); !strings.Contains(got, "registered false "+c.want) {
				t.Errorf("called %s, want an error with %s", got, c.want)
			}
			w.loop.Advance(aliasLinger)
			w.wantClosed()
		})
	}
}

func TestConnectionErrorsAreTyped(t *testing.T) {
	w := newWorld(t)
	var got error
	register(newLink(w.loop, w.client), methodAlias, w.registration(), nil, func(_ bool, err error) { got = err })
	w.loop.Turn(func() { w.client.Destroy(errors.New("PEER_NOT_FOUND")) })
	w.run()
	var ce *ports.ConnectionError
	if !errors.As(got, &ce) || got.Error() != "PEER_NOT_FOUND" {
		t.Errorf("error %v (%T)", got, got)
	}
}

// A channel that cannot be opened is an error like others, reported in a later turn.
func TestRegistrationWithoutAChannelFails(t *testing.T) {
	w := newWorld(t)
	l := newLink(w.loop, w.client)
	for range 2 { // of one name, a connection has one channel
		register(l, methodAlias, w.registration(), nil, w.registered)
	}
	if got := w.take(); got != "" {
		t.Errorf("called %s inside of the call", got)
	}
	w.loop.Turn(func() {})
	if got := w.take(); !strings.HasPrefix(got, "registered false ") || strings.Contains(got, "nil") {
		t.Errorf("called %s", got)
	}
}

func TestScraperWithoutTheServiceIsNamedSo(t *testing.T) {
	w := newWorld(t)
	serveMetrics(newLink(w.loop, w.scraper), w.metricsHandlers(up))
	register(newLink(w.loop, w.client), methodAlias, w.registration(), nil, w.registered)
	w.open()
	w.run()
	if got := w.take(); !strings.Contains(got, "registered false "+errNotAccepted.Error()) {
		t.Errorf("called %s", got)
	}
	w.wantClosed()
}

func TestCancelledRegistrationIsSilent(t *testing.T) {
	for name, when := range map[string]func(w *world){"before the connection is open": func(*world) {}, "while it waits": (*world).open} {
		t.Run(name, func(t *testing.T) {
			w, _, cancel := aliasWorld(t, func(ports.AliasRequest, func(ports.AliasReply)) {})
			when(w)
			w.take()
			cancel()
			cancel()
			w.run()
			if got := w.take(); strings.Contains(got, "registered") {
				t.Errorf("called %s", got)
			}
			w.wantClosed()
		})
	}
}

func TestAliasServerClosesAtTheApplicationsWish(t *testing.T) {
	var conn *aliasServer
	w, conn, _ := aliasWorld(t, func(_ ports.AliasRequest, reply func(ports.AliasReply)) {
		reply(ports.AliasReply{Message: "go away"})
		conn.Close(nil) // the answer arrives nevertheless
	})
	w.open()
	if got := w.take(); !strings.Contains(got, "registered false scraper reported: go away") || !strings.HasSuffix(got, "alias close") {
		t.Errorf("called %s", got)
	}
	w.wantClosed()

	w, conn, _ = aliasWorld(t, func(ports.AliasRequest, func(ports.AliasReply)) { conn.Close(errors.New("enough")) })
	w.open()
	if got := w.take(); !strings.Contains(got, "alias error enough; alias close") {
		t.Errorf("called %s", got)
	}
	w.wantClosed()
}

func TestServerIsNotCalledForConnectionsThatNeverOpened(t *testing.T) {
	w, _, _ := aliasWorld(t, yes)
	w.scraper.Destroy(errors.New("broken"))
	w.want("registered false muxtest: connection reset by the other end")
}

func TestMetricsAreServed(t *testing.T) {
	w, _, s := metricsWorld(t, up)
	requestOf(s, w.gotMetrics) // may be asked at any time
	w.want("")
	w.open()
	w.want("metrics open " + scraperKey.Short() + "; session open " + clientKey.Short() + " lan; session ready; metrics true \"up 1\\n\" \"\"")
	for range 3 {
		requestOf(s, w.gotMetrics)
		w.want(`metrics true "up 1\n" ""`)
	}
	w.wantOpen()
	s.Close(nil)
	w.want("metrics close; session close <nil>")
	w.wantClosed()
}

// Head, body and end of a small response are one frame, and so one packet.
func TestSmallResponseIsOneFrame(t *testing.T) {
	w, _, s := metricsWorld(t, up)
	w.open()
	w.take()
	before := len(w.wire.Frames)
	requestOf(s, w.gotMetrics)
	w.want(`metrics true "up 1\n" ""`)
	var sides []string
	for _, f := range w.wire.Frames[before:] {
		sides = append(sides, f.From)
	}
	if fmt.Sprint(sides) != "[b a]" {
		t.Errorf("frames of %v, want a request of b and a response of a", sides)
	}
}

func TestMetricsMayBeAnsweredLaterAndOutOfOrder(t *testing.T) {
	var replies []func(MetricsReply)
	w, _, s := metricsWorld(t, func(reply func(MetricsReply)) { replies = append(replies, reply) })
	w.open()
	w.take()
	for i := range 2 {
		requestOf(s, func(r MetricsReply, err error) { w.call("answer %d %s %v", i, r.Body, err) })
	}
	w.run()
	replies[1](MetricsReply{Success: true, Body: []byte("second")})
	replies[0](MetricsReply{Message: "first"})
	w.want("answer 1 second <nil>; answer 0  <nil>")
}

func TestFailuresOfTheClientAreAnswers(t *testing.T) {
	w, _, s := metricsWorld(t, func(reply func(MetricsReply)) {
		reply(MetricsReply{Message: strings.Repeat("x", 3*maxMessage)})
	})
	requestOf(s, func(r MetricsReply, err error) { w.call("%v %d %v", r.Success, len(r.Message), err) })
	w.open()
	if got := w.take(); !strings.HasSuffix(got, fmt.Sprintf("false %d <nil>", maxMessage)) {
		t.Errorf("called %s", got)
	}
}

// A scraper that knows the method only, as those of the packages.
func TestBodiesThatDoNotFitAreRefusedWithTheirSize(t *testing.T) {
	size := domain.MaxBody
	w := newWorld(t)
	_, err := serveMetrics(newLink(w.loop, w.client), w.metricsHandlers(func(reply func(MetricsReply)) {
		reply(MetricsReply{Success: true, Body: make([]byte, size)})
	}))
	if err != nil {
		t.Fatal(err)
	}
	w.scraper.onOpen = func() {}
	rpc, err := muxrpc.New(mux.New(w.scraper), muxrpc.Options{Protocol: protocolMetrics})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() (got MetricsReply) {
		m := MetricsRequest{}
		if _, err := rpc.Request(methodMetrics, m.Append(nil), func(b []byte, err error) {
			if err != nil {
				t.Error(err)
			}
			if got, err = ParseMetricsReply(b); err != nil {
				t.Error(err)
			}
			got.Body = bytes.Clone(got.Body)
		}); err != nil {
			t.Fatal(err)
		}
		for range 600 { // the page is collected in windows
			w.run()
			if got.Success || got.Message != "" {
				break
			}
		}
		return got
	}
	w.open()
	if r := ask(); !r.Success || len(r.Body) != size {
		t.Errorf("the largest body: %v, %d bytes, %s", r.Success, len(r.Body), r.Message)
	}
	size++
	if r := ask(); r.Success || !strings.Contains(r.Message, fmt.Sprint(size)) {
		t.Errorf("a larger body: %v, %s", r.Success, r.Message)
	}
	w.wantOpen()
}

func TestPingIsAnsweredByOldServersToo(t *testing.T) {
	w, _, s := metricsWorld(t, up)
	w.open()
	w.take()
	s.Ping(func(err error) { w.call("pong %v", err) })
	w.want("pong <nil>")

	w = newWorld(t)
	rpc, err := muxrpc.New(newLink(w.loop, w.client).mux, muxrpc.Options{Protocol: protocolMetrics})
	if err != nil {
		t.Fatal(err)
	}
	s = openSession(newLink(w.loop, w.scraper), w.dial())
	w.open()
	w.take()
	s.Ping(func(err error) { w.call("pong %v", err) })
	w.want("pong <nil>")
	requestOf(s, w.gotMetrics)
	w.want("no metrics: client reported: UNKNOWN_METHOD: Unknown method 'metrics'")
	rpc.Respond(methodMetrics, func(_ []byte, reply func([]byte, error)) { reply([]byte{0, 1}, nil) })
	requestOf(s, w.gotMetrics)
	w.want("no metrics: metrics reply: compact: input too short")
	rpc.Respond(methodMetrics, func(_ []byte, reply func([]byte, error)) {
		reply(MetricsReply{Success: true, Body: []byte("up 2\n# EOF\n")}.Append(nil), nil)
	})
	var page scrape.Page
	scrape.Collect(s, domain.ScrapeRequest{}, 100, func(p scrape.Page, err error) { page = p })
	w.run()
	if page.Status != 200 || page.ContentType != "application/openmetrics-text; version=1.0.0; charset=utf-8" || page.Length != 11 || string(page.Body) != "up 2\n# EOF\n" {
		t.Errorf("got %+v", page)
	}
	for _, r := range []domain.ScrapeRequest{{Target: "x"}, {Query: "a=b"}} {
		var reported *domain.ScrapeError
		scrape.Collect(s, r, 100, func(_ scrape.Page, err error) { reported, _ = errors.AsType[*domain.ScrapeError](err) })
		if w.run(); reported == nil || reported.Fault != domain.FaultRequest {
			t.Errorf("a request with %+v: %v", r, reported)
		}
	}
	s.Ping(func(err error) { w.call("pong %v", err) })
	w.scraper.Destroy(errors.New("cable cut"))
	w.want("pong cable cut; session close cable cut")
}

func TestSessionTellsOfChangesOfItsPath(t *testing.T) {
	w := newWorld(t)
	if _, err := serveMetrics(newLink(w.loop, w.client), w.metricsHandlers(up)); err != nil {
		t.Fatal(err)
	}
	d := w.dial()
	d.OnPath = func(p domain.Peer) { w.call("path %s %v %s", p.Key.Short(), p.Addr, p.Path) }
	s := openSession(newLink(w.loop, w.scraper), d)
	w.loop.Turn(w.scraper.onPath) // before it is open, OnOpen tells the path
	w.want("")
	w.open()
	w.take()
	w.scraper.addr, w.scraper.path = netip.MustParseAddrPort("203.0.113.7:1"), hyperdht.PathRelayed
	w.loop.Turn(w.scraper.onPath)
	w.want(fmt.Sprintf("path %s 203.0.113.7:1 relayed", domain.PublicKey(clientKey).Short()))
	w.scraper.detour = hyperdht.Detour{Reason: hyperdht.DetourNotFound, Ours: hyperdht.NATConsistent, Theirs: hyperdht.NATRandom, Err: hyperdht.ErrHolepunchAborted}
	if want := (domain.Detour{Reason: domain.DetourNotFound, Local: "consistent", Remote: "random", Cause: domain.CausePunchFailed}); s.Detour() != want {
		t.Errorf("the detour is %+v, want %+v", s.Detour(), want)
	}
	if w.scraper.silence = time.Minute; s.DirectSilence() != time.Minute {
		t.Errorf("the direct path is silent for %v", s.DirectSilence())
	}
	s.Close(nil)
	w.loop.Turn(w.scraper.onPath)
	w.want("session close <nil>; metrics close")

	w, _, _ = metricsWorld(t, up)
	w.open()
	w.loop.Turn(w.scraper.onPath) // no callback is set
}

func TestRequestsFailWithTheReasonOfTheEnd(t *testing.T) {
	never := func(func(MetricsReply)) {}
	for name, c := range map[string]struct {
		then func(w *world, m *metricsServer, s *session)
		want string
	}{
		"connection breaks":  {func(w *world, _ *metricsServer, _ *session) { w.scraper.Destroy(errors.New("cable cut")) }, "no metrics: cable cut; session close cable cut"},
		"client ends":        {func(w *world, m *metricsServer, _ *session) { m.Close(nil) }, "no metrics: " + errPeerEnded.Error() + "; session close <nil>"},
		"client's channel":   {func(w *world, m *metricsServer, _ *session) { m.rpc.Destroy(nil) }, "no metrics: " + errChannelClosed.Error() + "; session close " + errChannelClosed.Error()},
		"closed here":        {func(w *world, _ *metricsServer, s *session) { s.Close(nil); s.Close(nil) }, "no metrics: " + errPeerEnded.Error() + "; session close <nil>"},
		"closed here, why":   {func(w *world, _ *metricsServer, s *session) { s.Close(errors.New("bored")) }, "no metrics: bored; session close bored"},
		"nonsense in answer": {func(w *world, _ *metricsServer, s *session) { w.wire.B.Inject([]byte{1, 3, 1}) }, "no metrics: muxscrape: malformed message: "},
	} {
		t.Run(name, func(t *testing.T) {
			w, m, s := metricsWorld(t, never)
			requestOf(s, w.gotMetrics)
			w.open()
			w.take()
			w.loop.Turn(func() {
				c.then(w, m, s)
				if len(w.calls) != 0 {
					t.Errorf("called inside the call: %s", w.take())
				}
			})
			w.run()
			got := w.take()
			got = strings.ReplaceAll(strings.ReplaceAll(got, "; metrics close", ""), "metrics error muxtest: connection reset by the other end", "")
			got = strings.Trim(strings.TrimPrefix(got, "metrics close"), "; ")
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("called %s, want %s", got, c.want)
			}
		})
	}
}

func TestCancelledRequestsAreSilent(t *testing.T) {
	w, _, s := metricsWorld(t, up)
	cancel := requestOf(s, w.gotMetrics)
	cancel()
	cancel()
	w.open()
	w.want("metrics open " + scraperKey.Short() + "; session open " + clientKey.Short() + " lan; session ready")
	done := requestOf(s, w.gotMetrics)
	w.want(`metrics true "up 1\n" ""`)
	done()
	s.Close(nil)
	w.run()
	w.take()
	late := requestOf(s, w.gotMetrics)
	w.want("no metrics: " + muxscrape.ErrClosed.Error())
	late()
	requestOf(s, w.gotMetrics)()
	w.want("")
}

func TestMetricsServerEndsConnectionsWithoutChannel(t *testing.T) {
	w := newWorld(t)
	if _, err := serveMetrics(newLink(w.loop, w.client), w.metricsHandlers(up)); err != nil {
		t.Fatal(err)
	}
	m := mux.New(w.scraper)
	rpc, err := muxrpc.New(m, muxrpc.Options{Protocol: protocolMetrics})
	if err != nil {
		t.Fatal(err)
	}
	w.scraper.onOpen = func() {}
	w.open()
	w.take()
	rpc.Destroy(nil)
	w.want("metrics error " + errChannelClosed.Error() + "; metrics close")
	w.wantClosed()
}

func TestSessionGivesUpWhereThereAreNoMetrics(t *testing.T) {
	w := newWorld(t)
	newLink(w.loop, w.client)
	requestOf(openSession(newLink(w.loop, w.scraper), w.dial()), w.gotMetrics)
	w.open()
	why := errNotAccepted.Error()
	w.want("session open " + clientKey.Short() + " lan; no metrics: " + why + "; session close " + why)
	w.wantClosed()
}

func TestReplyIsReportedBeforeTheRegistrationSucceeds(t *testing.T) {
	for _, listens := range []bool{true, false} {
		w := newWorld(t)
		if _, err := serveAliases(newLink(w.loop, w.scraper), Config{MaxName: 100}, w.aliasHandlers(func(_ ports.AliasRequest, reply func(ports.AliasReply)) {
			reply(ports.AliasReply{Success: true, Shared: true, Elsewhere: true})
		})); err != nil {
			t.Fatal(err)
		}
		r := w.registration()
		r.OnOpen = nil
		if listens {
			r.OnShared, r.OnElsewhere = func() { w.call("shared") }, func() { w.call("elsewhere") }
		}
		register(newLink(w.loop, w.client), methodAlias, r, nil, w.registered)
		w.open()
		if got := w.take(); strings.Contains(got, "shared; elsewhere; registered false <nil>") != listens || !strings.Contains(got, "registered false <nil>") {
			t.Errorf("listens %v: called %s", listens, got)
		}
	}
}

// The error is reported in a later turn, before which the caller may have canceled.
func TestCancelledRegistrationWithoutAChannelIsSilent(t *testing.T) {
	w := newWorld(t)
	l := newLink(w.loop, w.client)
	register(l, methodAlias, w.registration(), nil, w.registered)
	register(l, methodAlias, w.registration(), nil, w.registered)()
	w.loop.Turn(func() {})
	if got := w.take(); got != "" {
		t.Errorf("called %s", got)
	}
}

func TestConnectionHasOneMetricsServer(t *testing.T) {
	w := newWorld(t)
	l := newLink(w.loop, w.client)
	if _, err := serveMetrics(l, w.metricsHandlers(up)); err != nil {
		t.Fatal(err)
	}
	if s, err := serveMetrics(l, w.metricsHandlers(up)); s != nil || err == nil {
		t.Errorf("a second one: %v, %v", s, err)
	}
}

func TestSizesOfRepliesAreThoseOfTheirEncodings(t *testing.T) {
	for _, m := range []AliasReply{
		{}, {Message: "no"}, {Message: strings.Repeat("x", 300)}, {Message: "no", Accepted: true},
		{Success: true}, {Success: true, Updated: true, Message: "not written"}, {Success: true, Accepted: true}, {Success: true, Shared: true, Message: "x"},
		{Success: true, Elsewhere: true}, {Message: "no", Elsewhere: true},
	} {
		if got := len(m.Append(nil)); got != m.Size() {
			t.Errorf("%+v: %d bytes, %d are announced", m, got, m.Size())
		}
	}
}

func TestNATIsJudgedByWhatOthersSee(t *testing.T) {
	seen, many := netip.MustParseAddrPort("192.0.2.1:5"), netip.MustParseAddrPort("192.0.2.1:0")
	for want, s := range map[string]hyperdht.Status{
		"unknown": {Firewalled: true}, "open": {Public: seen}, "random": {Public: many, Firewalled: true}, "consistent": {Public: seen, Firewalled: true},
	} {
		if got := natOf(s); got != want {
			t.Errorf("%+v: %s, want %s", s.Public, got, want)
		}
	}
}
