package app_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

func TestClientRegistersAndIsScraped(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	w.mustScrape("web")

	ok := of[domain.RegisterAliasSuccess](c.events)
	if len(ok) != 1 || !ok[0].Updated || ok[0].Alias != "web" || ok[0].Scraper != pair(1).Public {
		t.Errorf("registrations: %+v", ok)
	}
	// The scraper may have dialled before its answer to the registration arrived.
	wantNames(t, c.events.names("alias-attempt", "register-alias-success"), "alias-attempt", "register-alias-success")
	wantNames(t, c.events.names("connection-open", "metrics-request", "metrics-success"), "connection-open", "metrics-request", "metrics-success")
	open, request := of[domain.ConnectionOpen](c.events)[0], of[domain.MetricsRequest](c.events)[0]
	success := of[domain.MetricsSuccess](c.events)[0]
	if open.UID != request.UID || open.UID != success.UID || open.UID == (domain.UID{}) || success.Bytes == 0 {
		t.Error("the events of one connection do not share its uid")
	}
	if open.Peer.Key != pair(1).Public || !open.Peer.Addr.IsValid() {
		t.Errorf("the open connection is to %+v", open.Peer)
	}
	if s := c.Status(); !s.Listening || !s.Registered || s.Connections != 1 || s.Requests != 1 || s.Registrations != 1 {
		t.Errorf("status %+v", s)
	}
}

func TestUIDsAreUniquePerConnection(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	seen := map[domain.UID]bool{}
	for range 5 {
		w.loop.Advance(2 * time.Minute)
		w.net.Break(c.PublicKey())
	}
	w.loop.Advance(0)
	for _, e := range of[domain.ConnectionOpen](c.events) {
		seen[e.UID] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d uids on 5 connections", len(seen))
	}
	if opens, closes := len(of[domain.ConnectionOpen](c.events)), len(of[domain.ConnectionClose](c.events)); closes != opens {
		t.Errorf("%d opened, %d closed", opens, closes)
	}
}

func TestOnlyTheScraperPassesTheFirewall(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	var end error
	stranger := pair(99)
	w.loop.Turn(func() {
		portstest.NewTransport(w.net).DialMetrics(ports.MetricsDial{
			Keys: stranger, Client: c.PublicKey(),
			OnOpen: func(domain.Peer) { t.Error("a stranger got in") }, OnReady: func() {},
			OnClose: func(err error) { end = err },
		})
	})
	w.loop.Advance(time.Second)
	if !errors.Is(end, portstest.ErrRefused) {
		t.Errorf("the stranger saw %v", end)
	}
	blocked := of[domain.FirewallBlock](c.events)
	if len(blocked) != 1 || blocked[0].RemoteKey != stranger.Public || !blocked[0].Addr.IsValid() || blocked[0].Payload.Version != 1 {
		t.Errorf("blocked: %+v", blocked)
	}
	if c.source.Asked != 0 || c.Status().Blocked != 1 {
		t.Error("the stranger cost a collection, or was not counted")
	}
}

func TestFailingSourceGivesTheScraperOnlyTheUID(t *testing.T) {
	for _, texts := range []bool{false, true} {
		w := newWorld(t)
		w.net.Texts = texts
		w.startScraper(nil)
		c := w.startClient("web", 2, nil)
		c.source.Err = errors.New("cannot open /etc/shadow: password hunter2")
		w.loop.Advance(time.Second)
		_, _, err := w.scrape("web", 0)
		failed := of[domain.MetricsError](c.events)
		if len(failed) != 1 || !errors.Is(failed[0].Err, c.source.Err) {
			t.Fatalf("metrics errors: %+v", failed)
		}
		want, got := "failed to obtain metrics (uid "+failed[0].UID.String()+")", ""
		if remote, ok := errors.AsType[*domain.RemoteError](err); ok && texts {
			want, got = "F"+want[1:], remote.Message
		}
		if reported, ok := errors.AsType[*domain.ScrapeError](err); ok && !texts && reported.Fault == domain.FaultExporter {
			got = reported.Reason
		}
		if got != want {
			t.Errorf("the scraper received %v, want %q", err, want)
		}
		if c.Status().RequestsFailed != 1 {
			t.Error("the failure was not counted")
		}
		c.source.Err = nil
		w.mustScrape("web")
	}
}

