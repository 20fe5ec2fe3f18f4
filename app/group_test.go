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
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// testGroup is a group of clients with one source each.
type testGroup struct {
	*app.Group
	transport *portstest.Transport
	events    events
}

func (w *world) startGroup(aliases ...string) *testGroup {
	w.t.Helper()
	g := &testGroup{transport: portstest.NewTransport(w.net)}
	cfg := app.GroupConfig{Host: w.loop, Transport: g.transport}
	for _, a := range aliases {
		cfg.Clients = append(cfg.Clients, app.ClientConfig{
			Source: portstest.NewSource(w.loop, "up 1\n# "+a+"\n"), Scraper: pair(1).Public, Secret: secret,
			Alias: domain.Alias(a), Keys: app.AliasKeys(pair(7).Seed, domain.Alias(a)), OnEvent: g.events.add,
		})
	}
	var err error
	if g.Group, err = app.NewGroup(cfg); err != nil {
		w.t.Fatal(err)
	}
	listening := false
	w.loop.Turn(func() {
		g.Start(func(err error) {
			listening = true
			if err != nil {
				w.t.Error(err)
			}
		})
	})
	w.loop.Advance(5 * time.Second)
	if !listening {
		w.t.Error("the group does not listen")
	}
	return g
}

func (g *testGroup) close(w *world) {
	w.t.Helper()
	closed := false
	w.loop.Turn(func() { g.Close(func() { closed = true }) })
	w.loop.Advance(5 * time.Second)
	if !closed {
		w.t.Error("the group did not close within 5 s")
	}
}

func TestSeveralTargetsOfOneProcessAreScrapedApart(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	var aliases []string
	for i := range 20 { // more than start at a time
		aliases = append(aliases, fmt.Sprintf("target-%02d", i))
	}
	g := w.startGroup(aliases...)
	for _, a := range aliases {
		w.mustScrape(a)
	}
	keys := map[domain.PublicKey]bool{}
	for _, c := range g.Clients() {
		keys[c.PublicKey()] = true
	}
	if len(keys) != len(aliases) {
		t.Errorf("%d keys for %d aliases", len(keys), len(aliases))
	}
	g.close(w)
	if left := w.aliases(); len(left) != 0 {
		t.Errorf("no goodbye for %v", left)
	}
	if !g.transport.Closed {
		t.Error("the transport is left open")
	}
}

func TestBorrowedTransportOfAGroupStaysOpen(t *testing.T) {
	w := newWorld(t)
	lent := portstest.NewTransport(w.net)
	g, err := app.NewGroup(app.GroupConfig{Host: w.loop, Transport: lent, KeepTransport: true, Clients: []app.ClientConfig{{
		Source: portstest.NewSource(w.loop, ""), Scraper: pair(1).Public, Secret: secret, Alias: "a",
	}}})
	if err != nil {
		t.Fatal(err)
	}
	(&testGroup{Group: g}).close(w)
	if lent.Closed {
		t.Error("the transport was closed")
	}
}

func TestAliasKeysDependOnSeedAndNameAlone(t *testing.T) {
	a := app.AliasKeys(pair(7).Seed, "web")
	if b := app.AliasKeys(pair(7).Seed, "web"); a.Public != b.Public {
		t.Error("the same alias has two keys")
	}
	for name, other := range map[string]domain.KeyPair{
		"another alias": app.AliasKeys(pair(7).Seed, "web2"), "another seed": app.AliasKeys(pair(8).Seed, "web"), "the seed itself": pair(7),
	} {
		if other.Public == a.Public {
			t.Errorf("%s has the same key", name)
		}
	}
	// Operators have pinned keys: this must never change.
	if got := a.Public.String(); got != "4ztscq3a3fopy1h8an99i8kas53yota3btsam57o5jeked41wtho" {
		t.Errorf("the key of a known seed and alias has become %s", got)
	}
}

