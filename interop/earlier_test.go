package interop_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/interop/earlier"
)

// The version before this one as a peer: its programs with those of this version. It has no channel for scrapes.

const (
	textType     = "text/plain; version=0.0.4; charset=utf-8"
	openType     = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	protobufType = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
	// binary stands for a page of protobuf, which is no valid text.
	binary = "\x0a\x02up\xff"
)

// prometheusAccepts are the formats that Prometheus accepts, the best one first.
var prometheusAccepts = http.Header{"Accept": {protobufType + ";q=0.6," + openType + ";q=0.5," + textType + ";q=0.4"}}

// negotiated is the page of an exporter in the format that its caller asks for, and compressed where the caller decodes that.
func negotiated(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		contentType, body := textType, text
		if strings.Contains(r.Header.Get("Accept"), "protobuf") {
			contentType, body = protobufType, binary
		}
		page(contentType, body)(w, r)
	}
}

// page is a page of an exporter, compressed where its caller decodes that.
func page(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			_, _ = io.WriteString(w, body)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, body)
		_ = z.Close()
	}
}

const earlierAlias = "us"

// wants fails the test unless a scrape, as Prometheus requests it, returns a page.
func (s *goScraper) wants(t testing.TB, what, contentType, body string) {
	t.Helper()
	if got := s.fetch(t, "/scrape/"+earlierAlias+"/metrics", prometheusAccepts); got != (fetched{http.StatusOK, contentType, body}) {
		t.Errorf("%s: %d %s, %d bytes, want %s, %d bytes: %.200q", what, got.status, got.contentType, len(got.body), contentType, len(body), got.body)
	}
}

// answers fails the test unless the answer to a scrape has a status and contains a text.
func (s *goScraper) answers(t testing.TB, what, query, seconds string, status int, text string) {
	t.Helper()
	got := s.fetch(t, "/scrape/"+earlierAlias+"/metrics"+query, http.Header{"X-Prometheus-Scrape-Timeout-Seconds": {seconds}})
	if got.status != status || !strings.Contains(got.body, text) {
		t.Errorf("%s: %d %.300q, want %d and %q", what, got.status, got.body, status, text)
	}
}

func TestTheVersionBeforeScrapesAndIsScraped(t *testing.T) {
	t.Parallel()
	earlier.Programs(t)
	net := bootstrapTestnet(t)
	for _, c := range []struct {
		name              string
		clients, scrapers ours
	}{
		{"client of the version before", ours{before: true}, ours{}},
		{"scraper of the version before", ours{}, ours{before: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const host, secret, alias = "127.0.0.1", "secret", earlierAlias
			scraper := c.scrapers.scraper(t, net, scraperConfig{seed: t.Name() + " scraper", secret: secret, host: host}).(*goScraper)
			begin := func() *goClient {
				return c.clients.client(t, net, clientConfig{
					scraper: scraper.key(), secret: secret, host: host, alias: alias, seed: t.Name(), every: often,
				}).(*goClient)
			}
			client := begin()
			client.serveBy(negotiated("up 1\n"))
			if !client.registered(t) {
				t.Error("the first registration changed nothing")
			}
			if got, updated := scraper.registered(t); got != alias || !updated {
				t.Errorf("the scraper registered %s, updated %v", got, updated)
			}
			scraper.wants(t, "first scrape", textType, "up 1\n")
			scraper.connected(t, alias, client)

			for range scrapesInARow {
				scraper.wants(t, "in a row", textType, "up 1\n")
			}
			var together sync.WaitGroup
			for range 8 {
				together.Go(func() { scraper.wants(t, "at once", textType, "up 1\n") })
			}
			together.Wait()
			client.serveBy(page(openType, "up 1\n# EOF\n"))
			scraper.wants(t, "OpenMetrics", openType, "up 1\n# EOF\n")
			client.serveBy(page(textType, ""))
			scraper.wants(t, "an empty page", textType, "")
			large := metrics(5 << 20)
			client.serveBy(page(textType, large))
			scraper.wants(t, "a large page", textType, large)

			client.serve(t, "", "out of ink")
			scraper.answers(t, "an exporter that fails", "", "60", http.StatusBadGateway, "Failed to obtain metrics (uid ")
			release := make(chan struct{})
			client.serveBy(func(http.ResponseWriter, *http.Request) { <-release })
			scraper.answers(t, "an exporter that hangs", "", "1", http.StatusGatewayTimeout, "timed out")
			close(release)
			client.serveBy(negotiated("up 2\n"))
			scraper.wants(t, "after the failures", textType, "up 2\n")
			if c.scrapers.before {
				scraper.answers(t, "a query, which the version before ignores", "?collect[]=x", "60", http.StatusOK, "up 2\n")
			} else {
				scraper.answers(t, "a query", "?collect[]=x", "60", http.StatusBadRequest, "it is of an older version, or of another implementation")
			}
			scraper.wants(t, "after the query", textType, "up 2\n")
			if client.registered(t) {
				t.Error("a registration of the same key changed something")
			}
			more := func(e entry) bool { return e.text("side") == "scrape" }
			if n := scraper.p.count("connection-open", more) + scraper.p.count("connection-close", more); n != 0 {
				t.Errorf("the connection for scrapes was opened or closed %d times meanwhile", n)
			}

			client.crash()
			client = begin()
			client.serveBy(negotiated("life 2\n"))
			if client.registered(t) {
				t.Error("the same client after a crash changed something")
			}
			scraper.connected(t, alias, client)
			scraper.wants(t, "after the client's restart", textType, "life 2\n")

			client.p.stop(t)
			scraper.answers(t, "after the goodbye", "", "60", http.StatusNotFound, "Unknown alias")
			if all := scraper.aliases(t); len(all) != 0 {
				t.Errorf("after the goodbye there are %v", all)
			}
		})
	}
}