// What a source reports as a failure of the exporter is for the scraper's operator, and a status with its first line.
func TestFailureOfTheExporterReachesTheScraper(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	c.source.Err = &domain.ScrapeError{Fault: domain.FaultExporter, Reason: "exporter refused the connection"}
	if _, _, err := w.scrape("web", 0); err == nil || err.Error() != "exporter refused the connection" {
		t.Errorf("refused: %v", err)
	}
	c.source.Err, c.source.Status, c.source.Body = nil, 503, []byte("\n\x1b overloaded\nmore\n")
	const want = "exporter answered 503: overloaded"
	if _, _, err := w.scrape("web", 0); err == nil || err.Error() != want {
		t.Errorf("status: %v", err)
	}
	failed, last := of[domain.MetricsError](c.events), w.status("web").Scrape
	if len(failed) != 2 || failed[1].Err.Error() != want || last.Err == nil || last.Err.Error() != want {
		t.Errorf("the client logs %+v, the scraper shows %v", failed, last.Err)
	}
	if failed := w.scraper.Stats().ScrapesFailed; failed[domain.ReasonExporter] != 2 {
		t.Errorf("counted as %v", failed)
	}
}

// An exporter that hangs for a while is scraped again with the next scrape.
func TestHangLeavesNoScrapesBehind(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	for second := range 40 {
		c.source.Silent = second >= 10 && second < 22
		begin := w.loop.Now()
		_, _, err := w.scrape("web", 900*time.Millisecond)
		if late := errors.Is(err, domain.ErrTimeout); late != c.source.Silent || err != nil && !late {
			t.Errorf("second %d: %v", second, err)
		}
		w.loop.Advance(time.Second - w.loop.Now().Sub(begin))
	}
	if c.source.Canceled != 12 {
		t.Errorf("%d of the exporter's requests were cancelled", c.source.Canceled)
	}
}

// A page may be larger than a message.
func TestPageMayBeLargerThanAMessage(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	c.source.Body = make([]byte, 2*domain.MaxBody)
	if body, _, err := w.scrape("web", time.Minute); err != nil || len(body) != 2*domain.MaxBody {
		t.Errorf("%d bytes, %v", len(body), err)
	}
}

// Scrapes with parameters are scrapes of different things, which run at once.
func TestProbesRunAtOnce(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	c.source.Silent = true
	var runs []ports.Scrape
	w.loop.Turn(func() {
		for i := range 40 {
			runs = append(runs, w.scraper.Request("web", domain.ScrapeRequest{Query: fmt.Sprintf("target=%d", i), Within: time.Minute}, ports.ScrapeHandlers{
				OnEnd: func(err error) { t.Errorf("probe %d: %v", i, err) },
			}))
		}
	})
	w.loop.Advance(time.Second)
	if c.source.Asked != 32 {
		t.Errorf("%d run", c.source.Asked)
	}
	w.loop.Turn(func() {
		for _, r := range runs[:8] {
			r.Cancel()
		}
	})
	w.loop.Advance(time.Second)
	if c.source.Asked != 40 || c.source.Canceled != 8 || c.source.Last.Query != "target=39" {
		t.Errorf("%d run, %d were cancelled, the last is %q", c.source.Asked, c.source.Canceled, c.source.Last.Query)
	}
	w.loop.Turn(func() {
		for _, r := range runs {
			r.Cancel()
		}
	})
	w.loop.Advance(time.Second)
	c.Sizes(func(what string, held, _ int) {
		if strings.HasPrefix(what, "collections") && held != 0 {
			t.Errorf("%s: %d", what, held)
		}
	})
}

// The time that a scrape has left goes to the exporter; what the caller gives up ends there.
func TestScrapeTakesItsTimeAndItsCancelToTheSource(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	c.source.Silent = true
	for i := range 12 {
		_, took, err := w.scrape("web", 300*time.Millisecond)
		if !errors.Is(err, domain.ErrTimeout) || took > 301*time.Millisecond {
			t.Fatalf("a silent source: %v after %s", err, took)
		}
		if left := c.source.Last.Within; left <= 0 || left > 300*time.Millisecond {
			t.Errorf("the source has %s", left)
		}
		w.loop.Advance(100 * time.Millisecond)
		if c.source.Asked != i+1 || c.source.Canceled != i+1 {
			t.Fatalf("%d collections, %d cancelled", c.source.Asked, c.source.Canceled)
		}
	}
	// One runs, and the others wait.
	var ended []error
	var cancels []func()
	w.loop.Turn(func() {
		for range 2 {
			cancels = append(cancels, w.scraper.Scrape("web", time.Minute, func(_ []byte, err error) { ended = append(ended, err) }))
		}
	})
	w.loop.Advance(time.Second)
	if len(ended) != 0 || c.source.Asked != 13 {
		t.Errorf("of two at once %v failed, %d run", ended, c.source.Asked-12)
	}
	w.loop.Turn(cancels[0])
	w.loop.Advance(time.Second)
	if c.source.Asked != 14 || c.source.Canceled != 13 {
		t.Errorf("%d collections, %d cancelled", c.source.Asked, c.source.Canceled)
	}
	if left := c.source.Last.Within; left > 59*time.Second || left < 58*time.Second {
		t.Errorf("the one that waited has %s left", left)
	}
	w.loop.Turn(cancels[1])
	w.loop.Advance(time.Second)
	if c.source.Canceled != 14 || len(ended) != 0 {
		t.Errorf("%d cancelled, %v", c.source.Canceled, ended)
	}
	c.source.Silent = false
	w.mustScrape("web")
}

