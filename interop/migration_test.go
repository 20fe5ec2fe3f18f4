package interop_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/interop/jspeer"
)

// TestOurScraperTakesTheBridgesPlace follows the documentation: stop the bridge, start our scraper with its environment and
// its targets.json. JavaScript clients that register once an hour are scraped at once, and others register as before.
func TestOurScraperTakesTheBridgesPlace(t *testing.T) {
	for prefix, aliases := range map[string][]string{
		"DHT_PROM_":      {"printer", "lamp"},
		"HYPERDHT_PROM_": {"printer"},
	} {
		t.Run(prefix, func(t *testing.T) {
			network := goTestnet(t)
			bridge := javaScript{}.scraper(t, network, scraperConfig{seed: "bridge", secret: "secret", host: "127.0.0.1"})
			clients := map[string]client{}
			var targets []string
			for _, alias := range aliases {
				c := javaScript{}.client(t, network, clientConfig{scraper: bridge.key(), secret: "secret", host: "127.0.0.1", alias: alias})
				c.registered(t)
				c.serve(t, "of_"+alias+" 1\n", "")
				clients[alias] = c
				targets = append(targets, fmt.Sprintf("%q", fmt.Sprintf("%s:%s:cellar:service", alias, key(t, c.key()))))
			}
			// The file as lib/prom-targets.js of the bridge leaves it.
			file := filepath.Join(t.TempDir(), "targets.json")
			content := "[\n {\n  \"labels\": {\n   \"job\": \"aliases\"\n  },\n  \"targets\": [\n   " + strings.Join(targets, ",\n   ") + "\n  ]\n }\n]"
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			bridge.crash()

			_, port, _ := strings.Cut(network.bootstrap[0], ":")
			p := start(t, "dhtprom-scraper", []string{
				prefix + "KEY_PAIR_SEED=" + jspeer.Seed("bridge"), prefix + "SHARED_SECRET=" + jspeer.Seed("secret"),
				prefix + "HTTP_HOST=127.0.0.1", prefix + "HTTP_PORT=0", prefix + "PROMETHEUS_TARGETS_LOC=" + file,
				prefix + "BOOTSTRAP_PORT=" + port, prefix + "LOG_LEVEL=info",
			})
			s := &goScraper{p: p, publicKey: bridge.key(), url: "http://" + p.await(t, "Listening on", nil).text("address")}
			if imported := p.await(t, "import-aliases", nil); fmt.Sprint(imported["entries"]) != fmt.Sprint(len(aliases)) {
				t.Errorf("imported %v", imported)
			}
			if ready := p.await(t, "Accepting registrations", nil); key(t, ready.text("public_key")).Hex() != bridge.key() {
				t.Errorf("the scraper is %s", ready.text("public_key"))
			}
			for alias, c := range clients {
				for _, r := range s.scrape(t, alias, 3) {
					if r.body != "of_"+alias+" 1\n" {
						t.Errorf("%s: %+v", alias, r)
					}
				}
				if got := s.aliases(t)[alias]; got != c.key() {
					t.Errorf("%s has key %s", alias, got)
				}
			}
			if n := p.count("alias-request", nil); n != 0 {
				t.Errorf("it took %d registrations", n)
			}
			// Another client of the same secret registers as before.
			late := javaScript{}.client(t, network, clientConfig{scraper: bridge.key(), secret: "secret", host: "127.0.0.1", alias: "late", every: time.Hour})
			if !late.registered(t) {
				t.Error("a new alias was not new")
			}
			content = readUntil(t, file, "late:"+key(t, late.key()).String())
			for alias, c := range clients {
				if !strings.Contains(content, fmt.Sprintf("%s:%s:cellar:service", alias, domain.PublicKey(key(t, c.key())))) {
					t.Errorf("%s is not in %s", alias, content)
				}
			}
		})
	}
}

// readUntil waits until a file contains a text.
func readUntil(t *testing.T, path, text string) string {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		content, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(content), text) {
			return string(content)
		}
		if time.Now().After(end) {
			t.Fatalf("%s never has %s: %s, %v", path, text, content, err)
		}
	}
}
