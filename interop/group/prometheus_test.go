package group_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/client"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/interop/jspeer"
	"github.com/dhtprom/dhtprom/interop/process"
)

// crowd is the number of clients, of which those of the JavaScript packages renew their registrations hourly. DHTPROM_GROUP_CLIENTS sets
// other numbers: "300,20".
func crowd(t *testing.T) (ours, javaScript int) {
	ours, javaScript = 40, 5
	if text := os.Getenv("DHTPROM_GROUP_CLIENTS"); text != "" {
		if _, err := fmt.Sscanf(text, "%d,%d", &ours, &javaScript); err != nil {
			t.Fatalf("DHTPROM_GROUP_CLIENTS: %v, want two numbers as in 300,20", err)
		}
	}
	return ours, javaScript
}

const (
	// interval is Prometheus's, a fifth of the usual 10 s, as the lease of the members is.
	interval = 2 * time.Second
	// perNode is the number of clients that share a node, which answers eight callers of one key at a time.
	perNode = 4
)

// Prometheus scrapes all clients through a load balancer, while members and etcd are killed, and restarted in turn.
func TestPrometheusScrapesAGroup(t *testing.T) {
	f := newGroupOn(t, 3, "a", "b", "c")
	f.leader("")
	ours, javaScript := crowd(t)
	f.crowd(ours)
	f.javaScriptCrowd(javaScript)
	all := ours + javaScript
	b := f.balancer()
	p := f.prometheus(b.address)
	process.Until(t, "all clients are up", func() error { return p.up(all) })

	// gaps are judged by the scrapes that failed since a moment, of each client.
	allowed := func(what string, most int, disturb func()) {
		t.Helper()
		begun := time.Now()
		disturb()
		process.Until(t, "all clients are up after "+what, func() error { return p.up(all) })
		quiet := time.Now().Add(interval)
		process.Until(t, "each client was scraped again", func() error { return p.scraped(quiet) })
		lost, worst, err := p.gaps(time.Since(begun))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d scrapes lost in %v, at most %d of one client", what, lost, time.Since(begun).Round(time.Second), worst)
		if worst > most {
			t.Errorf("%s: a client has %d lost scrapes, want at most %d; requests that failed:\n%s", what, worst, most, b.failures(begun))
		}
	}
	leader := f.leader("")
	allowed("a member was killed", 2, func() {
		name := others(f.members, leader)[0]
		f.members[name].Kill()
		delete(f.members, name)
		f.start(name)
	})
	allowed("the leader was killed", 2, func() {
		leader = f.leader("")
		f.members[leader].Kill()
		delete(f.members, leader)
		f.leader(leader)
		f.start(leader)
	})
	allowed("an etcd node was killed", 0, func() {
		f.store.Kill(f.store.Leader())
		f.leader("")
	})
	allowed("all members were restarted in turn", 0, func() {
		for _, name := range []string{"a", "b", "c"} {
			f.members[name].Stop()
			delete(f.members, name)
			f.start(name)
		}
	})
}

// crowd starts clients in this process.
func (f *fellows) crowd(n int) {
	f.t.Helper()
	var node *dhtprom.Node
	for i := range n {
		if i%perNode == 0 {
			var err error
			if node, err = dhtprom.NewNode(dhtprom.NodeConfig{Bootstrap: []string{f.bootstrap}}); err != nil {
				f.t.Fatal(err)
			}
			f.t.Cleanup(func() { _ = node.Close() })
		}
		_, err := client.Start(context.Background(), node, client.Config{
			Scrapers: []app.ClientScraper{{Key: domain.KeyPairFromSeed(f.seed).Public, Secret: f.secret}},
			Alias:    fmt.Sprintf("ours-%d", i), Func: func(context.Context) (string, error) { return "up_since 1\n", nil },
		})
		if err != nil {
			f.t.Fatal(err)
		}
	}
}

// javaScriptCrowd starts clients of the JavaScript packages in a process of their own.
func (f *fellows) javaScriptCrowd(n int) {
	f.t.Helper()
	p := jspeer.Start(f.t)
	for i := range n {
		jspeer.StartClient(p, jspeer.Args{
			"dht": jspeer.Args{"bootstrap": []string{f.bootstrap}}, "scraper": domain.KeyPairFromSeed(f.seed).Public.String(),
			"secret": f.secret.RevealText(), "alias": fmt.Sprintf("javascript-%d", i), "service": "s", "hostname": "h", "text": "up_since 1\n",
		})
	}
}

// balancer is a load balancer: it passes requests to the members that are ready, in turn.
type balancer struct {
	address string

	mu     sync.Mutex
	urls   []*url.URL
	turn   int
	failed []failure
}

// failure is a request that a member did not answer with 200.
type failure struct {
	at   time.Time
	text string
}

