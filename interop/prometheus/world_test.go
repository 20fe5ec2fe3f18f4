package prometheus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/interop/jspeer"
	"github.com/dhtprom/dhtprom/interop/process"
)

// testnetSize is the number of nodes of the private DHT: on three, the JavaScript packages fail every other time, for lack
// of samples of their own address.
const testnetSize = 6

// world is a scraper on a private DHT, from the real programs.
type world struct {
	t         testing.TB
	bootstrap string // 127.0.0.1:port
	secret    string // hex
	key       string // the scraper's, z32
	http      string // the scraper's address
	targets   string // its targets file
}

func newWorld(t testing.TB) *world {
	t.Helper()
	port := process.FreePorts(t, testnetSize)
	w := &world{
		t: t, bootstrap: fmt.Sprintf("127.0.0.1:%d", port), secret: jspeer.Seed("secret"),
		http: process.FreeAddress(t), targets: filepath.Join(t.TempDir(), "sd", "targets.json"),
	}
	process.Start(t, process.Command{Path: "dhtprom-scraper", Args: []string{
		"bootstrap", "--host=127.0.0.1", fmt.Sprintf("--port=%d", port), fmt.Sprintf("--nodes=%d", testnetSize),
	}}).Await("Running DHT nodes")
	process.Start(t, process.Command{
		Path: "dhtprom-scraper",
		Args: []string{"run", "--web.listen-address=" + w.http, "--targets.file=" + w.targets, "--dht.bootstrap=" + w.bootstrap},
		Env:  []string{"DHTPROM_SECRET=" + w.secret},
	})
	process.Until(t, "the scraper accepts registrations", func() error {
		_, err := process.Get("http://" + w.http + "/-/ready")
		return err
	})
	// Prometheus watches the folder of the file, and does not notice for minutes if the folder is created later.
	process.Until(t, "the targets file is there", func() error {
		_, err := os.Stat(w.targets)
		return err
	})
	var status struct{ PublicKey string }
	if err := w.api("http://"+w.http+"/api/v1/status", &status); err != nil {
		t.Fatal(err)
	}
	w.key = status.PublicKey
	return w
}

// goClient runs our client, which forwards an exporter with the given page, and waits for its registration.
func (w *world) goClient(alias, page string) *process.Process {
	w.t.Helper()
	exporter := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		_, _ = out.Write([]byte(page)) // the client notices an error
	}))
	w.t.Cleanup(exporter.Close)
	p := process.Start(w.t, process.Command{
		Path: "dhtprom-client",
		Args: []string{
			"--scraper=" + w.key, "--alias=" + alias, "--service=backup", "--hostname=mercury", "--dht.bootstrap=" + w.bootstrap,
			"--target=" + exporter.URL + "/metrics",
		},
		Env: []string{"DHTPROM_SECRET=" + w.secret},
	})
	w.registered(alias)
	return p
}

