package direct_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/dhtprom/dhtprom"
	exporters "github.com/dhtprom/dhtprom/adapters/source/exporter"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/interop/process"
	"github.com/dhtprom/dhtprom/node"
	"github.com/dhtprom/dhtprom/scraper"
)

// world is a private DHT with a client and a scraper, each on a node of its own.
type world struct {
	scraper *httptest.Server
}

// newWorld starts a client with targets and waits until the scraper has registered them.
func newWorld(t *testing.T, targets ...client.Target) *world {
	t.Helper()
	dht, err := node.NewDHT(node.DHTConfig{})
	must(t, err)
	t.Cleanup(func() { dht.Close() })
	newNode := func() *dhtprom.Node {
		n, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: dht.Bootstrap()})
		must(t, err)
		t.Cleanup(func() { must(t, n.Close()) })
		return n
	}
	s, err := scraper.Start(t.Context(), newNode(), scraper.Config{
		Seed: domain.SeedFrom([32]byte{1}), Secrets: []domain.Secret{domain.SecretFrom([32]byte{2, 3})},
	})
	must(t, err)
	invite, err := s.Invite(dht.Bootstrap()...)
	must(t, err)
	handler, err := s.Handler(scraper.HandlerConfig{})
	must(t, err)
	w := &world{scraper: httptest.NewServer(handler)}
	t.Cleanup(w.scraper.Close)
	c, err := client.Start(t.Context(), newNode(), client.Config{Invite: invite, Targets: targets})
	must(t, err)
	process.Until(t, "the targets are registered", func() error {
		status, err := c.Status(t.Context())
		if err != nil {
			return err
		}
		if ok, missing := status.Ready(); !ok {
			return fmt.Errorf("%v are not", missing)
		}
		return nil
	})
	return w
}

// through returns the URL of a target at the scraper.
func (w *world) through(alias string) string { return w.scraper.URL + "/scrape/" + alias + "/metrics" }

// target is an exporter with a URL.
func target(t *testing.T, alias, address string) client.Target {
	t.Helper()
	u, err := url.Parse(address)
	must(t, err)
	return client.Target{Alias: alias, HTTP: &exporters.Config{Target: exporters.Target{URL: u}}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// exporter is a server whose page changes. It keeps the header of the last request.
type exporter struct {
	url string

	mu   sync.Mutex
	page http.Handler
	seen http.Header
}

func newExporter(t *testing.T) *exporter {
	t.Helper()
	x := &exporter{}
	server := httptest.NewServer(x)
	t.Cleanup(server.Close)
	x.url = server.URL + "/metrics"
	return x
}

func (e *exporter) serve(page http.Handler) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.page = page
}

// last returns the header of the last request, without the time that was left.
func (e *exporter) last() http.Header {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.seen.Clone()
	h.Del("X-Prometheus-Scrape-Timeout-Seconds")
	return h
}

// ServeHTTP implements http.Handler.
func (e *exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	page := e.page
	e.seen = r.Header
	e.mu.Unlock()
	page.ServeHTTP(w, r)
}
