package scraper_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/scraper"
)

var (
	testSeed   = domain.SeedFrom([32]byte{1})
	testSecret = domain.SecretFrom([32]byte{2, 3})
)

// started returns a scraper on a node of its own.
func started(t *testing.T, ctx context.Context, network dhtprom.NodeConfig) *scraper.Scraper {
	t.Helper()
	n, err := dhtprom.NewNode(network)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	s, err := scraper.Start(ctx, n, scraper.Config{Seed: testSeed, Secrets: []domain.Secret{testSecret}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A service adds, pins and removes aliases by itself, without a registration.
func TestServiceDecidesWhichAliasesThereAre(t *testing.T) {
	ctx, network, closeAll := exampleNetwork()
	t.Cleanup(closeAll)
	s := started(t, ctx, network)
	key := serving(t, ctx, network, "x 1\n")
	put := domain.Register{Alias: "shop-7", Key: key, Service: "shop"}
	if updated, err := s.PutAlias(ctx, put); err != nil || !updated {
		t.Fatalf("put: %v, %v", updated, err)
	}
	if updated, err := s.PutAlias(ctx, put); err != nil || updated {
		t.Errorf("put again: %v, %v", updated, err)
	}
	if body, err := s.Scrape(ctx, "shop-7"); err != nil || string(body) != "x 1\n" {
		t.Errorf("scraped %q, %v", body, err)
	}
	if d, err := s.Alias(ctx, "shop-7"); err != nil || d.Key != key || d.Service != "shop" || len(d.Scrapes) != 1 {
		t.Errorf("alias: %+v, %v", d, err)
	}
	if _, err := s.Alias(ctx, "shop-8"); !errors.Is(err, domain.ErrUnknownAlias) {
		t.Errorf("an alias that there is not: %v", err)
	}
	stats, err := s.Stats(ctx)
	if err != nil || stats.Aliases != 1 || stats.Scrapes != 1 {
		t.Errorf("stats: %+v, %v", stats, err)
	}

	if p, err := s.Pin(ctx, "shop-7", domain.PublicKey{}); err != nil || p.Key != key {
		t.Errorf("pin: %+v, %v", p, err)
	}
	put.Key = domain.KeyPairFromSeed(domain.SeedFrom([32]byte{9})).Public
	if _, err := s.PutAlias(ctx, put); err == nil {
		t.Error("a pinned alias was put with another key")
	}
	if pins, err := s.Pins(ctx); err != nil || len(pins) != 1 || pins[0].Alias != "shop-7" {
		t.Errorf("pins: %v, %v", pins, err)
	}
	if found, err := s.Unpin(ctx, "shop-7"); err != nil || !found {
		t.Errorf("unpin: %v, %v", found, err)
	}
	for _, want := range []bool{true, false} {
		if found, err := s.Forget(ctx, "shop-7"); err != nil || found != want {
			t.Errorf("forget: %v, %v, want %v", found, err, want)
		}
	}
	if all, err := s.Aliases(ctx); err != nil || len(all) != 0 {
		t.Errorf("aliases: %v, %v", all, err)
	}
}

func TestServiceReadsTheRejectedRegistrations(t *testing.T) {
	ctx, network, closeAll := exampleNetwork()
	t.Cleanup(closeAll)
	s := started(t, ctx, network)
	n, err := dhtprom.NewNode(network)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	rejected := make(chan struct{}, 100)
	wrong := domain.SecretFrom([32]byte{7})
	c, err := client.Start(ctx, n, client.Config{
		Scrapers: scrapers(wrong), Alias: "shop-7", Func: text("x 1\n"),
		OnEvent: func(e domain.Event) {
			if _, ok := e.(domain.RegisterAliasError); ok {
				rejected <- struct{}{}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	<-rejected
	_ = c.Close()
	all, err := s.Refusals(ctx)
	if err != nil || len(all) == 0 || all[0].Alias != "shop-7" || all[0].Reason != "unauthorised" {
		t.Errorf("refusals: %+v, %v", all, err)
	}
}

func TestSessionScrapesAClientByItsKey(t *testing.T) {
	ctx, network, closeAll := exampleNetwork()
	t.Cleanup(closeAll)
	key := serving(t, ctx, network, "x 1\n")
	n, err := dhtprom.NewNode(network)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	opened := make(chan domain.ConnectionOpen, 10)
	s, err := scraper.StartSession(ctx, n, scraper.SessionConfig{Seed: testSeed, Client: key, OnEvent: func(e domain.Event) {
		if open, ok := e.(domain.ConnectionOpen); ok {
			opened <- open
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	within, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	for range 2 {
		if body, err := s.RequestMetrics(within); err != nil || string(body) != "x 1\n" {
			t.Errorf("got %q, %v", body, err)
		}
	}
	if open := <-opened; open.Peer.Key != key || open.Side != domain.SideScrape {
		t.Errorf("%+v", open)
	}
	if state, why, err := s.State(ctx); err != nil || state != domain.SessionOpen || why != nil {
		t.Errorf("state %v, %v, %v", state, why, err)
	}
	if peer, connected, err := s.Peer(ctx); err != nil || !connected || peer.Key != key {
		t.Errorf("peer %+v, %v, %v", peer, connected, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	<-s.Done()
	if _, err := s.RequestMetrics(ctx); !errors.Is(err, dhtprom.ErrClosed) {
		t.Errorf("a request after Close: %v", err)
	}
}

func TestSessionFailsAtOnceWhereTheClientCannotBeReached(t *testing.T) {
	ctx, network, closeAll := exampleNetwork()
	t.Cleanup(closeAll)
	n, err := dhtprom.NewNode(network)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := scraper.StartSession(ctx, n, scraper.SessionConfig{Client: domain.PublicKey{1}}); err == nil {
		t.Error("a session without a seed was started")
	}
	if _, err := scraper.StartSession(ctx, n, scraper.SessionConfig{Seed: testSeed}); err == nil {
		t.Error("a session without a client was started")
	}
	nowhere := domain.KeyPairFromSeed(domain.SeedFrom([32]byte{77})).Public
	s, err := scraper.StartSession(ctx, n, scraper.SessionConfig{Seed: testSeed, Client: nowhere, RequestTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first waits for the dial that fails, the second finds the session waiting
		if _, err := s.RequestMetrics(ctx); !errors.Is(err, domain.ErrNotConnected) {
			t.Errorf("got %v", err)
		}
	}
	if state, why, err := s.State(ctx); err != nil || state != domain.SessionWaiting || why == nil {
		t.Errorf("state %v, %v, %v", state, why, err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	<-s.Done()
}

// A service gives the requests of its own pages less time than Prometheus's.
func TestHandlerHasATimeOfItsOwn(t *testing.T) {
	ctx, network, closeAll := exampleNetwork()
	t.Cleanup(closeAll)
	s := started(t, ctx, network)
	if _, err := s.Handler(scraper.HandlerConfig{RequestTimeout: -time.Second}); err == nil {
		t.Error("a negative time was accepted")
	}
	h, err := s.Handler(scraper.HandlerConfig{RequestTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	silent := domain.Register{Alias: "silent", Key: hanging(t, ctx, network)}
	if _, err := s.PutAlias(ctx, silent); err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/scrape/silent/metrics", nil))
	if answer.Code != http.StatusGatewayTimeout || !strings.Contains(answer.Body.String(), "ms waiting") {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

// hanging starts a client whose metrics take as long as a request waits, and returns its key.
func hanging(t *testing.T, ctx context.Context, network dhtprom.NodeConfig) domain.PublicKey {
	return servingBy(t, ctx, network, func(ctx context.Context) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	})
}

// serving starts a client whose registrations are rejected, and returns its key.
func serving(t *testing.T, ctx context.Context, network dhtprom.NodeConfig, page string) domain.PublicKey {
	return servingBy(t, ctx, network, text(page))
}

func servingBy(t *testing.T, ctx context.Context, network dhtprom.NodeConfig, collect func(context.Context) (string, error)) domain.PublicKey {
	t.Helper()
	n, err := dhtprom.NewNode(network)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	c, err := client.Start(ctx, n, client.Config{Scrapers: scrapers(domain.SecretFrom([32]byte{8})), Alias: "alone", Func: collect})
	if err != nil {
		t.Fatal(err)
	}
	return c.PublicKey()
}

func scrapers(secret domain.Secret) []app.ClientScraper {
	return []app.ClientScraper{{Key: domain.KeyPairFromSeed(testSeed).Public, Secret: secret}}
}

func text(page string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return page, nil }
}
