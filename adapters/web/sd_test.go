package web_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/web"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/interop/tool"
)

func discover(t *testing.T, at string) []web.TargetGroup {
	t.Helper()
	res, body := get(t, at)
	var groups []web.TargetGroup
	if err := json.Unmarshal([]byte(body), &groups); err != nil || res.StatusCode != 200 {
		t.Fatalf("%d %q: %v", res.StatusCode, body, err)
	}
	if got := res.Header.Get("Content-Type"); got != "application/json; charset=utf-8" {
		t.Errorf("type %q", got)
	}
	return groups
}

// A long list takes several turns of the loop, between which scrapes go on and the table changes.
func TestLongListsTakeSeveralTurns(t *testing.T) {
	const most = 512 // in a turn
	for _, n := range []int{0, 1, most, most + 1, 5 * most} {
		s := newScraper()
		var want []string
		for i := range n {
			alias := domain.Alias(fmt.Sprintf("a%05d", i))
			s.aliases = append(s.aliases, domain.AliasStatus{Entry: domain.Entry{Alias: alias, Key: domain.PublicKey{2}}})
			if i != n/2 {
				want = append(want, string(alias))
			}
		}
		s.listing = func(turn int) {
			if turn == n/most/2 && n > 0 {
				s.aliases = slices.Delete(slices.Clone(s.aliases), n/2, n/2+1)
			}
		}
		var got []string
		for _, g := range discover(t, serve(t, s).URL+"/sd/prometheus") {
			got = append(got, g.Labels["__meta_dhtprom_alias"])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d targets of %d", len(got), len(want))
		}
		if s.longest > most || s.lists > n/most+1 {
			t.Errorf("%d aliases: %d turns, the longest with %d", n, s.lists, s.longest)
		}
	}
}

func TestDiscoveryListsEveryAliasAsATargetAtTheScrapersOwnAddress(t *testing.T) {
	s := newScraper()
	s.aliases = someAliases()
	server := serve(t, s)
	groups := discover(t, server.URL+"/sd/prometheus")
	if len(groups) != 3 {
		t.Fatalf("%d groups", len(groups))
	}
	g := groups[0]
	if len(g.Targets) != 1 || "http://"+g.Targets[0] != server.URL {
		t.Errorf("targets %v", g.Targets)
	}
	for label, want := range map[string]string{
		"__scheme__": "http", "__metrics_path__": "/scrape/~a~3ab~2f~3cc~3e/metrics", "instance": "a:b/<c>", "job": "s", "service": "s", "hostname": "h",
		"__meta_dhtprom_alias": "a:b/<c>", "__meta_dhtprom_key": s.aliases[0].Key.String(), "__meta_dhtprom_service": "s", "__meta_dhtprom_hostname": "h",
	} {
		if g.Labels[label] != want {
			t.Errorf("%s is %q, want %q", label, g.Labels[label], want)
		}
	}
}

func TestTargetsOfASocketHaveItsAddress(t *testing.T) {
	s := newScraper()
	s.aliases = someAliases()[:1]
	h := serve(t, s).Config.Handler
	r := httptest.NewRequest(http.MethodGet, "http://localhost/sd/prometheus", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(web.WithAddress(r.Context(), "unix:/run/web.sock")))
	if body := w.Body.String(); !strings.Contains(body, `"targets":["unix:/run/web.sock"]`) {
		t.Errorf("%d %s", w.Code, body)
	}
}