// Issue row 6.19: a body of 16 MiB or more ends the JavaScript client's connection.
func TestBodyPastTheFrameIsRefusedWithItsSizeAndTheConnectionLives(t *testing.T) {
	w := newWorld(t)
	w.net.Texts = true
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	small := c.source.Body
	c.source.Body = make([]byte, domain.MaxBody+1)
	_, _, err := w.scrape("web", 0)
	if remote, ok := errors.AsType[*domain.RemoteError](err); !ok || !strings.Contains(remote.Message, "16777135") {
		t.Errorf("error %v", err)
	}
	large, ok := errors.AsType[*domain.BodyTooLargeError](of[domain.MetricsError](c.events)[0].Err)
	if !ok || large.Size != domain.MaxBody+1 {
		t.Errorf("the client's own error is %v", large)
	}
	c.source.Body = make([]byte, domain.MaxBody)
	if body, _, err := w.scrape("web", 0); err != nil || len(body) != domain.MaxBody {
		t.Errorf("the largest body: %d bytes, %v", len(body), err)
	}
	c.source.Body = small
	w.mustScrape("web")
	if n := len(of[domain.ConnectionClose](c.events)); n != 0 {
		t.Errorf("%d connections were closed", n)
	}
}

// Issue row 6.3: a failed registration is retried only after an hour.
func TestFailedRegistrationIsRetriedWithBackoff(t *testing.T) {
	w := newWorld(t)
	c := w.startClient("web", 2, nil) // no scraper runs yet
	w.loop.Advance(30 * time.Minute)
	failed := of[domain.RegisterAliasError](c.events)
	if len(failed) < 30 || len(failed) > 70 {
		t.Errorf("%d attempts in half an hour", len(failed))
	}
	for i, e := range failed {
		if e.RetryIn < time.Second || e.RetryIn > time.Minute || !e.ConnectionFailed || !errors.Is(e.Err, portstest.ErrPeerNotFound) {
			t.Fatalf("attempt %d: %+v", i, e)
		}
	}
	if failed[0].RetryIn != time.Second || failed[len(failed)-1].RetryIn < 30*time.Second {
		t.Errorf("waits went from %s to %s", failed[0].RetryIn, failed[len(failed)-1].RetryIn)
	}
	w.startScraper(nil)
	w.loop.Advance(time.Minute)
	w.mustScrape("web")
	if s := c.Status(); !s.Registered || s.LastError != nil {
		t.Errorf("status %+v", s)
	}
}

func TestScraperDownForSecondsIsFoundAgainInSeconds(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.closeScraper()
	c := w.startClient("web", 2, nil)
	w.loop.Advance(5 * time.Second)
	w.startScraper(nil)
	w.loop.Advance(8 * time.Second)
	if !c.Status().Registered {
		t.Error("not registered 8 s after the scraper came back")
	}
}

// Issue row 6.2: the JavaScript's registration waits without limit for a channel that never opens.
func TestRegistrationWithAHalfDeadScraperIsBounded(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.net.Mute(pair(1).Public, true)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(15 * time.Second)
	failed := of[domain.RegisterAliasError](c.events)
	if len(failed) == 0 || !errors.Is(failed[0].Err, domain.ErrTimeout) || !strings.Contains(failed[0].Err.Error(), "answer to the registration") {
		t.Fatalf("failures: %+v", failed)
	}
	w.net.Mute(pair(1).Public, false)
	w.loop.Advance(time.Minute)
	w.mustScrape("web")
}

