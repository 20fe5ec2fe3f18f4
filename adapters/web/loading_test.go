package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/domain"
)

// An empty list in place of an error made a real Prometheus drop all targets after each start of the scraper.
func TestNothingIsListedBeforeTheTableIsLoaded(t *testing.T) {
	s := newScraper()
	s.loading = true
	s.pins = []domain.Pin{{Alias: "down", Key: domain.PublicKey{7}}}
	server := adminServer(t, s, func(c *web.Config) { c.Lifecycle = true })
	asks := []struct{ method, path string }{
		{"GET", "/sd/prometheus"}, {"GET", "/api/v1/aliases"}, {"GET", "/api/v1/pins"}, {"GET", "/"}, {"GET", "/alias?name=down"},
		{"GET", "/scrape/up/metrics"}, {"DELETE", "/api/v1/aliases/down"}, {"PUT", "/api/v1/pins/down"}, {"DELETE", "/api/v1/pins/down"},
	}
	for _, a := range asks {
		res, body := do(t, a.method, server.URL+a.path)
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") != "1" || !strings.Contains(body, "not loaded yet") {
			t.Errorf("%s %s while loading: %d, Retry-After %q, %q", a.method, a.path, res.StatusCode, res.Header.Get("Retry-After"), body)
		}
	}
	if _, body := get(t, server.URL+"/metrics"); strings.Contains(body, "dhtprom_aliases ") || !strings.Contains(body, "dhtprom_ready ") {
		t.Error("the metrics count the aliases of a table that is not loaded")
	}
	for _, path := range []string{"/-/healthy", "/api/v1/status", "/node"} {
		if res, _ := get(t, server.URL+path); res.StatusCode != http.StatusOK {
			t.Errorf("%s while loading: %d", path, res.StatusCode)
		}
	}
	s.loading, s.aliases, s.bodies["up"] = false, someAliases(), "up 1\n"
	for _, a := range asks {
		if res, body := do(t, a.method, server.URL+a.path); res.StatusCode != http.StatusOK {
			t.Errorf("%s %s once loaded: %d %q", a.method, a.path, res.StatusCode, body)
		}
	}
}
