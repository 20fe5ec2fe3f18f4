package interop_test

import (
	"context"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/source"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// Wishes 6.4: a client with a pinned key that comes back under another alias ended the bridge, and every restart of
// the bridge after it.
func TestOneKeyMayHaveTwoAliases(t *testing.T) {
	t.Parallel()
	for name, clients := range map[string]peers{"JavaScript client": javaScript{}, "Go client": ours{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const host, secret = "127.0.0.1", "secret"
			net := javaScriptTestnet(t, jspeer.Start(t))
			cfg := scraperConfig{seed: t.Name() + " scraper", secret: secret, host: host, storage: t.TempDir()}
			scraper := ours{}.scraper(t, net, cfg).(*goScraper)
			begin := func(alias string) client {
				c := clients.client(t, net, clientConfig{scraper: scraper.key(), secret: secret, host: host, alias: alias, seed: t.Name()})
				c.serve(t, alias+" 1\n", "")
				if !c.registered(t) {
					t.Errorf("registering %s changed nothing", alias)
				}
				return c
			}
			first := begin("one")
			scraper.connected(t, "one", first)
			scraped(t, scraper, "one", "one 1\n")
			first.crash()

			second := begin("two")
			scraper.connected(t, "two", second)
			for _, alias := range []string{"one", "two"} {
				scraped(t, scraper, alias, "two 1\n")
			}
			scraper.crash()
			back := ours{}.scraper(t, net, cfg).(*goScraper)
			back.connected(t, "two", second)
			for _, alias := range []string{"one", "two"} {
				scraped(t, back, alias, "two 1\n")
			}
		})
	}
}

// Wishes 6.21: a client that registers under the key of its own server got in its own way: registrations and
// scrapes failed in turns, each for as long as its interval. The packages' swarm still keeps one connection per key
// and may cut a registration off for it; our client asks again within a second, and is scraped all the same.
func TestOneIdentityDoesForServingAndRegistering(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		clients  peers
		scrapers peers
	}{
		{"JavaScript client, Go scraper", javaScript{}, ours{}},
		{"Go client, JavaScript scraper", inProcess{}, javaScript{}},
		{"Go client, Go scraper", inProcess{}, ours{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const host, secret, alias = "127.0.0.1", "secret", "us"
			p := jspeer.Start(t)
			net := javaScriptTestnet(t, p)
			if _, theirs := c.scrapers.(javaScript); theirs && !outdatedConnections.in(t, p) {
				return
			}
			scraper := c.scrapers.scraper(t, net, scraperConfig{seed: t.Name() + " scraper", secret: secret, host: host})
			client := c.clients.client(t, net, clientConfig{
				scraper: scraper.key(), secret: secret, host: host, alias: alias, seed: t.Name(), every: often, sameKeys: true,
			})
			client.serve(t, "up 1\n", "")
			for i := range 3 {
				if updated := client.registered(t); updated != (i == 0) {
					t.Errorf("registration %d: updated %v", i, updated)
				}
				for range 3 {
					scraped(t, scraper, alias, "up 1\n")
				}
			}
			if c, ok := client.(*memoryClient); ok && c.failures > 0 {
				t.Logf("%d registrations had to be repeated", c.failures)
				if _, ok := scraper.(*goScraper); ok {
					t.Error("our scraper got in the way")
				}
			}
		})
	}
}

// inProcess creates Go clients with options that have no flags.
type inProcess struct{ ours }

func (inProcess) client(t testing.TB, net testnet, cfg clientConfig) client {
	t.Helper()
	c := &memoryClient{goClient: &goClient{publicKey: keys(t, cfg.seed).Public.Hex()}, events: make(chan domain.Event, 10*maxQueued)}
	pair := domain.KeyPairFromSeed(domain.SeedFrom(seedOf(t, cfg.seed)))
	scraper, secret := domain.PublicKey(key(t, cfg.scraper)), domain.SecretFrom(seedOf(t, cfg.secret))
	h := goHost(t)
	var err error
	var client *app.Client
	h.Do(func() {
		var node *hyperdht.Node
		node, err = hyperdht.New(h, hyperdht.Config{Bootstrap: net.bootstrap})
		if err != nil {
			return
		}
		client, err = app.NewClient(app.ClientConfig{
			Host: h, Transport: dht.New(h, node, dht.Config{}), Keys: pair, DialKeys: pair, Scraper: scraper, Secret: secret,
			Alias: domain.Alias(cfg.alias), RegisterInterval: cfg.every,
			Source:  source.Func(h, func(context.Context) (string, error) { return c.metrics() }),
			OnEvent: func(e domain.Event) { c.events <- e },
		})
		if err == nil {
			client.Start(func(error) {})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closed := make(chan struct{})
		h.Post(func() { client.Close(func() { close(closed) }) })
		await(t, "a client closes", closed)
	})
	return c
}

func seedOf(t testing.TB, name string) [32]byte {
	t.Helper()
	seed, err := id.ParseKey32(jspeer.Seed(name))
	if err != nil {
		t.Fatal(err)
	}
	return seed
}

type memoryClient struct {
	*goClient
	events   chan domain.Event
	failures int // failed registrations
}

// registered tolerates failures that cost no more than a second: only a connection may break.
func (c *memoryClient) registered(t testing.TB) bool {
	t.Helper()
	for {
		switch e := await(t, "a registration", c.events).(type) {
		case domain.RegisterAliasSuccess:
			return e.Updated
		case domain.RegisterAliasError:
			if !e.ConnectionFailed || e.RetryIn > time.Second {
				t.Fatalf("registering: %v, again in %v", e.Err, e.RetryIn)
			}
			c.failures++
		}
	}
}

func (c *memoryClient) metrics() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.body, nil
}