// cancelled counts cancelled registrations.
type cancelled struct {
	ports.ClientTransport
	begun, cancelled int
}

func (c *cancelled) RegisterAlias(r ports.Registration, done func(bool, error)) func() {
	c.begun++
	cancel := c.ClientTransport.RegisterAlias(r, done)
	return func() { c.cancelled++; cancel() }
}

// A registration without an answer must not hold a connection until the scraper closes it.
func TestRegistrationThatIsNotAnsweredIsCancelled(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.net.Mute(pair(1).Public, true)
	transport := &cancelled{}
	c := w.startClient("web", 2, func(cfg *app.ClientConfig) {
		transport.ClientTransport = cfg.Transport
		cfg.Transport = transport
	})
	w.loop.Until(time.Minute, func() bool { return len(of[domain.RegisterAliasError](c.events)) > 0 })
	if transport.begun != 1 || transport.cancelled != 1 {
		t.Errorf("%d registrations begun, %d cancelled", transport.begun, transport.cancelled)
	}
}

func TestAliasIsRegisteredAgainEachHour(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(3*time.Hour + time.Minute)
	ok := of[domain.RegisterAliasSuccess](c.events)
	if len(ok) != 4 {
		t.Fatalf("%d registrations in three hours", len(ok))
	}
	for i, e := range ok {
		if e.Updated != (i == 0) {
			t.Errorf("registration %d: updated %t", i, e.Updated)
		}
	}
	if n := w.net.Links(pair(1).Public); n != 0 {
		t.Errorf("%d registration connections are left open", n)
	}
}

func TestRefusedRegistrationSaysWhyAndIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, func(cfg *app.ClientConfig) { cfg.Secret = domain.SecretFrom([32]byte{66}) })
	w.loop.Advance(10 * time.Second)
	failed := of[domain.RegisterAliasError](c.events)
	if len(failed) < 2 || failed[0].ConnectionFailed || !strings.Contains(failed[0].Err.Error(), "Unauthorised") {
		t.Errorf("failures: %+v", failed)
	}
	if len(w.aliases()) != 0 {
		t.Error("the alias was registered with a wrong secret")
	}
	unauthorised := of[domain.AliasUnauthorised](w.events)
	if len(unauthorised) == 0 || unauthorised[0].Register.Alias != "web" || !unauthorised[0].Peer.Addr.IsValid() {
		t.Errorf("unauthorised: %+v", unauthorised)
	}
}

// Issue row 6.21: one key pair for registrations and the metrics server breaks the JavaScript client.
func TestRegistrationsUnderTheServersOwnKeyWork(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, func(cfg *app.ClientConfig) {
		cfg.DialKeys = cfg.Keys
		cfg.RegisterInterval = 10 * time.Second
	})
	for range 20 {
		w.loop.Advance(7 * time.Second)
		w.mustScrape("web")
	}
	if s := c.Status(); s.RegistrationsFailed != 0 || s.Registrations < 10 {
		t.Errorf("status %+v", s)
	}
	if n := len(of[domain.ConnectionClose](c.events)); n != 0 {
		t.Errorf("%d scrape connections were closed", n)
	}
}

func TestRegistrationDialsUnderAKeyOfItsOwn(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	request := of[domain.AliasRequest](w.events)
	if len(request) != 1 || request[0].Peer.Key == c.PublicKey() || request[0].Register.Key != c.PublicKey() {
		t.Errorf("requests: %+v", request)
	}
}

