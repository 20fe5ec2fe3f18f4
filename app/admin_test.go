package app_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// withPins gives the scraper's store support for pins.
func (w *world) withPins(c *app.ScraperConfig) {
	store := portstest.NewStore(w.loop, w.disk)
	c.Store = store
}

// await runs an operator's change and returns its outcome.
func await[T any](w *world, change func(done func(T, error))) (result T, err error) {
	w.t.Helper()
	finished := false
	w.loop.Turn(func() {
		change(func(r T, e error) { finished, result, err = true, r, e })
		if finished {
			w.t.Error("called back inside the call")
		}
	})
	if !w.loop.Until(time.Minute, func() bool { return finished }) {
		w.t.Fatal("the change hangs")
	}
	return result, err
}

func (w *world) pin(alias string, key domain.PublicKey) error {
	_, err := await(w, func(done func(domain.Pin, error)) { w.scraper.Pin(domain.Alias(alias), key, done) })
	return err
}

func (w *world) unpin(alias string) (bool, error) {
	return await(w, func(done func(bool, error)) { w.scraper.Unpin(domain.Alias(alias), done) })
}

func (w *world) forget(alias string) (bool, error) {
	return await(w, func(done func(bool, error)) { w.scraper.Forget(domain.Alias(alias), done) })
}

func (w *world) must(alias string, key byte) {
	w.t.Helper()
	if _, err := w.send(registration(alias, key)); err != nil {
		w.t.Errorf("%q by key %d: %v", alias, key, err)
	}
}

func (w *world) mustNot(alias string, key byte) {
	w.t.Helper()
	_, err := w.send(registration(alias, key))
	if _, remote := errors.AsType[*domain.RemoteError](err); !remote || !strings.Contains(err.Error(), "belongs to another key") {
		w.t.Errorf("%q by key %d: %v", alias, key, err)
	}
}

// Issue row 6.11: any holder of the secret can take over any alias.
func TestPinnedAliasesStayWithTheirKeyWhileTheyLive(t *testing.T) {
	w := newWorld(t)
	w.startScraper(func(c *app.ScraperConfig) { c.PinAliases, c.Expiry, c.CheckInterval = true, time.Hour, 10*time.Minute })
	w.must("web", 2)
	w.mustNot("web", 3)
	w.must("web", 2) // its own key renews it
	if n := w.scraper.Stats().Rejected[domain.ReasonPinned]; n != 1 || w.scraper.Stats().Takeovers != 0 {
		t.Errorf("%d counted", n)
	}
	if r := w.scraper.Refusals(); len(r) != 1 || r[0].Reason != domain.ReasonPinned || r[0].Alias != "web" {
		t.Errorf("refusals %+v", r)
	}
	if e := of[domain.AliasError](w.events); len(e) != 1 || !errors.Is(e[0].Err, domain.ErrPinned) {
		t.Errorf("events %+v", e)
	}
	w.loop.Advance(time.Hour) // past the expiry, whether it was removed or not
	w.must("web", 3)
	w.mustNot("web", 2)
}

func TestGoodbyeOfAPinnedAliasNeedsItsKey(t *testing.T) {
	w := newWorld(t)
	door := &doorTransport{Transport: portstest.NewTransport(w.net)}
	w.startScraper(func(c *app.ScraperConfig) { c.Transport, c.PinAliases = door, true })
	c := door.call(w, 50)
	c.ask(registration("web", 2))
	leave := func(proven bool) (answer ports.AliasReply) {
		r := registration("web", 2)
		w.loop.Turn(func() {
			c.handlers.OnLeave(ports.AliasRequest{Secret: r.Secret, Register: r.Register, Proven: proven}, func(a ports.AliasReply) { answer = a })
		})
		return answer
	}
	if a := leave(false); a.Success || len(w.aliases()) != 1 {
		t.Errorf("a holder of the secret alone removed it: %+v", a)
	}
	if a := leave(true); !a.Success || len(w.aliases()) != 0 {
		t.Errorf("its own client could not: %+v", a)
	}
}

func TestPinOutlivesItsAliasAndTheScraper(t *testing.T) {
	w := newWorld(t)
	w.startScraper(w.withPins)
	w.must("web", 2)
	w.must("web", 3) // not pinned: the last one wins
	if err := w.pin("web", domain.PublicKey{}); err != nil {
		t.Fatal(err)
	}
	w.mustNot("web", 2)
	w.must("web", 3)
	if !w.status("web").Pinned {
		t.Error("the status does not say it")
	}
	if found, err := w.forget("web"); !found || err != nil {
		t.Error(found, err)
	}
	w.mustNot("web", 2)
	w.startScraper(w.withPins) // kill -9
	w.mustNot("web", 2)
	w.must("web", 3)
	if pins := w.scraper.Pins(); len(pins) != 1 || pins[0].Alias != "web" || pins[0].Key != pair(3).Public {
		t.Errorf("pins %+v", pins)
	}
	if found, err := w.unpin("web"); !found || err != nil {
		t.Error(found, err)
	}
	if found, _ := w.unpin("web"); found {
		t.Error("unpinned twice")
	}
	w.must("web", 2)
	w.startScraper(w.withPins)
	if len(w.scraper.Pins()) != 0 {
		t.Error("the pin came back")
	}
}