func TestGroupSaysWhatIsWrong(t *testing.T) {
	loop := portstest.NewLoop(1)
	one := app.ClientConfig{Source: portstest.NewSource(loop, ""), Scraper: pair(1).Public, Secret: secret, Alias: "a", Keys: pair(3)}
	for want, clients := range map[string][]app.ClientConfig{
		"Clients: want at least one":      nil,
		`Clients[1].Alias: duplicate "a"`: {one, one},
		"Clients[1].Keys: duplicate":      {one, one},
		"Clients[0]: Scraper":             {{Source: one.Source, Secret: secret, Alias: "b"}},
	} {
		_, err := app.NewGroup(app.GroupConfig{Host: loop, Transport: portstest.NewTransport(portstest.NewNetwork(loop)), Clients: clients})
		if _, ok := errors.AsType[*app.ConfigError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// refusing is a transport that cannot listen for some keys.
type refusing struct {
	ports.ClientTransport
	key domain.PublicKey
}

func (r refusing) ListenMetrics(l ports.MetricsListen, ready func(error)) (ports.Listener, error) {
	if l.Keys.Public == r.key {
		return nil, errors.New("no")
	}
	return r.ClientTransport.ListenMetrics(l, ready)
}

func TestGroupThatCannotListenNamesTheAlias(t *testing.T) {
	w := newWorld(t)
	cfg := app.GroupConfig{Host: w.loop, Transport: refusing{portstest.NewTransport(w.net), pair(4).Public}}
	for i, a := range []domain.Alias{"good", "bad", "also bad"} {
		cfg.Clients = append(cfg.Clients, app.ClientConfig{
			Source: portstest.NewSource(w.loop, ""), Scraper: pair(1).Public, Secret: secret, Alias: a, Keys: pair(byte(3 + i)),
		})
	}
	g, err := app.NewGroup(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var errs []error
	w.loop.Turn(func() { g.Start(func(err error) { errs = append(errs, err) }) })
	w.loop.Advance(time.Second)
	if len(errs) != 1 || errs[0] == nil || !strings.Contains(errs[0].Error(), `alias "bad"`) {
		t.Errorf("%v", errs)
	}
	(&testGroup{Group: g}).close(w)
}

// Two scrapers, each with a secret of its own.
func TestEachScraperIsRegisteredAdmittedAndCountedByItself(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	first := w.scraper
	other := domain.SecretFrom([32]byte{9, 9})
	w.disk, w.targets = portstest.NewDisk(), portstest.NewTargets(w.loop)
	w.startScraper(func(c *app.ScraperConfig) { c.Keys, c.Secrets = pair(11), []domain.Secret{other} })
	second := w.scraper
	c := w.startClient("web", 2, func(cfg *app.ClientConfig) {
		cfg.Scrapers = []app.ClientScraper{{Key: pair(11).Public, Secret: other}}
	})
	w.loop.Advance(time.Second)
	w.mustScrape("web")
	w.mustScrape("web")
	w.scraper = first
	w.mustScrape("web")

	s := c.Status()
	if len(s.Scrapers) != 2 || s.Requests != 3 || s.Connections != 2 || s.Registrations != 2 {
		t.Fatalf("status %+v", s)
	}
	a, b := s.Scrapers[0], s.Scrapers[1]
	if a.Key != pair(1).Public || b.Key != pair(11).Public || a.Requests != 1 || b.Requests != 2 || b.Bytes != 2*a.Bytes || a.Bytes == 0 {
		t.Errorf("the scrapers: %+v, %+v", a, b)
	}
	for _, scraper := range []*app.Scraper{first, second} {
		if got := scraper.Aliases(); len(got) != 1 || got[0].Key != c.PublicKey() {
			t.Errorf("aliases: %+v", got)
		}
	}

	// One of them disappears. The other is not affected.
	w.net.Cut(pair(11).Public, true)
	w.loop.Advance(2 * time.Hour)
	s = c.Status()
	if a, b = s.Scrapers[0], s.Scrapers[1]; !a.Registered || a.RegistrationsFailed != 0 || b.Registered || b.RegistrationsFailed == 0 {
		t.Errorf("with one scraper gone: %+v, %+v", a, b)
	}
	if !s.Registered || s.LastError == nil {
		t.Errorf("together: %+v", s)
	}
	w.mustScrape("web")
	for _, e := range of[domain.RegisterAliasError](c.events) {
		if e.Scraper != pair(11).Public {
			t.Errorf("a failure of scraper %s", e.Scraper)
		}
	}
	w.net.Cut(pair(11).Public, false)
	w.loop.Advance(2 * time.Minute)
	if !c.Status().Scrapers[1].Registered {
		t.Error("not registered again with the scraper that came back")
	}

	c.close()
	for _, scraper := range []*app.Scraper{first, second} {
		if got := scraper.Aliases(); len(got) != 0 {
			t.Errorf("no goodbye: %+v", got)
		}
	}
}

// A secret that leaked to another scraper would let that scraper's owner register with the first.
func TestEachScraperGetsItsOwnSecretOnly(t *testing.T) {
	w := newWorld(t)
	other := domain.SecretFrom([32]byte{9, 9})
	secrets := map[domain.PublicKey]domain.Secret{pair(1).Public: secret, pair(11).Public: other}
	asked := 0
	w.startClient("web", 2, func(cfg *app.ClientConfig) {
		cfg.Scrapers = []app.ClientScraper{{Key: pair(11).Public, Secret: other}}
		cfg.Transport = watchful{cfg.Transport, func(r ports.Registration) {
			asked++
			if !r.Secret.Equal(secrets[r.Scraper]) {
				t.Errorf("scraper %s was sent the secret of another one", r.Scraper)
			}
		}}
	})
	w.loop.Advance(time.Minute)
	if asked < 4 {
		t.Errorf("%d attempts", asked)
	}
}

// watchful records registrations.
type watchful struct {
	ports.ClientTransport
	see func(ports.Registration)
}

func (w watchful) RegisterAlias(r ports.Registration, done func(bool, error)) func() {
	w.see(r)
	return w.ClientTransport.RegisterAlias(r, done)
}

func TestScraperThatAsksTooMuchDoesNotStarveTheOther(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	first := w.scraper
	w.disk, w.targets = portstest.NewDisk(), portstest.NewTargets(w.loop)
	w.startScraper(func(c *app.ScraperConfig) { c.Keys = pair(11) })
	greedy := w.scraper
	c := w.startClient("web", 2, func(cfg *app.ClientConfig) {
		cfg.Scrapers = []app.ClientScraper{{Key: pair(11).Public, Secret: secret}}
	})
	w.loop.Advance(time.Second)
	c.source.Silent = true
	w.loop.Turn(func() {
		for range 40 {
			greedy.Scrape("web", time.Minute, func([]byte, error) {})
		}
	})
	w.loop.Advance(time.Second)
	c.source.Silent = false
	w.scraper = first
	w.mustScrape("web")
}

func TestScrapersOfAClientAreChecked(t *testing.T) {
	loop := portstest.NewLoop(1)
	good := app.ClientConfig{
		Host: loop, Transport: portstest.NewTransport(portstest.NewNetwork(loop)), Source: portstest.NewSource(loop, ""), Alias: "a",
		Scrapers: []app.ClientScraper{{Key: pair(1).Public, Secret: secret}, {Key: pair(2).Public, Secret: secret}},
	}
	if _, err := app.NewClient(good); err != nil {
		t.Errorf("a list alone: %v", err)
	}
	for want, spoil := range map[string]func(*app.ClientConfig){
		"Scrapers[1].Key: duplicate": func(c *app.ClientConfig) { c.Scrapers[1].Key = pair(1).Public },
		"Scrapers[0].Key: duplicate": func(c *app.ClientConfig) { c.Scraper, c.Secret = pair(1).Public, secret },
		"Scrapers[1].Key: want":      func(c *app.ClientConfig) { c.Scrapers[1].Key = domain.PublicKey{} },
		"Scrapers[0].Secret: want":   func(c *app.ClientConfig) { c.Scrapers[0].Secret = domain.Secret{} },
		"Scraper: want":              func(c *app.ClientConfig) { c.Scrapers = nil },
		"Secret: want":               func(c *app.ClientConfig) { c.Scraper = pair(5).Public },
		"Scrapers: want at most": func(c *app.ClientConfig) {
			for i := range 20 {
				c.Scrapers = append(c.Scrapers, app.ClientScraper{Key: pair(byte(30 + i)).Public, Secret: secret})
			}
		},
	} {
		cfg := good
		cfg.Scrapers = append([]app.ClientScraper{}, good.Scrapers...)
		spoil(&cfg)
		if _, err := app.NewClient(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestGroupRegistersAgainWithAnotherSecret(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	g := w.startGroup("a", "b")
	w.loop.Advance(time.Second)
	other := domain.SecretFrom([32]byte{9})
	w.loop.Turn(func() {
		if n := g.SetSecrets([]app.ClientScraper{{Key: pair(1).Public, Secret: secret}, {Key: pair(77).Public, Secret: other}}); n != 0 {
			t.Errorf("the same secret: %d changed", n)
		}
		if err := w.scraper.SetSecrets([]domain.Secret{other}); err != nil {
			t.Error(err)
		}
		if n := g.SetSecrets([]app.ClientScraper{{Key: pair(1).Public, Secret: other}}); n != 1 {
			t.Errorf("another secret: %d changed", n)
		}
	})
	before := w.scraper.Stats().Registrations
	w.loop.Advance(3 * time.Second)
	if n := w.scraper.Stats().Registrations - before; n != 2 || w.scraper.Stats().Rejected[domain.ReasonUnauthorised] != 0 {
		t.Errorf("%d registrations with the new secret", n)
	}
}

func TestGroupStartsOnce(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	g := w.startGroup("a", "b")
	var again error
	w.loop.Turn(func() { g.Start(func(err error) { again = err }) })
	w.loop.Advance(time.Second)
	if again == nil || !strings.Contains(again.Error(), "already started") {
		t.Errorf("started twice: %v", again)
	}
	g.close(w)
	again = nil
	w.loop.Turn(func() { g.Start(func(err error) { again = err }) })
	w.loop.Advance(time.Second)
	if again == nil {
		t.Error("started after the close")
	}
}