// Issue row 6.18: a client that stops stays listed for hours.
func TestClosedClientLeavesTheTable(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	c.close()
	if got := w.aliases(); len(got) != 0 || len(w.disk.Entries) != 0 {
		t.Errorf("still listed: %v", got)
	}
	if w.net.Links(c.PublicKey()) != 0 {
		t.Error("the scraper still holds a connection")
	}
	w.loop.Advance(time.Second)
	if len(w.targets.Entries) != 0 || w.targets.Writes == 0 {
		t.Error("still in the targets file")
	}
	w.closeScraper()
	if n := w.loop.Timers(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

// mutter is a transport whose goodbyes end in some way, or never.
type mutter struct {
	ports.ClientTransport
	loop host.Host
	err  error
	none bool
}

func (m mutter) LeaveAlias(_ ports.Registration, done func(error)) (cancel func()) {
	if !m.none {
		m.loop.Post(func() { done(m.err) })
	}
	return func() {}
}

func TestGoodbyeThatDoesNotArriveIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		end  mutter
		told int
	}{
		"arrives":                         {mutter{}, 0},
		"no answer":                       {mutter{none: true}, 1},
		"no connection":                   {mutter{err: &ports.ConnectionError{Err: errors.New("no way")}}, 1},
		"refused":                         {mutter{err: &domain.RemoteError{Message: domain.Unauthorised, Scraper: true}}, 1},
		"a scraper that knows no goodbye": {mutter{err: &domain.RemoteError{Message: "UNKNOWN_METHOD", Scraper: true, Unknown: true}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.startScraper(nil)
			one := w.startClient("web", 2, func(cfg *app.ClientConfig) {
				c.end.ClientTransport, c.end.loop = cfg.Transport, w.loop
				cfg.Transport = c.end
			})
			w.loop.Advance(time.Second)
			one.close()
			told := of[domain.LeaveAliasError](one.events)
			if len(told) != c.told {
				t.Fatalf("told %v", told)
			}
			if c.told == 1 && (told[0].Alias != "web" || told[0].Scraper != pair(1).Public || told[0].Err == nil) {
				t.Errorf("told %+v", told[0])
			}
		})
	}
}

// A scraper that rejected every registration has nothing to remove, and the log does not claim that it lists the alias.
func TestRefusedClientSaysNoGoodbye(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, func(cfg *app.ClientConfig) { cfg.Secret = domain.SecretFrom([32]byte{66}) })
	w.loop.Advance(10 * time.Second)
	before := len(of[domain.AliasUnauthorised](w.events))
	c.close()
	if told := of[domain.LeaveAliasError](c.events); len(told) != 0 || len(of[domain.AliasUnauthorised](w.events)) != before {
		t.Errorf("told %+v, %d refusals and then %d", told, before, len(of[domain.AliasUnauthorised](w.events)))
	}
}

// A client that was registered before its secret was revoked says goodbye: the scraper lists its alias, and the log reports it.
func TestClientThatIsRefusedLaterSaysGoodbye(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Minute)
	if err := w.scraper.SetSecrets([]domain.Secret{domain.SecretFrom([32]byte{77})}); err != nil {
		t.Fatal(err)
	}
	w.loop.Advance(2 * time.Hour)
	if n := len(of[domain.RegisterAliasError](c.events)); n == 0 {
		t.Fatal("it was not refused")
	}
	c.close()
	if got, told := w.aliases(), of[domain.LeaveAliasError](c.events); len(got) != len(told) || len(told) != 1 {
		t.Errorf("listed: %v; told %+v", got, told)
	}
}

// The scraper may have the alias before the answer reaches the client.
func TestClientThatStopsWhileItRegistersSaysGoodbye(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	if !w.loop.Until(time.Minute, func() bool { return len(w.aliases()) == 1 }) || c.Status().Registrations != 0 {
		t.Fatal("the client knows already")
	}
	c.close()
	if got := w.aliases(); len(got) != 0 {
		t.Errorf("still listed: %v", got)
	}
}

// unopened is a transport whose registrations reach the scraper before the client sees a connection, or, with none, that finds no path.
type unopened struct {
	ports.ClientTransport
	none bool
	left *int // goodbyes
}

func (u unopened) RegisterAlias(r ports.Registration, done func(bool, error)) (cancel func()) {
	if u.none {
		return func() {}
	}
	r.OnOpen = nil
	return u.ClientTransport.RegisterAlias(r, done)
}

func (u unopened) LeaveAlias(r ports.Registration, done func(error)) (cancel func()) {
	*u.left++
	return u.ClientTransport.LeaveAlias(r, done)
}

// The scraper may have the alias before its first packet reaches the client.
func TestClientThatStopsBeforeItsConnectionOpensSaysGoodbye(t *testing.T) {
	for name, start := range map[string]func(*world, func(*app.ClientConfig)) *testClient{
		"alias": func(w *world, change func(*app.ClientConfig)) *testClient { return w.startClient("a", 2, change) },
		"set":   func(w *world, change func(*app.ClientConfig)) *testClient { return w.startSet(change, "a", "b") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var scrapers []*app.Scraper
			for _, key := range []byte{1, 11} {
				w.disk, w.targets = portstest.NewDisk(), portstest.NewTargets(w.loop)
				w.startScraper(func(c *app.ScraperConfig) { c.Keys = pair(key) })
				scrapers = append(scrapers, w.scraper)
			}
			left := 0
			c := start(w, func(cfg *app.ClientConfig) {
				cfg.Scrapers = []app.ClientScraper{{Key: pair(11).Public, Secret: secret}}
				cfg.Transport = unopened{ClientTransport: cfg.Transport, left: &left}
			})
			listed := func() (n int) {
				for _, s := range scrapers {
					n += len(s.Aliases())
				}
				return n
			}
			if !w.loop.Until(time.Minute, func() bool { return listed() >= 2 }) || c.Status().Registrations != 0 {
				t.Fatal("the client knows already")
			}
			c.close()
			if n, told := listed(), of[domain.LeaveAliasError](c.events); n != 0 || left != 2 || len(told) != 0 {
				t.Errorf("%d are still listed after %d goodbyes, told %v", n, left, told)
			}
		})
	}
}