func TestPinToAnotherKeyDropsTheAlias(t *testing.T) {
	w := newWorld(t)
	w.startScraper(w.withPins)
	w.must("web", 2)
	if err := w.pin("web", pair(3).Public); err != nil {
		t.Fatal(err)
	}
	if len(w.aliases()) != 0 || len(w.disk.Entries) != 0 {
		t.Errorf("aliases %v", w.aliases())
	}
	w.mustNot("web", 2)
	w.must("web", 3)
	if err := w.pin("unknown", domain.PublicKey{}); !errors.Is(err, domain.ErrUnknownAlias) {
		t.Errorf("without a key: %v", err)
	}
	if err := w.pin("a\nb", pair(3).Public); !errors.Is(err, domain.ErrName) {
		t.Errorf("a bad name: %v", err)
	}
	w.disk.Fail = errors.New("disk full")
	if err := w.pin("other", pair(3).Public); err == nil || len(w.scraper.Pins()) != 1 {
		t.Errorf("on a full disk: %v", err)
	}
}

func TestForgottenAliasIsGoneAndComesBackWithItsClient(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.must("web", 2)
	if found, err := w.forget("web"); !found || err != nil || len(w.aliases()) != 0 || len(w.disk.Entries) != 0 || w.scraper.Stats().Forgotten != 1 {
		t.Errorf("%t %v, aliases %v", found, err, w.aliases())
	}
	if found, err := w.forget("web"); found || err != nil {
		t.Errorf("twice: %t %v", found, err)
	}
	if len(of[domain.AliasForgotten](w.events)) != 1 {
		t.Error("not reported, or reported twice")
	}
	w.must("web", 2)
	wantNames(t, w.aliases(), "web")
}

func TestSecretsRotateWithoutALostScrape(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	next := domain.SecretFrom([32]byte{9, 9, 9})
	hourly := func(s domain.Secret) func(*app.ClientConfig) {
		return func(c *app.ClientConfig) { c.Secret, c.RegisterInterval = s, time.Hour }
	}
	w.startClient("web", 2, hourly(secret))
	w.loop.Advance(time.Second)
	scrapeFor := func(d time.Duration) {
		for end := w.loop.Now().Add(d); w.loop.Now() < end; w.loop.Advance(15 * time.Second) {
			w.mustScrape("web")
		}
	}
	set := func(secrets ...domain.Secret) {
		w.loop.Turn(func() {
			if err := w.scraper.SetSecrets(secrets); err != nil {
				t.Error(err)
			}
		})
	}
	scrapeFor(time.Minute)
	set(secret, next)
	scrapeFor(2 * time.Hour)
	// The client starts again with the new secret, beside the old one until it is up.
	w.startClient("web", 3, hourly(next))
	scrapeFor(time.Minute)
	set(next)
	scrapeFor(4 * time.Hour)
	if r := w.scraper.Stats(); r.ScrapesFailed[domain.ReasonTimeout]+r.ScrapesFailed[domain.ReasonNotConnected] != 0 {
		t.Errorf("%+v", r)
	}
	if _, err := w.send(registration("other", 4)); err == nil {
		t.Error("the old secret is still good")
	}
	if told := of[domain.SecretsChanged](w.events); len(told) != 2 || len(told[0].Fingerprints) != 2 {
		t.Errorf("told %+v", told)
	}
	w.loop.Turn(func() {
		if w.scraper.SetSecrets(nil) == nil || w.scraper.SetSecrets([]domain.Secret{{}}) == nil {
			t.Error("no secret at all was taken")
		}
	})
}

func TestHistoryTellsWhatHappenedToASession(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	w.mustScrape("web")
	w.net.Cut(c.PublicKey(), true)
	w.loop.Advance(10 * time.Minute)
	w.net.Cut(c.PublicKey(), false)
	w.loop.Advance(2 * time.Minute)
	w.mustScrape("web")
	d, ok := w.scraper.Alias("web")
	if !ok || len(d.Scrapes) != 2 || !d.SessionUp || d.Since.IsZero() {
		t.Fatalf("%t %+v", ok, d)
	}
	var states []domain.SessionState
	repeated := 0
	for _, h := range d.History {
		states = append(states, h.State)
		repeated = max(repeated, h.Count)
		if h.First.IsZero() || h.Last.Before(h.First) {
			t.Errorf("times of %+v", h)
		}
	}
	if len(states) < 3 || states[0] != domain.SessionOpen || states[len(states)-1] != domain.SessionOpen || repeated < 5 {
		t.Errorf("history %+v", d.History)
	}
	if _, ok := w.scraper.Alias("other"); ok {
		t.Error("an unknown alias has a past")
	}
}

// left is the data of another program.
type left struct {
	loop    *portstest.Loop
	aliases []domain.Register
	bad     []error
	err     error
	reads   int
}

func (l *left) Read(done func([]domain.Register, []error, error)) {
	l.reads++
	l.loop.Post(func() { done(l.aliases, l.bad, l.err) })
}