// site runs a client with several targets, of which the first has labels, and waits for their registration.
func (w *world) site() {
	w.t.Helper()
	key, err := domain.ParsePublicKey(w.key)
	if err != nil {
		w.t.Fatal(err)
	}
	secret, err := domain.ParseSecret(w.secret)
	if err != nil {
		w.t.Fatal(err)
	}
	page := func(value int) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return fmt.Sprintf("attic_windows %d\n", value), nil }
	}
	node, err := dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: []string{w.bootstrap}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := node.Close(); err != nil {
			w.t.Error(err)
		}
	})
	_, err = client.Start(context.Background(), node, client.Config{
		Scrapers: []app.ClientScraper{{Key: key, Secret: secret}}, Service: "windows", Hostname: "venus",
		Labels: map[string]string{"site": "north", "room": "unknown"},
		Targets: []client.Target{
			{Alias: "attic", Instance: "attic:9100", Labels: map[string]string{"room": "a \"small\" one", "__scrape_interval__": "1s", "__scrape_timeout__": "1s"}, Func: page(2)},
			{Alias: "shed", Func: page(1)},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.registered("attic")
	w.registered("shed")
}

// javaScriptClient runs a dht-prom-client with the given page, and waits for its registration.
func (w *world) javaScriptClient(alias, page string) *jspeer.Peer {
	w.t.Helper()
	p := jspeer.Start(w.t)
	jspeer.StartClient(p, jspeer.Args{
		"dht": jspeer.Args{"bootstrap": []string{w.bootstrap}}, "scraper": w.key, "secret": w.secret,
		"alias": alias, "service": "printer", "hostname": "cellar", "text": page,
	})
	w.registered(alias)
	return p
}

// registered waits until the scraper has an alias and a connection to its client.
func (w *world) registered(alias string) {
	w.t.Helper()
	process.Until(w.t, alias+" is registered", func() error {
		var table struct {
			Aliases []struct{ Alias, Session string }
		}
		if err := w.api("http://"+w.http+"/api/v1/aliases", &table); err != nil {
			return err
		}
		for _, a := range table.Aliases {
			if a.Alias == alias && a.Session == "open" {
				return nil
			}
		}
		return fmt.Errorf("the table is %+v", table)
	})
}

// api requests an API with Prometheus's format of answers.
func (w *world) api(url string, data any) error {
	body, err := process.Get(url)
	if err != nil {
		return err
	}
	envelope := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return err
	}
	if envelope.Status != "success" {
		return errors.New(envelope.Error)
	}
	return nil
}

// prometheus is a running Prometheus.
type prometheus struct {
	*world
	url string
}

// exampleConfig is a file of examples/ with the addresses of this world. It only shortens Prometheus's intervals, or the
// test would take minutes.
func (w *world) exampleConfig(name string) string {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(process.Top(w.t), "examples", name))
	if err != nil {
		w.t.Fatal(err)
	}
	config := strings.NewReplacer(
		"localhost:30000", w.http, "'targets.json'", "'"+w.targets+"'",
		"scrape_interval: 15s", "scrape_interval: 2s", "/sd/prometheus'}", "/sd/prometheus', refresh_interval: 2s}",
	).Replace(string(text))
	if !strings.Contains(config, "global:") {
		config = "global: {scrape_interval: 2s}\n" + config
	}
	return config
}

func (w *world) startPrometheus(config string) *prometheus {
	w.t.Helper()
	dir := w.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		w.t.Fatal(err)
	}
	address := process.FreeAddress(w.t)
	process.Start(w.t, process.Command{Path: "prometheus", Dir: dir, Args: []string{
		"--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=" + address,
	}})
	p := &prometheus{w, "http://" + address}
	process.Until(w.t, "Prometheus is ready", func() error {
		_, err := process.Get(p.url + "/-/ready")
		return err
	})
	return p
}

// sample is one series of an instant query.
type sample struct {
	Metric map[string]string
	Value  [2]any
}

func (p *prometheus) query(expr string) ([]sample, error) {
	var data struct{ Result []sample }
	err := p.api(p.url+"/api/v1/query?query="+url.QueryEscape(expr), &data)
	return data.Result, err
}

// reads waits until a query returns exactly one series with the given value, and returns its labels.
func (p *prometheus) reads(expr, want string) map[string]string {
	p.t.Helper()
	var labels map[string]string
	process.Until(p.t, fmt.Sprintf("%s is %s", expr, want), func() error {
		got, err := p.query(expr)
		if err != nil {
			return err
		}
		if len(got) != 1 || got[0].Value[1] != want {
			return fmt.Errorf("it gives %v", got)
		}
		labels = got[0].Metric
		return nil
	})
	return labels
}

// target is one that Prometheus scrapes.
type target struct {
	Labels           map[string]string
	DiscoveredLabels map[string]string
	ScrapeInterval   string
	Health           string
	LastError        string
}

// awaits waits until right accepts the target of an instance, which is nil if there is none.
func (p *prometheus) awaits(what, instance string, right func(*target) bool) {
	p.t.Helper()
	process.Until(p.t, what, func() error {
		var data struct{ ActiveTargets []target }
		if err := p.api(p.url+"/api/v1/targets?state=active", &data); err != nil {
			return err
		}
		var found *target
		for i, each := range data.ActiveTargets {
			if each.Labels["instance"] == instance {
				found = &data.ActiveTargets[i]
			}
		}
		if !right(found) {
			return fmt.Errorf("the target is %+v", found)
		}
		return nil
	})
}
