package app_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var secret = domain.SecretFrom([32]byte{5, 6, 7})

func pair(n byte) domain.KeyPair { return domain.KeyPairFromSeed(domain.SeedFrom([32]byte{n})) }

// world is a scraper, its disk and any number of clients in one process, on virtual time.
type world struct {
	t       testing.TB
	loop    *portstest.Loop
	net     *portstest.Network
	clock   *portstest.Clock
	disk    *portstest.Disk
	targets *portstest.Targets
	scraper *app.Scraper
	events  events // the scraper's
}

// events are the reported events, in order.
type events []domain.Event

func (e *events) add(event domain.Event) { *e = append(*e, event) }

// names lists the names of the events, if only is set of those.
func (e events) names(only ...string) (all []string) {
	for _, event := range e {
		if name := event.LogRecord().Name; len(only) == 0 || slices.Contains(only, name) {
			all = append(all, name)
		}
	}
	return all
}

// of lists the events of one type.
func of[E domain.Event](e events) (all []E) {
	for _, event := range e {
		if match, ok := event.(E); ok {
			all = append(all, match)
		}
	}
	return all
}

func newWorld(t testing.TB) *world {
	loop := portstest.NewLoop(1)
	w := &world{
		t: t, loop: loop, net: portstest.NewNetwork(loop), clock: portstest.NewClock(loop, noon),
		disk: portstest.NewDisk(), targets: portstest.NewTargets(loop),
	}
	w.net.Version = "1.2.3"
	return w
}

// startScraper starts a scraper on the world's disk; a second one is a restart after kill -9, because the first is abandoned.
func (w *world) startScraper(change func(*app.ScraperConfig)) {
	w.t.Helper()
	w.newScraper(change)
	started := false
	w.loop.Turn(func() {
		w.scraper.Start(func(err error) {
			started = true
			if err != nil {
				w.t.Error(err)
			}
		})
	})
	w.loop.Advance(time.Second)
	if !started {
		w.t.Fatal("the scraper did not start")
	}
}

func (w *world) newScraper(change func(*app.ScraperConfig)) {
	w.t.Helper()
	w.events = nil
	cfg := app.ScraperConfig{
		Host: w.loop, Transport: portstest.NewTransport(w.net), Clock: w.clock,
		Store: portstest.NewStore(w.loop, w.disk), Targets: w.targets,
		Keys: pair(1), Secrets: []domain.Secret{secret}, OnEvent: w.events.add,
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if w.scraper, err = app.NewScraper(cfg); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) closeScraper() {
	w.t.Helper()
	closed := false
	w.loop.Turn(func() { w.scraper.Close(func() { closed = true }) })
	w.loop.Advance(5 * time.Second)
	if !closed {
		w.t.Fatal("the scraper did not close within 5 s")
	}
}

// testClient is a client with its source and events.
type testClient struct {
	*app.Client
	w      *world
	source *portstest.Source
	events events
}

func (w *world) newClient(alias string, n byte, change func(*app.ClientConfig)) *testClient {
	w.t.Helper()
	c := &testClient{w: w, source: portstest.NewSource(w.loop, "up 1\n# "+alias+"\n")}
	cfg := app.ClientConfig{
		Host: w.loop, Transport: portstest.NewTransport(w.net), Source: c.source,
		Scraper: pair(1).Public, Secret: secret, Alias: domain.Alias(alias), Service: "svc", Hostname: "host",
		Keys: pair(n), OnEvent: c.events.add,
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if c.Client, err = app.NewClient(cfg); err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) startClient(alias string, n byte, change func(*app.ClientConfig)) *testClient {
	w.t.Helper()
	c := w.newClient(alias, n, change)
	w.loop.Turn(func() {
		c.Start(func(err error) {
			if err != nil {
				w.t.Error(err)
			}
		})
	})
	return c
}

func (c *testClient) close() {
	c.w.t.Helper()
	closed := false
	c.w.loop.Turn(func() { c.Close(func() { closed = true }) })
	c.w.loop.Advance(5 * time.Second)
	if !closed {
		c.w.t.Fatal("the client did not close within 5 s")
	}
}

// scrape scrapes an alias and waits.
func (w *world) scrape(alias string, within time.Duration) (body string, took time.Duration, err error) {
	w.t.Helper()
	finished, start := false, w.loop.Now()
	w.loop.Turn(func() {
		w.scraper.Scrape(domain.Alias(alias), within, func(b []byte, e error) { finished, body, err = true, string(b), e })
		if finished {
			w.t.Error("called back inside the call")
		}
	})
	if !w.loop.Until(10*time.Minute, func() bool { return finished }) {
		w.t.Fatalf("the scrape of %q hangs", alias)
	}
	return body, w.loop.Now().Sub(start), err
}

func (w *world) mustScrape(alias string) {
	w.t.Helper()
	body, _, err := w.scrape(alias, 0)
	if err != nil || !strings.HasSuffix(body, "# "+alias+"\n") {
		w.t.Errorf("scrape of %q: %q, %v", alias, body, err)
	}
}

// send sends one registration and waits for its answer.
func (w *world) send(r ports.Registration) (updated bool, err error) {
	w.t.Helper()
	finished := false
	w.loop.Turn(func() {
		portstest.NewTransport(w.net).RegisterAlias(r, func(u bool, e error) { finished, updated, err = true, u, e })
	})
	if !w.loop.Until(time.Minute, func() bool { return finished }) {
		w.t.Fatal("the registration hangs")
	}
	return updated, err
}

func registration(alias string, key byte) ports.Registration {
	return ports.Registration{
		Scraper: pair(1).Public, Dial: pair(200 + key), Secret: secret,
		Register: domain.Register{Alias: domain.Alias(alias), Key: pair(key).Public, Hostname: "host", Service: "svc"},
	}
}

func (w *world) aliases() (all []string) {
	for _, a := range w.scraper.Aliases() {
		all = append(all, string(a.Alias))
	}
	return all
}

func (w *world) status(alias string) domain.AliasStatus {
	w.t.Helper()
	for _, a := range w.scraper.Aliases() {
		if string(a.Alias) == alias {
			return a
		}
	}
	w.t.Fatalf("no alias %q", alias)
	return domain.AliasStatus{}
}

func wantNames(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", fmt.Sprint(got), fmt.Sprint(want))
	}
}
