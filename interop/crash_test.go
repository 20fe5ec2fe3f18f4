package interop_test

import (
	"testing"
	"time"
)

// scraped fails the test unless a scrape returns a body.
func scraped(t *testing.T, s scraper, alias, body string) {
	t.Helper()
	for _, r := range s.scrape(t, alias, 1) {
		if r.reason != "" || r.body != body {
			t.Fatalf("scrape of %s: %+v", alias, r)
		}
	}
}

func TestClientsComeBackAfterACrash(t *testing.T) {
	t.Parallel()
	all, strangers := cells(t)
	for _, c := range all {
		if c.scraper == "JavaScript" && !keepAlives.in(t, strangers[c.nodes].Peer) {
			continue
		}
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			const host, secret, alias = "127.0.0.1", "secret", "us"
			scraper := c.scrapers.scraper(t, c.net, scraperConfig{seed: t.Name() + " scraper", secret: secret, host: host})
			begin := func(seed, body string) client {
				client := c.clients.client(t, c.net, clientConfig{scraper: scraper.key(), secret: secret, host: host, alias: alias, seed: seed, every: often})
				client.serve(t, body, "")
				return client
			}
			first := begin(t.Name(), "life 1\n")
			if !first.registered(t) {
				t.Error("the first registration changed nothing")
			}
			scraper.connected(t, alias, first)
			scraped(t, scraper, alias, "life 1\n")
			first.crash()

			started := time.Now()
			again := begin(t.Name(), "life 2\n")
			if again.registered(t) {
				t.Error("the same client with the same key changed something")
			}
			scraper.connected(t, alias, again)
			scraped(t, scraper, alias, "life 2\n")
			t.Logf("from the restart under the same key to the next scrape: %v", time.Since(started).Round(time.Millisecond))
			again.crash()

			started = time.Now()
			other := begin(t.Name()+" again", "life 3\n")
			if !other.registered(t) {
				t.Error("a new key changed nothing")
			}
			scraper.connected(t, alias, other)
			scraped(t, scraper, alias, "life 3\n")
			t.Logf("from the restart under a new key to the next scrape: %v", time.Since(started).Round(time.Millisecond))
			if got := scraper.aliases(t)[alias]; got != other.key() {
				t.Errorf("the alias leads to %s, want %s", got, other.key())
			}
		})
	}
}

// The packages' scraper stores nothing: their bridge has a table of its own.
func TestOurScraperComesBackAfterACrash(t *testing.T) {
	t.Parallel()
	all, _ := cells(t)
	for _, c := range all {
		if c.scraper != "Go" {
			continue
		}
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			const host, alias = "127.0.0.1", "us"
			cfg := scraperConfig{seed: t.Name() + " scraper", secret: "secret", host: host, storage: t.TempDir()}
			scraper := ours{}.scraper(t, c.net, cfg).(*goScraper)
			client := c.clients.client(t, c.net, clientConfig{scraper: scraper.key(), secret: cfg.secret, host: host, alias: alias})
			client.serve(t, "up 1\n", "")
			client.registered(t)
			scraped(t, scraper, alias, "up 1\n")
			scraper.crash()

			started := time.Now()
			back := ours{}.scraper(t, c.net, cfg).(*goScraper)
			if got := back.aliases(t)[alias]; got != client.key() {
				t.Errorf("after the crash the alias leads to %q, want %s", got, client.key())
			}
			back.connected(t, alias, client)
			scraped(t, back, alias, "up 1\n")
			t.Logf("from the restart to the next scrape: %v", time.Since(started).Round(time.Millisecond))
			if n := back.p.count("alias-success", nil); n != 0 {
				t.Errorf("the client registered %d times meanwhile", n)
			}
		})
	}
}