func TestLabelsOfTargetsAreListed(t *testing.T) {
	s := newScraper()
	s.aliases = someAliases()[:1]
	var err error
	if s.aliases[0].Labels, err = domain.ParseLabels(map[string]string{"rack": "7", "__scrape_interval__": "30s"}); err != nil {
		t.Fatal(err)
	}
	s.aliases[0].Label = "db:9187"
	server := serve(t, s)
	labels := discover(t, server.URL+"/sd/prometheus")[0].Labels
	for label, want := range map[string]string{
		"rack": "7", "__meta_dhtprom_label_rack": "7", "__scrape_interval__": "30s", "__meta_dhtprom_label___scrape_interval__": "30s",
		"instance": "db:9187", "hostname": "h", "job": "s", "__meta_dhtprom_alias": string(s.aliases[0].Alias),
	} {
		if labels[label] != want {
			t.Errorf("%s is %q, want %q", label, labels[label], want)
		}
	}
	if _, body := get(t, server.URL+"/api/v1/aliases"); !strings.Contains(body, `"instance":"db:9187","labels":{"__scrape_interval__":"30s","rack":"7"}`) {
		t.Errorf("the API lists %s", body)
	}
}

func TestDiscoveredTargetsLeadToTheirAlias(t *testing.T) {
	s := newScraper()
	s.aliases = someAliases()
	for _, a := range s.aliases {
		s.bodies[string(a.Alias)] = "of " + string(a.Alias) + "\n"
	}
	for _, g := range discover(t, serve(t, s).URL+"/sd/prometheus") {
		u := url.URL{Scheme: g.Labels["__scheme__"], Host: g.Targets[0], Path: g.Labels["__metrics_path__"]} // as Prometheus does
		if _, body := get(t, u.String()); body != "of "+g.Labels["instance"]+"\n" {
			t.Errorf("%s gives %q", u.String(), body)
		}
	}
}

// A proxy that resolves dots and merges slashes, and a scraper that takes the path for the text of a URL, as vmagent
// does, must reach every alias.
func TestDiscoveredPathsSurviveProxiesAndReadersThatDoNotEscape(t *testing.T) {
	s := newScraper()
	aliases := []string{"plain", "a/b", "../../x", "./a", "..", "a//b", "x?y=1&z", "x#y", "100%", "%2e%2e", "my web", "ünï/電", "~", "~~7e", `a\b`}
	for _, a := range aliases {
		s.aliases = append(s.aliases, domain.AliasStatus{Entry: domain.Entry{Alias: domain.Alias(a), Key: domain.PublicKey{1}}})
		s.bodies[a] = "of " + a + "\n"
	}
	h := handler(t, newLoop(t), s)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL = &url.URL{Path: path.Clean(r.URL.Path), RawQuery: r.URL.RawQuery}
		h.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	groups := discover(t, proxy.URL+"/sd/prometheus")
	if len(groups) != len(aliases) {
		t.Fatalf("%d groups", len(groups))
	}
	for _, g := range groups {
		if _, body := get(t, "http://"+g.Targets[0]+g.Labels["__metrics_path__"]); body != "of "+g.Labels["instance"]+"\n" {
			t.Errorf("%q at %s gives %q", g.Labels["instance"], g.Labels["__metrics_path__"], body)
		}
	}
}

func TestDiscoveryLeavesOutWhatClientsDidNotName(t *testing.T) {
	s := newScraper()
	s.aliases = someAliases()[:1]
	s.aliases[0].Service, s.aliases[0].Hostname = "", ""
	g := discover(t, serve(t, s).URL+"/sd/prometheus")[0]
	_, service := g.Labels["service"]
	_, hostname := g.Labels["hostname"]
	if service || hostname || g.Labels["job"] != "dhtprom" {
		t.Errorf("labels %v", g.Labels)
	}
	s.aliases[0].Overdue = true // not scraped any more
	if _, body := get(t, serve(t, s).URL+"/sd/prometheus"); body != "[]\n" {
		t.Errorf("an expired alias is listed: %q", body)
	}
	s.aliases = nil
	if _, body := get(t, serve(t, s).URL+"/sd/prometheus"); body != "[]\n" {
		t.Errorf("an empty table is %q", body)
	}
}

