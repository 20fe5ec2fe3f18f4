// Package sidecar_test runs dhtprom-client beside an existing exporter: node_exporter, as Debian packages it.
package sidecar_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/dhtprom/dhtprom/interop/process"
)

func TestMain(m *testing.M) { process.Main(m) }

const nodes = 4

// world is a private DHT with a scraper on it, and an invite, all created by the programs.
type world struct {
	t    *testing.T
	dir  string // where the invite is, for the clients to run in
	http string // the scraper's address
}

func newWorld(t *testing.T) *world {
	t.Helper()
	port := process.FreePorts(t, nodes)
	bootstrap := fmt.Sprintf("--dht.bootstrap=127.0.0.1:%d", port)
	process.Start(t, process.Command{Path: "dhtprom-scraper", Args: []string{
		"bootstrap", "--host=127.0.0.1", fmt.Sprintf("--port=%d", port), fmt.Sprintf("--nodes=%d", nodes),
	}}).Await("Running DHT nodes")
	w := &world{t: t, dir: t.TempDir(), http: process.FreeAddress(t)}
	process.Start(t, process.Command{
		Path: "dhtprom-scraper", Args: []string{"run", "--web.listen-address=" + w.http, bootstrap}, Dir: w.dir,
	}).Await("Accepting registrations")
	// The warning that the invite only works on this machine is not part of it.
	invite := process.Run(t, process.Command{Path: "dhtprom-scraper", Args: []string{"invite", bootstrap, "--log.level=error"}, Dir: w.dir})
	if !strings.HasPrefix(invite, "dhtprom1") || strings.Contains(invite, "\n") {
		t.Fatalf("the invite is %q", invite)
	}
	w.write("invite", invite+"\n")
	return w
}

func (w *world) write(name, content string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// nodeExporter runs Debian's node_exporter and returns the URL of its metrics.
func nodeExporter(t *testing.T) string {
	t.Helper()
	process.Need(t, "prometheus-node-exporter")
	address := process.FreeAddress(t)
	process.Start(t, process.Command{Path: "prometheus-node-exporter", Args: []string{"--web.listen-address=" + address}})
	url := "http://" + address + "/metrics"
	process.Until(t, "node_exporter answers", func() error {
		_, err := process.Get(url)
		return err
	})
	return url
}

// scrape waits until an alias has metrics, and reads them as Prometheus does.
func (w *world) scrape(alias string) (names map[string]bool) {
	w.t.Helper()
	var body []byte
	process.Until(w.t, alias+" is scraped", func() (err error) {
		body, err = process.Get("http://" + w.http + "/scrape/" + alias + "/metrics")
		return err
	})
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(body)))
	if err != nil {
		w.t.Fatalf("%s: %v", alias, err)
	}
	names = map[string]bool{}
	for name := range families {
		names[name] = true
	}
	return names
}

func (w *world) wants(names map[string]bool, some ...string) {
	w.t.Helper()
	for _, name := range some {
		if !names[name] {
			w.t.Errorf("%s is missing among %d metrics", name, len(names))
		}
	}
}

func TestNodeExporterIsPassedOn(t *testing.T) {
	t.Parallel()
	exporter := nodeExporter(t)
	w := newWorld(t)
	client := process.Start(t, process.Command{
		Path: "dhtprom-client", Args: []string{"--invite-file=invite", "--alias=laptop", "--service=node", "--target=" + exporter}, Dir: w.dir,
	})
	w.wants(w.scrape("laptop"), "node_load1", "node_memory_MemTotal_bytes", "node_exporter_build_info", "process_cpu_seconds_total")
	client.Stop()
	if body, err := process.Get("http://" + w.http + "/scrape/laptop/metrics"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("after the goodbye: %d bytes, %v", len(body), err)
	}
}

// One client for node_exporter, for another exporter, and for the client's own metrics.
func TestOneClientPassesSeveralExportersOn(t *testing.T) {
	t.Parallel()
	exporter := nodeExporter(t)
	w := newWorld(t)
	own := process.FreeAddress(t)
	w.write("client.yml", `
scrapers:
  - invite_file: invite
targets:
  - alias: laptop
    url: `+exporter+`
    service: node
    timeout: 10s
    body_size_limit: 8MB
    check: true
  - alias: load
    url: `+exporter+`?collect[]=loadavg
    service: node
  - alias: client
    url: http://`+own+`/metrics
    service: dhtprom-client
`)
	check := process.Run(t, process.Command{Path: "dhtprom-client", Args: []string{"--config.file=client.yml", "--config.check"}, Dir: w.dir})
	if !strings.Contains(check, "Targets: 3, scrapers: 1") {
		t.Errorf("the check says %q", check)
	}
	client := process.Start(t, process.Command{
		Path: "dhtprom-client", Args: []string{"--config.file=client.yml", "--web.listen-address=" + own}, Dir: w.dir,
	})
	w.wants(w.scrape("laptop"), "node_load1", "node_memory_MemTotal_bytes")
	load := w.scrape("load")
	w.wants(load, "node_load1")
	if load["node_memory_MemTotal_bytes"] {
		t.Error("the query of a URL is lost")
	}
	w.wants(w.scrape("client"), "dhtprom_client_registered", "dhtprom_client_metrics_requests_total", "dhtprom_client_metrics_size_bytes")
	process.Until(t, "the client is ready", func() error {
		_, err := process.Get("http://" + own + "/-/ready")
		return err
	})
	client.Stop()
}

// newcomerPatience bounds the time from the sources to the first metrics on the screen.
const newcomerPatience = 2 * time.Minute

func TestNewcomerSeesMetricsWithOneCommandWithinTwoMinutes(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	demo := process.Start(t, process.Command{
		Path: "go", Args: []string{"run", "./cmd/dhtprom-scraper", "demo", "--web.listen-address=127.0.0.1:0"}, Dir: process.Top(t),
	})
	url := demo.Await(`curl (http://127\.0\.0\.1:\d+/scrape/\S+)`)[1]
	var body []byte
	process.Until(t, "the demo's client is scraped", func() (err error) {
		body, err = process.Get(url)
		return err
	})
	took := time.Since(begin)
	t.Logf("first metrics after %v", took.Round(10*time.Millisecond))
	if took > newcomerPatience {
		t.Errorf("first metrics after %v, want %v at most", took, newcomerPatience)
	}
	if !strings.Contains(string(body), "go_goroutines") {
		t.Errorf("the page has no metrics of the client's: %.300s", body)
	}
}