// Nothing has reached a scraper to which no path is found, so nothing is said to it, and closing does not wait for it.
func TestClientWithoutAPathSaysNoGoodbye(t *testing.T) {
	w := newWorld(t)
	left, closed := 0, false
	c := w.startClient("web", 2, func(cfg *app.ClientConfig) {
		cfg.Transport = unopened{ClientTransport: cfg.Transport, none: true, left: &left}
	})
	w.loop.Advance(20 * time.Second)
	w.loop.Turn(func() { c.Close(func() { closed = true }) })
	w.loop.Advance(100 * time.Millisecond)
	if !closed || left != 0 {
		t.Errorf("closed %t, %d goodbyes", closed, left)
	}
}

func TestGoodbyeOfAFormerOwnerIsTooLate(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	old := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	w.startClient("web", 3, nil)
	w.loop.Advance(time.Second)
	old.close()
	w.loop.Advance(time.Second)
	w.mustScrape("web")
}

func TestClientClosesWhileItsScraperIsGone(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	w.net.Mute(pair(1).Public, true)
	c.close() // fails after 5 s
	before := w.startClient("other", 3, nil)
	before.close() // never registered: no goodbye
}

func TestHangingSourceIsBoundedAndCannotPileUp(t *testing.T) {
	w := newWorld(t)
	w.net.Texts = true
	w.startScraper(nil)
	c := w.startClient("web", 2, func(cfg *app.ClientConfig) { cfg.CollectTimeout = 20 * time.Second })
	w.loop.Advance(time.Second)
	c.source.Silent = true
	for range 12 {
		if _, _, err := w.scrape("web", 100*time.Millisecond); err == nil {
			t.Fatal("a silent source gave metrics")
		}
	}
	if c.source.Asked != 8 {
		t.Errorf("%d collections run at once", c.source.Asked)
	}
	w.loop.Advance(30 * time.Second) // the eight time out, and the four that waited begin
	if c.source.Canceled != 8 || c.source.Asked != 12 {
		t.Errorf("%d collections were cancelled and %d asked for, want 8 and 12", c.source.Canceled, c.source.Asked)
	}
	w.loop.Advance(30 * time.Second)
	c.source.Silent = false
	w.mustScrape("web")
}

func TestCollectionEndsWithItsConnection(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	c.source.Silent = true
	w.loop.Turn(func() { w.scraper.Scrape("web", time.Second, func([]byte, error) {}) })
	w.loop.Advance(100 * time.Millisecond)
	w.net.Break(c.PublicKey())
	w.loop.Advance(100 * time.Millisecond)
	if c.source.Asked != 1 || c.source.Canceled != 1 {
		t.Errorf("asked %d, cancelled %d", c.source.Asked, c.source.Canceled)
	}
	c.source.Silent = false
	w.loop.Advance(5 * time.Second)
	w.mustScrape("web")
}

