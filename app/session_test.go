package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

func (w *world) session(n byte, on func(domain.Event)) *app.Session {
	w.t.Helper()
	s, err := app.NewSession(app.SessionConfig{
		Host: w.loop, Transport: portstest.NewTransport(w.net), Keys: pair(1), Client: pair(n).Public, OnEvent: on,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// ask requests a page over a session.
func ask(s *app.Session, done func(error)) (cancel func()) {
	return scrape.Collect(s, domain.ScrapeRequest{}, domain.MaxBody, func(_ scrape.Page, err error) { done(err) })
}

// request requests a page over a session and waits.
func (w *world) request(s *app.Session) (page scrape.Page, took time.Duration, err error) {
	w.t.Helper()
	finished, start := false, w.loop.Now()
	w.loop.Turn(func() {
		scrape.Collect(s, domain.ScrapeRequest{}, domain.MaxBody, func(p scrape.Page, e error) { finished, page, err = true, p, e })
	})
	if !w.loop.Until(time.Minute, func() bool { return finished }) {
		w.t.Fatal("the request hangs")
	}
	return page, w.loop.Now().Sub(start), err
}

func TestSessionByItselfScrapesOneClient(t *testing.T) {
	w := newWorld(t)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	var told events
	s := w.session(2, told.add)
	page, _, err := w.request(s) // starts it
	if err != nil || page.Status != 200 || !strings.HasPrefix(string(page.Body), "up 1") {
		t.Errorf("page %+v, %v", page, err)
	}
	if p, ok := s.Peer(); !ok || p.Key != c.PublicKey() || s.State() != domain.SessionOpen || s.LastError() != nil {
		t.Errorf("peer %+v, state %s", p, s.State())
	}
	c.source.Err = errors.New("broken")
	var reported *domain.ScrapeError
	if _, _, err = w.request(s); !errors.As(err, &reported) || reported.Fault != domain.FaultExporter || !strings.Contains(reported.Reason, "uid") {
		t.Errorf("a failing client: %v", err)
	}
	w.loop.Turn(s.Close)
	w.loop.Turn(s.Close)
	if _, _, err := w.request(s); !errors.Is(err, domain.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	wantNames(t, told.names(), "connection-open", "connection-close")
	if a, b := of[domain.ConnectionOpen](told)[0], of[domain.ConnectionClose](told)[0]; a.UID != b.UID || !a.Peer.Addr.IsValid() {
		t.Error("open and close differ")
	}
}

func TestSessionWithoutItsClientFailsWithTheReason(t *testing.T) {
	w := newWorld(t)
	s := w.session(2, nil)
	if _, took, err := w.request(s); !errors.Is(err, domain.ErrNotConnected) || !errors.Is(err, portstest.ErrPeerNotFound) || took > time.Second {
		t.Errorf("after %s: %v", took, err)
	}
}

// silentTransport never calls back: a network without answers.
type silentTransport struct{ ports.Transport }

type silentSession struct{}

func (silentTransport) DialMetrics(ports.MetricsDial) ports.MetricsSession { return silentSession{} }
func (silentTransport) RegisterAlias(ports.Registration, func(bool, error)) func() {
	return func() {}
}
func (silentSession) Scrape(domain.ScrapeRequest, ports.ScrapeHandlers) ports.Scrape {
	return portstest.Nothing{}
}
func (silentSession) Ping(func(error)) func()      { return func() {} }
func (silentSession) Idle() bool                   { return false }
func (silentSession) Peer() domain.Peer            { return domain.Peer{} }
func (silentSession) Answered() bool               { return false }
func (silentSession) DirectSilence() time.Duration { return 0 }
func (silentSession) Detour() domain.Detour        { return domain.Detour{} }
func (silentSession) Stats() domain.LinkStats      { return domain.LinkStats{} }
func (silentSession) Version() string              { return "" }
func (silentSession) Release()                     {}
func (silentSession) Close(error)                  {}

// Issue row 6.2: a deadline on every wait.
func TestNothingHangsOnANetworkThatNeverAnswers(t *testing.T) {
	w := newWorld(t)
	var told events
	s, err := app.NewSession(app.SessionConfig{
		Host: w.loop, Transport: silentTransport{portstest.NewTransport(w.net)}, Keys: pair(1), Client: pair(2).Public, OnEvent: told.add,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, took, err := w.request(s); !errors.Is(err, domain.ErrTimeout) || took != 5*time.Second || !strings.Contains(err.Error(), "the connection") {
		t.Errorf("request: after %s, %v", took, err)
	}
	w.loop.Advance(10 * time.Minute)
	if waits := of[domain.SessionWait](told); len(waits) < 6 || !errors.Is(waits[0].Err, domain.ErrTimeout) {
		t.Errorf("dials given up: %+v", waits)
	}
	c := w.startClient("web", 3, func(cfg *app.ClientConfig) { cfg.Transport = silentTransport{cfg.Transport.(ports.Transport)} })
	w.loop.Advance(10 * time.Minute)
	if failed := of[domain.RegisterAliasError](c.events); len(failed) < 6 || !errors.Is(failed[0].Err, domain.ErrTimeout) {
		t.Errorf("registrations given up: %+v", failed)
	}
}

func TestScrapesOfOneClientAreBounded(t *testing.T) {
	w := newWorld(t)
	s, err := app.NewSession(app.SessionConfig{
		Host: w.loop, Transport: silentTransport{portstest.NewTransport(w.net)}, Keys: pair(1), Client: pair(2).Public,
	})
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	w.loop.Turn(func() {
		for range 100 {
			ask(s, func(err error) {
				if err != nil {
					failed++
				}
			})
		}
	})
	if failed != 36 {
		t.Errorf("%d of 100 were refused at once", failed)
	}
}

func TestSameSeedSameRun(t *testing.T) {
	run := func() string {
		w := newWorld(t)
		w.startScraper(nil)
		var out strings.Builder
		for i := range 20 {
			c := w.startClient(fmt.Sprintf("c%02d", i), byte(10+i), nil)
			w.loop.Advance(100 * time.Millisecond)
			if i%3 == 0 {
				w.net.Cut(c.PublicKey(), true)
			}
		}
		w.loop.Advance(10 * time.Minute)
		w.closeScraper()
		for _, e := range w.events {
			r := e.LogRecord()
			fmt.Fprintln(&out, r.Name, r.Attrs)
		}
		return out.String()
	}
	if a, b := run(), run(); a != b || len(a) < 1000 {
		t.Error("two runs with one seed differ")
	}
}

// Issue row 6.25: debug events at one level only, and stray braces in log lines.
func TestEventsAreLoggedWithoutSecrets(t *testing.T) {
	w := newWorld(t)
	var out bytes.Buffer
	log := app.LogEvents(w.loop, slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	w.startScraper(func(c *app.ScraperConfig) { c.OnEvent = log })
	w.startClient("web\"quoted", 2, func(c *app.ClientConfig) { c.OnEvent = log })
	w.loop.Advance(time.Second)
	w.mustScrape("web\"quoted")
	text := out.String()
	for _, want := range []string{
		"msg=alias-success", "msg=register-alias-success", "updated=true", "msg=metrics-success", `alias="web\"quoted"`, "level=DEBUG",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the log does not have %s", want)
		}
	}
	if strings.Contains(text, secret.RevealText()) || strings.Contains(text, "5 6 7") {
		t.Error("the log has the secret")
	}
}

// An answered request leaves no timer that waits for its end.
func TestAnsweredRequestsLeaveNoTimer(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.startClient("web", 2, nil)
	w.loop.Advance(time.Minute)
	w.mustScrape("web")
	before := w.loop.Timers()
	for range 5 {
		w.mustScrape("web")
	}
	if after := w.loop.Timers(); after > before {
		t.Errorf("%d timers after five scrapes more, there were %d", after, before)
	}
}

func TestSessionConfigSaysWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	good := app.SessionConfig{Host: w.loop, Transport: portstest.NewTransport(w.net), Keys: pair(1), Client: pair(2).Public}
	if s, err := app.NewSession(good); err != nil || s.State() != domain.SessionWaiting {
		t.Errorf("a good configuration: %v", err)
	}
	for field, spoil := range map[string]func(*app.SessionConfig){
		"Host":           func(c *app.SessionConfig) { c.Host = nil },
		"Transport":      func(c *app.SessionConfig) { c.Transport = nil },
		"Keys":           func(c *app.SessionConfig) { c.Keys = domain.KeyPair{} },
		"Client":         func(c *app.SessionConfig) { c.Client = domain.PublicKey{} },
		"RequestTimeout": func(c *app.SessionConfig) { c.RequestTimeout = time.Microsecond },
		"Retry.Min":      func(c *app.SessionConfig) { c.Retry.Min = -1 },
		"Retry.Max":      func(c *app.SessionConfig) { c.Retry.Min, c.Retry.Max = time.Second, time.Millisecond },
	} {
		cfg := good
		spoil(&cfg)
		s, err := app.NewSession(cfg)
		if wrong, ok := errors.AsType[*app.ConfigError](err); !ok || wrong.Field != field || wrong.Want == "" || s != nil {
			t.Errorf("%s: %v", field, err)
		}
	}
}