func TestDiscoveryNamesTheExternalURL(t *testing.T) {
	s := newScraper()
	s.aliases = someAliases()[:1]
	external, _ := url.Parse("https://metrics.example/dhtprom/")
	root := ""
	for name, c := range map[string]struct {
		prefix *string
		ask    string
	}{
		"a proxy that keeps the path": {nil, "/dhtprom/sd/prometheus"},
		"a proxy that cuts it off":    {&root, "/sd/prometheus"},
	} {
		h := handlerWith(t, newLoop(t), s, func(c0 *web.Config) { c0.ExternalURL, c0.RoutePrefix = external, c.prefix })
		server := httptest.NewServer(h)
		defer server.Close()
		g := discover(t, server.URL+c.ask)[0]
		if g.Targets[0] != "metrics.example" || g.Labels["__scheme__"] != "https" || g.Labels["__metrics_path__"] != "/dhtprom/scrape/~a~3ab~2f~3cc~3e/metrics" {
			t.Errorf("%s: %+v", name, g)
		}
	}
	secure := httptest.NewUnstartedServer(handler(t, newLoop(t), s))
	secure.TLS = &tls.Config{}
	secure.StartTLS()
	defer secure.Close()
	res, err := secure.Client().Get(secure.URL + "/sd/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var groups []web.TargetGroup
	if err := json.NewDecoder(res.Body).Decode(&groups); err != nil || groups[0].Labels["__scheme__"] != "https" {
		t.Errorf("over TLS: %v, %v", groups, err)
	}
}

func TestRoutePrefixIsInFrontOfEverything(t *testing.T) {
	s := newScraper()
	s.bodies["a"] = "x 1\n"
	prefix := "/below/"
	server := httptest.NewServer(handlerWith(t, newLoop(t), s, func(c *web.Config) { c.RoutePrefix, c.TelemetryPath = &prefix, "/own" }))
	defer server.Close()
	for path, code := range map[string]int{
		"/below/": 200, "/below": 302, "/": 302, "/below/own": 200, "/below/metrics": 404, "/own": 404, "/below/-/healthy": 200,
		"/below/scrape/a/metrics": 200, "/scrape/a/metrics": 404, "/belowscrape/a/metrics": 404,
	} {
		if res, body := get(t, server.URL+path); res.StatusCode != code {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	for _, path := range []string{"x", "/", "/-/ready", "/scrape/a/metrics"} {
		if _, err := web.New(web.Config{Loop: newLoop(t), Scraper: s, Log: discard, TelemetryPath: path}); err == nil {
			t.Errorf("telemetry path %q was taken", path)
		}
	}
}

// Issue row 6.14: the example configuration of the JavaScript packages does not load.
func TestExamplesAreLoadedByPrometheus(t *testing.T) {
	promtool := tool.Require(t, "promtool")
	configs, err := filepath.Glob("../../examples/prometheus*.yml")
	if err != nil || len(configs) < 2 {
		t.Fatalf("%v, %v", configs, err)
	}
	for _, c := range configs {
		if out, err := exec.Command(promtool, "check", "config", c).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", c, err, out)
		}
	}
}

// TestPrometheusDiscoversByTheExample has Prometheus's own discovery read the list, with the configuration of the
// example.
func TestPrometheusDiscoversByTheExample(t *testing.T) {
	promtool := tool.Require(t, "promtool")
	s := newScraper()
	s.aliases = someAliases()
	server := serve(t, s)
	content, err := os.ReadFile("../../examples/prometheus-http.yml")
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(server.URL, "http://")
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(string(content), "localhost:30000", host)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(promtool, "check", "service-discovery", "--timeout=1s", config, "dhtprom").Output()
	var found []struct{ Labels map[string]string }
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	if err != nil || len(found) != 3 {
		t.Fatalf("%v: %s", err, out)
	}
	for _, a := range s.aliases {
		if !slices.ContainsFunc(found, func(f struct{ Labels map[string]string }) bool {
			return f.Labels["instance"] == string(a.Alias) && f.Labels["service"] == a.Service && f.Labels["hostname"] == a.Hostname
		}) {
			t.Errorf("%q is not among %s", a.Alias, out)
		}
	}
}