func TestClientConfigSaysWhatIsWrong(t *testing.T) {
	loop := portstest.NewLoop(1)
	good := app.ClientConfig{
		Host: loop, Transport: portstest.NewTransport(portstest.NewNetwork(loop)), Source: portstest.NewSource(loop, ""),
		Scraper: pair(1).Public, Secret: secret, Alias: "a",
	}
	if c, err := app.NewClient(good); err != nil || c.PublicKey().IsZero() {
		t.Errorf("a good configuration: %v", err)
	}
	for field, spoil := range map[string]func(*app.ClientConfig){
		"Host":             func(c *app.ClientConfig) { c.Host = nil },
		"Transport":        func(c *app.ClientConfig) { c.Transport = nil },
		"Source":           func(c *app.ClientConfig) { c.Source = nil },
		"Scraper":          func(c *app.ClientConfig) { c.Scraper = domain.PublicKey{} },
		"Secret":           func(c *app.ClientConfig) { c.Secret = domain.Secret{} },
		"Alias":            func(c *app.ClientConfig) { c.Alias = "" },
		"Service":          func(c *app.ClientConfig) { c.Service = "a\nb" },
		"Hostname":         func(c *app.ClientConfig) { c.Hostname = strings.Repeat("h", 300) },
		"RegisterInterval": func(c *app.ClientConfig) { c.RegisterInterval = time.Millisecond },
		"CollectTimeout":   func(c *app.ClientConfig) { c.CollectTimeout = -1 },
		"Retry.Min":        func(c *app.ClientConfig) { c.Retry.Min = -1 },
		"Retry.Max":        func(c *app.ClientConfig) { c.Retry.Min, c.Retry.Max = time.Second, time.Millisecond },
	} {
		cfg := good
		spoil(&cfg)
		_, err := app.NewClient(cfg)
		wrong, ok := errors.AsType[*app.ConfigError](err)
		if !ok || wrong.Field != field || wrong.Want == "" {
			t.Errorf("%s: %v", field, err)
		}
	}
	_, err := app.NewClient(app.ClientConfig{})
	for _, field := range []string{"Host", "Scraper", "Secret", "Alias"} {
		if err == nil || !strings.Contains(err.Error(), field+":") {
			t.Errorf("%s is missing from %v", field, err)
		}
	}
}

func TestClientStartsOnce(t *testing.T) {
	w := newWorld(t)
	c := w.startClient("web", 2, nil)
	var again error
	w.loop.Turn(func() { c.Start(func(err error) { again = err }) })
	if again == nil {
		t.Error("a second start succeeded")
	}
}

func TestEveryoneWhoClosesIsCalledBackInTime(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, func(cfg *app.ClientConfig) { cfg.Transport = deafTransport{cfg.Transport} })
	w.loop.Advance(time.Second)
	calls := 0
	closing := func() {
		c.Close(func() { calls++ })
		w.scraper.Close(func() { calls++ })
	}
	w.loop.Turn(closing)
	w.loop.Turn(closing)
	w.loop.Advance(5 * time.Second)
	w.loop.Turn(closing)
	if calls != 6 {
		t.Errorf("%d of 6 were called back", calls)
	}
}

// deafTransport never reports that it is closed.
type deafTransport struct{ ports.ClientTransport }

func (deafTransport) Close(func()) {}

// Issue row 6.26: closing a client also closes a borrowed transport.
func TestBorrowedTransportStaysOpen(t *testing.T) {
	w := newWorld(t)
	for _, keep := range []bool{true, false} {
		lent := portstest.NewTransport(w.net)
		c := w.startClient("web", 2, func(cfg *app.ClientConfig) { cfg.Transport, cfg.KeepTransport = lent, keep })
		c.close()
		if lent.Closed == keep {
			t.Errorf("keep %t: closed %t", keep, lent.Closed)
		}
		lent = portstest.NewTransport(w.net)
		w.startScraper(func(cfg *app.ScraperConfig) { cfg.Transport, cfg.KeepTransport = lent, keep })
		w.closeScraper()
		if lent.Closed == keep {
			t.Errorf("scraper, keep %t: closed %t", keep, lent.Closed)
		}
	}
}

// Issue rows 6.2 and 6.26: starting waits for the first registration in one version and not in the other. Here it does not.
func TestStartDoesNotWaitForTheRegistration(t *testing.T) {
	w := newWorld(t)
	c := w.newClient("web", 2, nil) // no scraper runs
	started := false
	w.loop.Turn(func() { c.Start(func(err error) { started = err == nil }) })
	w.loop.Advance(100 * time.Millisecond)
	if !started || !c.Status().Listening || c.Status().Registered {
		t.Errorf("started %t, status %+v", started, c.Status())
	}
}

