package scraper_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/portstest"
	"github.com/dhtprom/dhtprom/scraper"
)

func memberConfig() scraper.Config {
	return scraper.Config{
		Seed: domain.SeedFrom([32]byte{1}), Secrets: []domain.Secret{domain.SecretFrom([32]byte{2, 3})},
		Group: &scraper.GroupConfig{
			Open: func(loop host.Host) (ports.Group, ports.SharedStore, error) {
				g, table := portstest.NewMembers(portstest.NewDisk()).Member(loop, "a")
				return g, table, nil
			},
			Member: domain.Member{Name: "a", URL: "http://a:30000"},
		},
	}
}

func TestScraperJoinsAGroup(t *testing.T) {
	ctx, network, closeAll := exampleNetwork()
	defer closeAll()
	n, err := dhtprom.NewNode(network)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	s, err := scraper.Start(ctx, n, memberConfig())
	if err != nil {
		t.Fatal(err)
	}
	g, ok, err := s.Group(ctx)
	if err != nil || !ok || len(g.Members) != 1 || g.Members[0].URL != "http://a:30000" {
		t.Errorf("%+v, %v, %v", g, ok, err)
	}
	h, err := s.Handler(scraper.HandlerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if !strings.Contains(w.Body.String(), "\ndhtprom_group_members 1\n") {
		t.Error("the handler has no metrics of the group")
	}
	w = httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/scrape/web/metrics", nil)
	r.Header.Set("Authorization", "Dhtprom-Group 00")
	if h.ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
		t.Errorf("a forged request of a member: %d", w.Code)
	}
	if err := s.HandOver(ctx); err != nil { // to none
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.HandOver(ctx); err != nil && !errors.Is(err, domain.ErrClosed) {
		t.Error(err)
	}
}

func TestInvalidGroups(t *testing.T) {
	_, network, closeAll := exampleNetwork()
	defer closeAll()
	n, err := dhtprom.NewNode(network)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for field, change := range map[string]func(*scraper.Config){
		"Group.Open":       func(c *scraper.Config) { c.Group.Open = nil },
		"Group.Member.URL": func(c *scraper.Config) { c.Group.Member.URL = "" },
		"Group":            func(c *scraper.Config) { c.Path = "aliases.db" },
	} {
		cfg := memberConfig()
		change(&cfg)
		_, err := scraper.New(n, cfg)
		if got, ok := errors.AsType[*app.ConfigError](err); !ok || got.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	broken := errors.New("the store is broken")
	cfg := memberConfig()
	cfg.Group.Open = func(host.Host) (ports.Group, ports.SharedStore, error) { return nil, nil, broken }
	if _, err := scraper.New(n, cfg); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