// Either side may be replaced by the other version at any time, with the same identity and storage. Where both have the channel for scrapes,
// a page comes as the exporter made it.
func TestPeersChangeToTheVersionBeforeAndBack(t *testing.T) {
	t.Parallel()
	earlier.Programs(t)
	const host, secret, alias = "127.0.0.1", "secret", earlierAlias
	net := bootstrapTestnet(t)
	cfg := scraperConfig{seed: t.Name() + " scraper", secret: secret, host: host, storage: t.TempDir()}
	scraperKey := keys(t, cfg.seed).Public.Hex()
	var scraper *goScraper
	var client *goClient
	for i, step := range []struct{ client, scraper bool }{ // of the version before
		{true, true}, {true, false}, {false, false}, {false, true}, {true, true}, {false, true}, {false, false}, {true, false}, {true, true},
	} {
		what := fmt.Sprintf("step %d, client of the version before: %v, scraper: %v", i, step.client, step.scraper)
		if scraper == nil || scraper.version.before != step.scraper {
			if scraper != nil {
				scraper.p.stop(t)
			}
			scraper = ours{before: step.scraper}.scraper(t, net, cfg).(*goScraper)
			if client != nil && scraper.aliases(t)[alias] != client.key() {
				t.Errorf("%s: the alias leads to %v", what, scraper.aliases(t))
			}
		}
		if client == nil || client.version.before != step.client {
			if client != nil {
				client.crash()
			}
			client = ours{before: step.client}.client(t, net, clientConfig{
				scraper: scraperKey, secret: secret, host: host, alias: alias, seed: t.Name(),
			}).(*goClient)
			client.serveBy(negotiated("up 1\n"))
			client.registered(t)
		}
		scraper.connected(t, alias, client)
		if step.client || step.scraper {
			scraper.wants(t, what, textType, "up 1\n")
		} else {
			scraper.wants(t, what, protobufType, binary)
		}
	}
}

// Invites have addresses in fields that the version before skips.
func TestTheVersionBeforeReadsInvitesWithAddresses(t *testing.T) {
	t.Parallel()
	client := filepath.Join(earlier.Programs(t), "dhtprom-client")
	key := func(n byte) domain.PublicKey { return domain.KeyPairFromSeed(domain.SeedFrom([32]byte{n})).Public }
	at := domain.Address{Host: "scraper.example", Port: 443}
	text, err := domain.Invite{
		Scraper: key(1), Secret: domain.SecretFrom([32]byte{2}), Bootstrap: []string{"192.0.2.1:49737"},
		Relays: []domain.Reference{{Key: key(3), Addr: at}}, Addrs: []domain.Address{at},
	}.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(client, "--config.check", "--alias=a")
	cmd.Env = append(os.Environ(), "DHTPROM_INVITE="+text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