func TestClientThatMovesRegistersAgainSoonButNotAllTheTime(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	var transport *portstest.Transport
	c := w.startClient("web", 2, func(cfg *app.ClientConfig) { transport = cfg.Transport.(*portstest.Transport) })
	w.loop.Advance(time.Minute)
	before := c.Status().Registrations
	w.loop.Turn(func() { transport.Move(ports.MoveElsewhere) })
	w.loop.Advance(2 * time.Second)
	if got := c.Status().Registrations; got != before+1 {
		t.Errorf("%d registrations two seconds after a move, want one more than %d", got, before)
	}
	for range 60 { // a link that flaps for a minute
		w.loop.Turn(func() { transport.Move(ports.MoveElsewhere) })
		w.loop.Advance(time.Second)
	}
	if got := c.Status().Registrations; got < before+3 || got > before+6 {
		t.Errorf("%d registrations after a minute of moving, want three to six more than %d", got, before)
	}
	c.close()
	after := len(c.events)
	w.loop.Turn(func() { transport.Move(ports.MoveElsewhere) })
	w.loop.Advance(time.Minute)
	if len(c.events) != after {
		t.Error("a closed client registers")
	}
}

// An interface comes up, and seconds later the route moves to it.
func TestClientThatMovesTwiceRegistersTwiceAtOnce(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	var transport *portstest.Transport
	c := w.startClient("web", 2, func(cfg *app.ClientConfig) { transport = cfg.Transport.(*portstest.Transport) })
	w.loop.Advance(time.Minute)
	before := c.Status().Registrations
	for range 2 {
		w.loop.Turn(func() { transport.Move(ports.MoveElsewhere) })
		w.loop.Advance(3 * time.Second)
	}
	if got := c.Status().Registrations - before; got != 2 {
		t.Errorf("%d registrations three seconds after the second move, want 2", got)
	}
}

// The machine moves again while the scraper's answer to the registration is on its way to the place before.
func TestClientThatMovesDuringARegistrationRegistersAgainSoon(t *testing.T) {
	for waited, took := range map[time.Duration]time.Duration{time.Second: 5 * time.Second, 9 * time.Second: 3 * time.Second} {
		w := newWorld(t)
		w.startScraper(nil)
		var transport *portstest.Transport
		c := w.startClient("web", 2, func(cfg *app.ClientConfig) { transport = cfg.Transport.(*portstest.Transport) })
		w.loop.Advance(time.Minute)
		w.net.Mute(pair(1).Public, true)
		w.loop.Turn(func() { transport.Move(ports.MoveElsewhere) })
		asks := func() bool { return len(of[domain.AliasAttempt](c.events)) == 2 }
		if !w.loop.Until(5*time.Second, asks) {
			t.Fatal("no registration after a move")
		}
		w.loop.Advance(waited)
		w.net.Mute(pair(1).Public, false)
		w.loop.Turn(func() { transport.Move(ports.MoveElsewhere) })
		w.loop.Advance(time.Second)
		w.loop.Turn(func() { transport.Move(ports.MoveElsewhere) }) // does not begin the time again
		w.loop.Advance(took - time.Second)
		if s := c.Status(); !s.Registered || s.Registrations != 2 || s.RegistrationsFailed != 1 {
			t.Errorf("moved after %v: %v later: %+v", waited, took, s)
		}
	}
}

func TestScraperThatWantsProofRefusesClientsWithout(t *testing.T) {
	w := newWorld(t)
	w.startScraper(func(cfg *app.ScraperConfig) { cfg.RequireProof = true })
	c := w.startClient("web", 2, nil) // the network of this test carries no proofs
	w.loop.Advance(time.Second)
	failed := of[domain.RegisterAliasError](c.events)
	if len(failed) != 1 || !strings.Contains(failed[0].Err.Error(), "wants proof") {
		t.Errorf("got %+v", failed)
	}
	if got := w.scraper.Stats().Rejected[domain.ReasonNoProof]; got != 1 {
		t.Errorf("%d rejections counted", got)
	}
	if len(w.scraper.Aliases()) != 0 {
		t.Error("the alias was taken")
	}
}

// cancelCount counts cancellations, also of collections that have ended.
type cancelCount struct {
	ports.MetricsSource
	n int
}

func (c *cancelCount) Scrape(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	return &countedCancel{c.MetricsSource.Scrape(r, h), c}
}

type countedCancel struct {
	ports.Scrape
	count *cancelCount
}

func (c *countedCancel) Cancel() {
	c.count.n++
	c.Scrape.Cancel()
}

func TestCollectionThatHasEndedIsNotCancelled(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	var source cancelCount
	w.startClient("web", 2, func(cfg *app.ClientConfig) {
		source.MetricsSource = cfg.Source
		cfg.Source = &source
	})
	w.loop.Advance(time.Second)
	w.mustScrape("web")
	w.loop.Advance(5 * time.Minute)
	if source.n != 0 {
		t.Errorf("%d cancellations", source.n)
	}
}