func (f *fellows) balancer() *balancer {
	b := &balancer{}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(b.next())
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 1000},
		ModifyResponse: func(res *http.Response) error {
			if res.StatusCode == http.StatusOK {
				return nil
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			res.Body = io.NopCloser(bytes.NewReader(body))
			b.fail(res.Request, fmt.Sprintf("%s %s", res.Status, body))
			return err
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			b.fail(r, err.Error())
			w.WriteHeader(http.StatusBadGateway)
		},
	})
	f.t.Cleanup(server.Close)
	b.address = server.Listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	f.t.Cleanup(stop)
	f.ready = func(ready map[string]bool) { b.set(ready) }
	go f.watch(ctx)
	return b
}

func (b *balancer) fail(r *http.Request, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.failed = append(b.failed, failure{now, fmt.Sprintf("%s %s: %s", now.Format("15:04:05.000"), r.URL, strings.TrimSpace(why))})
}

// failures describes the requests that failed since a moment.
func (b *balancer) failures(since time.Time) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []string
	for _, f := range b.failed {
		if f.at.After(since) {
			lines = append(lines, f.text)
		}
	}
	return strings.Join(lines[:min(len(lines), 20)], "\n")
}

func (b *balancer) set(ready map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.urls = b.urls[:0:0]
	for text := range ready {
		if u, err := url.Parse(text); err == nil {
			b.urls = append(b.urls, u)
		}
	}
}

func (b *balancer) next() *url.URL {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.urls) == 0 {
		return &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	}
	b.turn++
	return b.urls[b.turn%len(b.urls)]
}

// watch checks the readiness of all members that were started, as a load balancer does.
func (f *fellows) watch(ctx context.Context) {
	check := time.NewTicker(100 * time.Millisecond)
	defer check.Stop()
	for {
		ready := map[string]bool{}
		for _, u := range f.urls() {
			if _, err := process.Get(u + "/-/ready"); err == nil {
				ready[u] = true
			}
		}
		f.ready(ready)
		select {
		case <-check.C:
		case <-ctx.Done():
			return
		}
	}
}

// prometheusServer is a running Prometheus.
type prometheusServer struct{ url string }

func (f *fellows) prometheus(scrapers string) *prometheusServer {
	f.t.Helper()
	dir := f.t.TempDir()
	config := fmt.Sprintf(`
global: {scrape_interval: %[1]v, scrape_timeout: %[1]v}
scrape_configs:
- job_name: dhtprom
  basic_auth: {username: prometheus, password: %[2]q}
  http_sd_configs:
  - url: http://%[3]s/sd/prometheus
    refresh_interval: 2s
    basic_auth: {username: prometheus, password: %[2]q}
`, interval, password, scrapers)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		f.t.Fatal(err)
	}
	address := process.FreeAddress(f.t)
	process.Start(f.t, process.Command{Path: "prometheus", Dir: dir, Args: []string{
		"--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=" + address,
	}})
	p := &prometheusServer{"http://" + address}
	process.Until(f.t, "Prometheus is ready", func() error {
		_, err := process.Get(p.url + "/-/ready")
		return err
	})
	return p
}

// query returns the values of an instant query.
func (p *prometheusServer) query(expr string) (values []float64, err error) {
	body, err := process.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	for _, r := range answer.Data.Result {
		var v float64
		if _, err := fmt.Sscan(fmt.Sprint(r.Value[1]), &v); err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// up returns an error unless so many targets, and no others, are up.
func (p *prometheusServer) up(want int) error {
	up, err := p.query("sum(up)")
	if err != nil {
		return err
	}
	count, err := p.query("count(up)")
	if err == nil && (len(up) != 1 || up[0] != float64(want) || len(count) != 1 || count[0] != float64(want)) {
		err = fmt.Errorf("%v of %v are up, want %d", up, count, want)
	}
	return err
}

// scraped returns an error unless all targets were scraped after a time.
func (p *prometheusServer) scraped(after time.Time) error {
	last, err := p.query("min(timestamp(up))")
	if err == nil && (len(last) != 1 || last[0] <= float64(after.UnixMilli())/1e3) {
		err = fmt.Errorf("the oldest last scrape was at %v", last)
	}
	return err
}

// gaps counts the scrapes that failed in a time until now: in all, and the most of one target.
func (p *prometheusServer) gaps(last time.Duration) (lost, worst int, err error) {
	values, err := p.query(fmt.Sprintf("count_over_time(up[%[1]ds]) - sum_over_time(up[%[1]ds])", int(last.Seconds())))
	for _, v := range values {
		lost, worst = lost+int(v), max(worst, int(v))
	}
	if err == nil && len(values) == 0 {
		err = fmt.Errorf("no target in the last %v", last)
	}
	return lost, worst, err
}
