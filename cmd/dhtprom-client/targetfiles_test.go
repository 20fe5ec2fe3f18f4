package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// put replaces a file as a configuration management does.
func put(t *testing.T, path, content string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path+".new", []byte(content), 0o600), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

// awaitTargets waits until a scraper has exactly the aliases.
func (r *running) awaitTargets(aliases ...string) {
	r.t.Helper()
	slices.Sort(aliases)
	want := strings.Join(aliases, " ")
	for late := time.After(patience); ; {
		all := make(chan string, 1)
		r.node.Host().Post(func() {
			var names []string
			for _, a := range r.scraper.Aliases() {
				names = append(names, string(a.Alias))
			}
			all <- strings.Join(names, " ")
		})
		got := <-all
		if got == want {
			return
		}
		select {
		case <-late:
			r.t.Fatalf("the aliases are %s, want %s", got, want)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// A site whose targets are in files that were written for Prometheus.
func TestTargetsOfFilesAreServedAndFollowed(t *testing.T) {
	b := newBench(t)
	address := func(body string) string {
		return strings.TrimSuffix(strings.TrimPrefix(exporterURL(t, body), "http://"), "/metrics")
	}
	one, two := address("one 1\n"), address("two 2\n")
	dir := folder(t, map[string]string{
		"invite": b.invite(t), "a.yaml": "- targets: ['" + one + "']\n  labels: {rack: '7', __scrape_interval__: 30s}\n",
		"c.yml": "scrapers: [{invite_file: invite}]\nlabels: {site: berlin}\nfile_sd_configs:\n  - files: ['*.yaml', 'b.json']\n    service: db\n    labels: {rack: '1', owner: me}\n" +
			"    allow_headers: [X-Tenant]\n    refresh_interval: 1s\ntargets: [{alias: fixed, url: '" + exporterURL(t, "fixed 1\n") + "'}]\n",
	})
	r := b.run(t, "", "--config.file="+filepath.Join(dir, "c.yml"), "--hostname=cellar")
	first, second := "cellar/"+one, "cellar/"+two
	r.awaitTargets(first, "fixed")
	if told := event[domain.SetTargets](t, b); told.Added != 2 {
		t.Errorf("the first registration is %+v", told)
	}
	if got := r.scrape(domain.Alias(first)); got != "one 1\n" {
		t.Errorf("%q", got)
	}
	e := r.entry(domain.Alias(first))
	labels := map[string]string{}
	for name, value := range e.Labels.All() {
		labels[name] = value
	}
	want := map[string]string{"rack": "7", "owner": "me", "site": "berlin", "__scrape_interval__": "30s"}
	for name, value := range want {
		if labels[name] != value {
			t.Errorf("label %s is %q, want %q", name, labels[name], value)
		}
	}
	if len(labels) != len(want) || e.Label != one || e.Service != "db" || e.Hostname != "cellar" || e.Fields.String() != "X-Tenant" {
		t.Errorf("%+v", e)
	}
	put(t, filepath.Join(dir, "b.json"), `[{"targets": ["`+two+`"]}]`)
	r.awaitTargets(first, second, "fixed")
	if got := r.scrape(domain.Alias(second)); got != "two 2\n" {
		t.Errorf("%q", got)
	}
	// A broken file keeps its last good targets, and is reported until it is repaired.
	put(t, filepath.Join(dir, "a.yaml"), "- targets: ["+one)
	r.awaitFault("a.yaml")
	r.awaitTargets(first, second, "fixed")
	// One that has an alias of another place, too.
	put(t, filepath.Join(dir, "a.yaml"), "- targets: ['"+one+"']\n  labels: {__dhtprom_alias__: fixed}\n")
	r.awaitFault(`alias "fixed" is the one of two targets, at ` + filepath.Join(dir, "c.yml") + ":")
	r.awaitTargets(first, second, "fixed")
	if err := os.Remove(filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	r.awaitTargets(second, "fixed")
	r.awaitFault("")
	// A reload applies the rest of the configuration.
	put(t, filepath.Join(dir, "c.yml"), "scrapers: [{invite_file: invite}]\nfile_sd_configs: [{files: ['b.json']}]\n")
	if err := r.reloader.run(context.Background()); err != nil {
		t.Error(err)
	}
	r.awaitTargets(second)
	if got := r.entry(domain.Alias(second)); got.Labels != (domain.Labels{}) || got.Service != defaultService {
		t.Errorf("%+v", got)
	}
	r.end(b.secret.RevealText())
}

// awaitFault waits until the files have a fault with a text, or none if it is empty.
func (r *running) awaitFault(text string) {
	r.t.Helper()
	for late := time.After(patience); ; {
		err := r.files.Err()
		if text == "" && err == nil || text != "" && err != nil && strings.Contains(err.Error(), text) {
			return
		}
		select {
		case <-late:
			r.t.Fatalf("the fault is %v, want %q", err, text)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestReloadReplacesTheTargetsOfTheConfiguration(t *testing.T) {
	b := newBench(t)
	dir := folder(t, map[string]string{"invite": b.invite(t), "c.yml": "scrapers: [{invite_file: invite}]\ntargets: [{alias: a, url: '" + exporterURL(t, "a 1\n") + "'}]\n"})
	r := b.run(t, "", "--config.file="+filepath.Join(dir, "c.yml"), "--web.enable-lifecycle")
	r.awaitTargets("a")
	reload := r.reloader.guarded(webConfig{lifecycle: true})
	ask := func(h http.Handler, origin string) (int, string) {
		req, res := httptest.NewRequest(http.MethodPost, "http://localhost/-/reload", nil), httptest.NewRecorder()
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		h.ServeHTTP(res, req)
		return res.Code, res.Body.String()
	}
	put(t, filepath.Join(dir, "c.yml"), "scrapers: [{invite_file: invite}]\ntargets:\n  - {alias: b, url: 'http://x'}\n  - {alias: b, url: 'http://y'}\n")
	if code, body := ask(reload, ""); code != http.StatusInternalServerError || !strings.Contains(body, `c.yml:4: targets[1]: alias: duplicate "b"`) {
		t.Errorf("%d %q", code, body)
	}
	r.awaitTargets("a")
	put(t, filepath.Join(dir, "c.yml"), "scrapers: [{invite_file: invite}]\ntargets: [{alias: b, url: '"+exporterURL(t, "b 1\n")+"', labels: {x: y}, instance: there}]\n")
	if code, _ := ask(r.reloader.guarded(webConfig{}), ""); code != http.StatusForbidden {
		t.Errorf("without a permission: %d", code)
	}
	if code, _ := ask(reload, "http://evil.example"); code != http.StatusForbidden {
		t.Errorf("from another site: %d", code)
	}
	if code, body := ask(reload, ""); code != http.StatusOK {
		t.Errorf("%d %q", code, body)
	}
	r.awaitTargets("b")
	if got := r.scrape("b"); got != "b 1\n" || r.entry("b").Label != "there" {
		t.Errorf("%q, %+v", got, r.entry("b"))
	}
	r.end(b.secret.RevealText())
}

func TestFilesWithTargetsAreChecked(t *testing.T) {
	invite, _ := newInvite(t)
	for name, c := range map[string]struct{ file, says string }{
		"good":             {"file_sd_configs: [{files: [good.yml], timeout: 3s}]", ""},
		"broken":           {"file_sd_configs: [{files: ['b*.yml']}]", "bad.yml:1"},
		"no files":         {"file_sd_configs: [{timeout: 3s}]", "c.yml:2: file_sd_configs[0].files: missing"},
		"a name":           {"file_sd_configs: [{files: [targets.txt]}]", "want one that ends in .json, .yml or .yaml"},
		"a URL":            {"file_sd_configs: [{files: [good.yml], url: 'http://x'}]", `unknown field "url"`},
		"labels":           {"labels: {job: x}\ntargets: []", "c.yml:2: labels: label job is the job_name"},
		"a header":         {"targets: [{alias: a, url: 'http://x', allow_headers: [authorization]}]", "allow_authorization"},
		"nothing":          {"targets: []", "there are no file_sd_configs"},
		"a label's target": {"targets:\n- alias: a\n  url: http://x\n  labels:\n    ok: x\n    '1': x\n", `c.yml:7: targets[0].labels: label name "1"`},
	} {
		dir := folder(t, map[string]string{"invite": invite, "c.yml": "scrapers: [{invite_file: invite}]\n" + c.file + "\n", "good.yml": "- targets: [a:1]\n", "bad.yml": "- targets: [[]]\n"})
		var out strings.Builder
		code := start(ended(), []string{"--config.check", "--config.file=" + filepath.Join(dir, "c.yml")}, &out, &out)
		if (code == 0) != (c.says == "") || !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: %d, %s", name, code, out.String())
		}
	}
}

// A reload that fails leaves nothing behind that a later change of a file would apply.
func TestFailedReloadChangesNoTargets(t *testing.T) {
	b := newBench(t)
	const head = "scrapers: [{invite_file: invite}]\n"
	dir := folder(t, map[string]string{
		"invite": b.invite(t), "b.json": `[{"targets": ["h:1"], "labels": {"__dhtprom_alias__": "z"}}]`,
		"c.yml": head + "file_sd_configs: [{files: ['b.json']}]\ntargets: [{alias: a, url: 'http://x'}]\n",
	})
	r := b.run(t, "", "--config.file="+filepath.Join(dir, "c.yml"))
	r.awaitTargets("a", "z")
	for i, sd := range []string{"[{files: ['b.json']}]", "[{files: ['*.json']}]"} { // the same files, and others
		put(t, filepath.Join(dir, "c.yml"), head+"file_sd_configs: "+sd+"\ntargets: [{alias: z, url: 'http://x'}]\n")
		if err := r.reloader.run(context.Background()); err == nil || !strings.Contains(err.Error(), `alias "z" is the one of two targets`) {
			t.Errorf("%v", err)
		}
		if err := r.files.Err(); err != nil {
			t.Errorf("the files have the fault %v", err)
		}
		next := []string{"y", "x"}[i]
		put(t, filepath.Join(dir, "b.json"), `[{"targets": ["h:1"], "labels": {"__dhtprom_alias__": "`+next+`"}}]`)
		r.awaitTargets("a", next)
		put(t, filepath.Join(dir, "b.json"), `[{"targets": ["h:1"], "labels": {"__dhtprom_alias__": "z"}}]`)
		r.awaitTargets("a", "z")
	}
	// A fault of a file does not keep the rest of the configuration from changing.
	put(t, filepath.Join(dir, "b.json"), "[")
	put(t, filepath.Join(dir, "c.yml"), head+"file_sd_configs: [{files: ['b.json']}]\ntargets: [{alias: c, url: 'http://x'}]\n")
	if err := r.reloader.run(context.Background()); err != nil {
		t.Error(err)
	}
	r.awaitTargets("c", "z")
	r.awaitFault("b.json:1")
	r.end(b.secret.RevealText())
}
