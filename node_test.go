package dhtprom_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/part"
	"github.com/dhtprom/dhtprom/node"
	"github.com/dhtprom/dhtprom/scraper"
)

// world is a private DHT with a node on it.
type world struct {
	t    *testing.T
	ctx  context.Context
	dht  *node.DHT
	node *dhtprom.Node
	log  *slog.Logger // of all nodes, printed if the test fails
}

// journal is a buffer for several loops.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	dht, err := node.NewDHT(node.DHTConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var said journal
	w := &world{t: t, ctx: ctx, dht: dht, log: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	t.Cleanup(func() {
		if said.mu.Lock(); t.Failed() {
			t.Log(said.text.String())
		}
		if err := dht.Close(); err != nil {
			t.Error(err)
		}
	})
	w.node = w.newNode()
	return w
}

func (w *world) newNode() *dhtprom.Node {
	w.t.Helper()
	cfg, err := w.dht.Config()
	if err != nil {
		w.t.Fatal(err)
	}
	n, err := dhtprom.NewNode(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := n.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return n
}

func scraperConfig() scraper.Config {
	return scraper.Config{Seed: domain.SeedFrom([32]byte{1}), Secrets: []domain.Secret{domain.SecretFrom([32]byte{2, 3})}}
}

func (w *world) startScraper(cfg scraper.Config) (s *scraper.Scraper, invite string) {
	w.t.Helper()
	cfg.Logger = w.log.With("in", "scraper")
	s, err := scraper.Start(w.ctx, w.node, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if invite, err = s.Invite(w.dht.Bootstrap()...); err != nil {
		w.t.Fatal(err)
	}
	return s, invite
}

func text(body string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return body, nil }
}

func (w *world) startClient(n *dhtprom.Node, ctx context.Context, cfg client.Config) *client.Client {
	w.t.Helper()
	cfg.Logger = w.log.With("in", cfg.Alias)
	c, err := client.Start(ctx, n, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.Registered(w.ctx); err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) mustScrape(s *scraper.Scraper, alias, want string) {
	w.t.Helper()
	if body, err := s.Scrape(w.ctx, alias); err != nil || string(body) != want {
		w.t.Errorf("%s: %q, %v", alias, body, err)
	}
}

func TestClientEndsWithItsContextAndSaysGoodbye(t *testing.T) {
	w := newWorld(t)
	s, invite := w.startScraper(scraperConfig())
	ctx, cancel := context.WithCancel(w.ctx)
	c := w.startClient(w.newNode(), ctx, client.Config{Invite: invite, Alias: "a", Func: text("up 1\n"), Seed: domain.SeedFrom([32]byte{7})})
	w.mustScrape(s, "a", "up 1\n")
	if c.PublicKey() != domain.KeyPairFromSeed(domain.SeedFrom([32]byte{7})).Public {
		t.Error("the client has another key than its seed's")
	}
	if status, err := c.Status(w.ctx); err != nil || !status.Targets[0].Registered || status.Targets[0].Requests != 1 || status.Targets[0].Last.Bytes == 0 {
		t.Errorf("%+v, %v", status, err)
	}
	cancel()
	<-c.Done()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if left, err := s.Aliases(w.ctx); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
	if _, err := s.Scrape(w.ctx, "a"); !errors.Is(err, domain.ErrUnknownAlias) {
		t.Errorf("%v", err)
	}
}

func TestClosedNodeClosesWhatRunsOnIt(t *testing.T) {
	w := newWorld(t)
	s, invite := w.startScraper(scraperConfig())
	n := w.newNode()
	a := w.startClient(n, w.ctx, client.Config{Invite: invite, Alias: "a", Func: text("a 1\n")})
	b := w.startClient(n, w.ctx, client.Config{Invite: invite, Alias: "b", Func: text("b 1\n")})
	w.mustScrape(s, "a", "a 1\n")
	w.mustScrape(s, "b", "b 1\n")
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	<-a.Done()
	<-b.Done()
	if left, err := s.Aliases(w.ctx); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if _, err := client.Start(w.ctx, n, client.Config{Invite: invite, Alias: "c"}); !errors.Is(err, dhtprom.ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, err := scraper.Start(w.ctx, n, scraperConfig()); !errors.Is(err, dhtprom.ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, err := n.Status(w.ctx); !errors.Is(err, dhtprom.ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, err := a.Status(w.ctx); !errors.Is(err, dhtprom.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// A client of its own node with its own scraper, whose table outlives it.
func TestScraperKeepsItsAliasesInAFile(t *testing.T) {
	w := newWorld(t)
	cfg := scraperConfig()
	cfg.Path, cfg.TargetsFile = filepath.Join(t.TempDir(), "aliases.db"), filepath.Join(t.TempDir(), "targets.json")
	s, invite := w.startScraper(cfg)
	w.startClient(w.newNode(), w.ctx, client.Config{Invite: invite, Alias: "a", Func: text("a 1\n")})
	w.mustScrape(s, "a", "a 1\n")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Scrape(w.ctx, "a"); !errors.Is(err, dhtprom.ErrClosed) {
		t.Errorf("%v", err)
	}
	s, _ = w.startScraper(cfg)
	if left, err := s.Aliases(w.ctx); err != nil || len(left) != 1 || left[0].Alias != "a" {
		t.Errorf("%+v, %v", left, err)
	}
	w.mustScrape(s, "a", "a 1\n")
	if err := s.Close(); err != nil { // before the folders of its files are removed
		t.Error(err)
	}
}

// midday is a stopped clock.
type midday struct{}

func (midday) Now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func TestScraperGoesByTheClockItIsGiven(t *testing.T) {
	w := newWorld(t)
	cfg := scraperConfig()
	cfg.Clock, cfg.Expiry = midday{}, time.Hour
	s, invite := w.startScraper(cfg)
	w.startClient(w.newNode(), w.ctx, client.Config{Invite: invite, Alias: "a", Func: text("a 1\n")})
	// Shown times follow the clock once it is a second off.
	if all, err := s.Aliases(w.ctx); err != nil || len(all) != 1 || all[0].Expires.Sub(midday{}.Now().Add(time.Hour)).Abs() > time.Second {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestScrapeEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	s, invite := w.startScraper(scraperConfig())
	entered := make(chan struct{}, 1)
	w.startClient(w.newNode(), w.ctx, client.Config{Invite: invite, Alias: "slow", Func: func(ctx context.Context) (string, error) {
		entered <- struct{}{}
		<-ctx.Done()
		return "", ctx.Err()
	}})
	ctx, cancel := context.WithCancel(w.ctx)
	go func() {
		<-entered
		cancel()
	}()
	if _, err := s.Scrape(ctx, "slow"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	ctx, cancel = context.WithTimeout(w.ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := s.Scrape(ctx, "slow"); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, domain.ErrTimeout) {
		t.Errorf("%v", err)
	}
}

func TestNoScraperMeansNoRegistrationAndNoWait(t *testing.T) {
	w := newWorld(t)
	absent, err := domain.Invite{Scraper: domain.KeyPairFromSeed(domain.SeedFrom([32]byte{99})).Public, Secret: domain.SecretFrom([32]byte{1, 2})}.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Start(w.ctx, w.node, client.Config{Invite: absent, Alias: "a", Gatherer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.ctx, 100*time.Millisecond)
	defer cancel()
	if err := c.Registered(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Registered(w.ctx); !errors.Is(err, dhtprom.ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestContextThatHasEndedStartsNothing(t *testing.T) {
	w := newWorld(t)
	_, invite := w.startScraper(scraperConfig())
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	n := w.newNode()
	if c, err := client.Start(ctx, n, client.Config{Invite: invite, Alias: "a"}); err == nil {
		<-c.Done() // it started before the context was checked, and closes all the same
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := client.Expose(ctx, client.Config{Invite: invite, Alias: "a"}); err != nil {
		t.Errorf("%v", err)
	}
}

func TestConfigurationsThatCannotWorkSayWhy(t *testing.T) {
	w := newWorld(t)
	_, invite := w.startScraper(scraperConfig())
	for want, cfg := range map[string]client.Config{
		"Invite: is truncated": {Invite: invite[:50], Alias: "a"},
		"Invite: want":         {Alias: "a"},
		"Alias:":               {Invite: invite},
		"Scrapers[0].Key":      {Alias: "a", Scrapers: []app.ClientScraper{{}}},
		"RegisterInterval:":    {Invite: invite, Alias: "a", RegisterInterval: -1},
	} {
		_, err := client.Start(w.ctx, w.node, cfg)
		if _, ok := errors.AsType[*app.ConfigError](err); !ok || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), invite[20:40]) {
			t.Errorf("want %q, got %v", want, err)
		}
		if err := client.Expose(w.ctx, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	file := filepath.Join(t.TempDir(), "no-folder")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]scraper.Config{
		"Seed:":     {Secrets: scraperConfig().Secrets},
		"Secrets":   {Seed: scraperConfig().Seed},
		"Expiry":    {Seed: domain.SeedFrom([32]byte{8}), Secrets: scraperConfig().Secrets, Expiry: -1},
		"no-folder": {Seed: domain.SeedFrom([32]byte{8}), Secrets: scraperConfig().Secrets, Path: filepath.Join(file, "aliases.db")},
	} {
		if _, err := scraper.Start(w.ctx, w.node, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	for want, cfg := range map[string]dhtprom.NodeConfig{
		"bootstrap": {Bootstrap: []string{"x"}}, "stun": {STUN: []string{"none", "none"}},
		`stun: server "a b"`:           {STUN: []string{"a b"}},
		"Listen: want an IPv4 address": {Bootstrap: []string{}, Listen: netip.MustParseAddrPort("[::1]:0")},
		"Relays[1]: want":              {Bootstrap: []string{}, Relays: []domain.Reference{{Key: domain.PublicKey{1}}, {}}},
	} {
		if _, err := dhtprom.NewNode(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	// The same key twice on one node.
	same := client.Config{Invite: invite, Alias: "a", Seed: domain.SeedFrom([32]byte{7})}
	w.startClient(w.node, w.ctx, same)
	if _, err := client.Start(w.ctx, w.node, same); err == nil || !strings.Contains(err.Error(), "Seed: another client") {
		t.Errorf("two clients with one key: %v", err)
	}
}

func TestConfigurationPrintsWithoutItsInvite(t *testing.T) {
	c := client.Config{Invite: "dhtprom1secretsecret", Alias: "shop-7"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, got := range []string{fmt.Sprintf(verb, c), fmt.Sprintf(verb, &c)} {
			if strings.Contains(got, "secretsecret") || !strings.Contains(got, "shop-7") {
				t.Errorf("%s prints %s", verb, got)
			}
		}
	}
}

func TestHandlerKeepsTheScrapersTimeout(t *testing.T) {
	w := newWorld(t)
	cfg := scraperConfig()
	cfg.RequestTimeout = 300 * time.Millisecond
	s, invite := w.startScraper(cfg)
	end := make(chan struct{})
	defer close(end)
	c := w.startClient(w.newNode(), w.ctx, client.Config{Invite: invite, Alias: "slow", Func: func(ctx context.Context) (string, error) {
		<-end
		return "", nil
	}})
	if err := c.Registered(w.ctx); err != nil {
		t.Fatal(err)
	}
	h, err := s.Handler(scraper.HandlerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	res := httptest.NewRecorder()
	h.ServeHTTP(res, httptest.NewRequest(http.MethodGet, "/scrape/slow/metrics", nil))
	if res.Code != http.StatusGatewayTimeout || !strings.Contains(res.Body.String(), "after 300ms") {
		t.Errorf("%d %s", res.Code, res.Body)
	}
}

func TestHandlerIsMountedBelowAPathAndGuarded(t *testing.T) {
	w := newWorld(t)
	s, invite := w.startScraper(scraperConfig())
	c := w.startClient(w.newNode(), w.ctx, client.Config{Invite: invite, Alias: "shop", Func: text("x 1\n")})
	if err := c.Registered(w.ctx); err != nil {
		t.Fatal(err)
	}
	h, err := s.Handler(scraper.HandlerConfig{RoutePrefix: "/dhtprom", Hosts: []string{"service.example"}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/dhtprom/", h)
	ask := func(path string) (int, string) {
		res := httptest.NewRecorder()
		mux.ServeHTTP(res, httptest.NewRequest(http.MethodGet, path, nil))
		return res.Code, res.Body.String()
	}
	if code, body := ask("http://service.example/dhtprom/scrape/shop/metrics"); code != http.StatusOK || body != "x 1\n" {
		t.Errorf("a scrape: %d %s", code, body)
	}
	if code, body := ask("http://service.example/dhtprom/sd/prometheus"); code != http.StatusOK || !strings.Contains(body, `"/dhtprom/scrape/shop/metrics"`) {
		t.Errorf("discovery: %d %s", code, body)
	}
	if code, body := ask("http://service.example/dhtprom/"); code != http.StatusOK || !strings.Contains(body, `href="/dhtprom/alias?name=shop"`) {
		t.Errorf("the page: %d %s", code, body)
	}
	if code, body := ask("http://evil.example/dhtprom/metrics"); code != http.StatusMisdirectedRequest {
		t.Errorf("under a foreign name: %d %s", code, body)
	}
	if h, err = s.Handler(scraper.HandlerConfig{}); err != nil {
		t.Fatal(err)
	}
	res := httptest.NewRecorder()
	h.ServeHTTP(res, httptest.NewRequest(http.MethodGet, "http://any.example/metrics", nil))
	if res.Code != http.StatusOK {
		t.Errorf("without a guard: %d", res.Code)
	}
	if _, err := s.Handler(scraper.HandlerConfig{Hosts: []string{"http://service.example"}}); err == nil {
		t.Error("a URL was taken for a host name")
	}
}

// A part that used up all the time prevented the goodbyes of the others.
func TestPartThatDoesNotEndDelaysNoOtherClose(t *testing.T) {
	n, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 3)
	for _, name := range []string{"first", "second", "third"} {
		_, err := part.New(n.Host(), "the "+name, func(done func()) {
			if told <- name; name == "first" {
				done()
			}
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	err = n.Close()
	if err == nil || !strings.Contains(err.Error(), "the third") || !strings.Contains(err.Error(), "the second") || strings.Contains(err.Error(), "the first") {
		t.Errorf("%v", err)
	}
	close(told)
	var order []string
	for name := range told {
		order = append(order, name)
	}
	if !slices.Equal(order, []string{"third", "second", "first"}) {
		t.Errorf("told in the order %v", order)
	}
}
