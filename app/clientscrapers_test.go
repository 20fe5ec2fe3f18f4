package app_test

import (
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

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
	if a.Ago <= 0 || a.Ago > time.Minute || a.Next < 30*time.Minute || a.Next > time.Hour || a.Path != domain.PathDirect {
		t.Errorf("registered %v ago, again in %v, path %v", a.Ago, a.Next, a.Path)
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