func TestFirstStartTakesOverWhatAnotherProgramLeft(t *testing.T) {
	w := newWorld(t)
	c := w.startClient("web", 2, nil) // it runs, and its scraper is gone
	behind := &left{loop: w.loop, bad: []error{errors.New("line 3")}, aliases: []domain.Register{
		{Alias: "web", Key: c.PublicKey(), Hostname: "h", Service: "s"},
		{Alias: "a\nb", Key: c.PublicKey()},
		{Alias: "gone", Key: pair(9).Public},
	}}
	take := func(cfg *app.ScraperConfig) { cfg.Import = behind }
	w.startScraper(take)
	w.mustScrape("web")
	wantNames(t, w.aliases(), "gone", "web")
	if told := of[domain.ImportAliases](w.events); len(told) != 1 || told[0].Entries != 2 || len(told[0].Skipped) != 2 {
		t.Errorf("told %+v", told)
	}
	if e := w.status("gone"); !e.Expires.Equal(noon.Add(3*time.Hour)) && e.Expires.Sub(e.Registered) != 3*time.Hour {
		t.Errorf("expires %s", e.Expires)
	}
	if len(w.disk.Entries) != 2 {
		t.Errorf("%d are durable", len(w.disk.Entries))
	}
	w.startScraper(take)
	if behind.reads != 1 {
		t.Error("the second start read it again")
	}
}

func TestFailedImportDoesNotPreventTheStart(t *testing.T) {
	w := newWorld(t)
	behind := &left{loop: w.loop, err: errors.New("no JSON")}
	w.startScraper(func(cfg *app.ScraperConfig) { cfg.Import = behind })
	if !w.scraper.Ready() || len(of[domain.ImportAliasesError](w.events)) != 1 {
		t.Error("not started, or not reported")
	}
}

// A client that is restarted under a new key takes its alias over in the middle of a scrape.
func TestScrapeFollowsItsAliasToANewKey(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	old := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	old.source.Silent = true
	var body string
	var err error
	finished := false
	w.loop.Turn(func() {
		w.scraper.Scrape("web", 4*time.Second, func(b []byte, e error) { finished, body, err = true, string(b), e })
	})
	w.loop.Advance(time.Second)
	w.startClient("web", 3, nil)
	w.loop.Advance(2 * time.Second)
	if !finished || err != nil || body != "up 1\n# web\n" {
		t.Errorf("finished %t: %q, %v", finished, body, err)
	}
	if failed := w.scraper.Stats().ScrapesFailed; len(failed) != 0 {
		t.Errorf("counted %v", failed)
	}
}

// The event reports what was imported or could not be, and is absent where there was nothing.
func TestTakingOverIsReportedWhereThereWasSomething(t *testing.T) {
	for _, tc := range []struct {
		name    string
		aliases []domain.Register
		bad     []error
		want    int
	}{
		{"nothing", nil, nil, 0},
		{"a good one", []domain.Register{{Alias: "web", Key: pair(9).Public}}, nil, 1},
		{"a bad one", nil, []error{errors.New("line 3")}, 1},
	} {
		w := newWorld(t)
		w.startScraper(func(cfg *app.ScraperConfig) { cfg.Import = &left{loop: w.loop, aliases: tc.aliases, bad: tc.bad} })
		if told := of[domain.ImportAliases](w.events); len(told) != tc.want || tc.want > 0 && told[0].Entries != len(tc.aliases) {
			t.Errorf("%s: told %+v", tc.name, told)
		}
	}
}

// metricsTransport keeps the last dial of a client's metrics.
type metricsTransport struct {
	doorTransport
	dial ports.MetricsDial
}

func (t *metricsTransport) DialMetrics(d ports.MetricsDial) ports.MetricsSession {
	t.dial = d
	return t.Transport.DialMetrics(d)
}

// A goodbye on the connection of a session succeeds when the alias is off the disk, and fails if the disk does.
func TestGoodbyeOnASessionFailsWithTheDisk(t *testing.T) {
	w := newWorld(t)
	metrics := &metricsTransport{doorTransport: doorTransport{Transport: portstest.NewTransport(w.net)}}
	w.startScraper(func(c *app.ScraperConfig) { c.Transport = metrics })
	metrics.call(w, 50).ask(registration("web", 2))
	w.loop.Advance(time.Second)
	leave := func() (answer ports.AliasReply) {
		w.loop.Turn(func() {
			metrics.dial.OnLeave(ports.AliasRequest{Register: registration("web", 2).Register, Proven: true}, func(a ports.AliasReply) { answer = a })
		})
		w.loop.Advance(time.Second)
		return answer
	}
	w.disk.Fail = errors.New("disk full")
	if a := leave(); a.Success || a.Message == "" || len(w.disk.Entries) != 1 {
		t.Errorf("on a full disk: %+v", a)
	}
	w.disk.Fail = nil
	if a := leave(); !a.Success || !a.Updated || len(w.disk.Entries) != 0 {
		t.Errorf("on a disk that works: %+v", a)
	}
}
