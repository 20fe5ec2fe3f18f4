package prometheus_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/dhtprom/dhtprom/interop/process"
)

const (
	alertsFolder = "mixin/alerts"
	testsFolder  = "mixin/tests"
	// scraperDashboard is for scrapers, and groupDashboard, whose queries package interop/packaging tries, for groups.
	scraperDashboard = "mixin/dashboards/dhtprom.json"
	groupDashboard   = "mixin/dashboards/group.json"

	// scraperAlerts are for each scraper, and groupAlerts for those of a group.
	scraperAlerts = "dhtprom.yml"
	groupAlerts   = "group.yml"
)

var alertFiles = []string{scraperAlerts, groupAlerts}

func TestAlertsDoWhatTheySay(t *testing.T) {
	for _, file := range alertFiles {
		promtool(t, alertsFolder, nil, "check", "rules", file)
		promtool(t, testsFolder, nil, "test", "rules", file)
	}
}

// alert is a rule of the mixin.
type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alerts(t *testing.T, name string) (all []alert) {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(content(t, filepath.Join(alertsFolder, name)), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("no alerts")
	}
	return all
}

func content(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(process.Top(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var notInAnchor = regexp.MustCompile(`[^a-z0-9 -]`)

// anchors returns the anchors of the headings of a Markdown file.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for line := range strings.SplitSeq(text, "\n") {
		if heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			found[strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")] = true
		}
	}
	return found
}

func TestAlertsSayWhatToDo(t *testing.T) {
	const runbook = "https://github.com/dhtprom/dhtprom/blob/main/docs/troubleshooting.md#"
	headings := anchors(string(content(t, "docs/troubleshooting.md")))
	for _, file := range alertFiles {
		tests := string(content(t, filepath.Join(testsFolder, file)))
		for _, a := range alerts(t, file) {
			if a.Labels["severity"] == "" || a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
				t.Errorf("%s lacks severity, summary or description", a.Alert)
			}
			if anchor, ok := strings.CutPrefix(a.Annotations["runbook_url"], runbook); !ok || !headings[anchor] {
				t.Errorf("%s: no such runbook: %q", a.Alert, a.Annotations["runbook_url"])
			}
			if n := strings.Count(tests, "alertname: "+a.Alert); n < 2 {
				t.Errorf("%s is in %d tests, want one where it fires and one where it does not", a.Alert, n)
			}
		}
	}
}

// dashboard is the used part of Grafana's format.
type dashboard struct {
	UID    string
	Title  string
	Panels []struct {
		ID      int
		Title   string
		Type    string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
}

func readDashboard(t *testing.T, file string) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal(content(t, file), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDashboardsAreWellFormed(t *testing.T) {
	uids := map[string]bool{}
	for _, file := range []string{scraperDashboard, groupDashboard} {
		d := readDashboard(t, file)
		if uids[d.UID] {
			t.Errorf("%s has the uid of another one", file)
		}
		uids[d.UID] = true
		checkLayout(t, d)
	}
}

// checkLayout checks the panels of a dashboard.
func checkLayout(t *testing.T, d dashboard) {
	t.Helper()
	if d.UID == "" || d.Title == "" || len(d.Panels) < 10 {
		t.Errorf("uid %q, title %q, %d panels", d.UID, d.Title, len(d.Panels))
	}
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if p.Title == "" || ids[p.ID] || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d %q: without a title, an id of its own, or queries", p.ID, p.Title)
		}
		ids[p.ID] = true
		at := p.GridPos
		if at.X+at.W > 24 {
			t.Errorf("panel %q reaches beyond the grid", p.Title)
		}
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" && other != p.Title {
					t.Errorf("panels %q and %q overlap", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
	}
}

var metricName = regexp.MustCompile(`\b(?:dhtprom|process|go)_[a-z0-9_]+\b`)

// selector is a metric with its labels, as in a query: labels have fixed values, which can be wrong, too.
var selector = regexp.MustCompile(`\b(?:dhtprom|process|go)_[a-z0-9_]+\b(?:\{[^}]*\})?`)

// checkMixin checks that Prometheus has every metric which the mixin uses, and understands every query of it. A query
// of a dashboard that finds nothing where a scraper with clients runs is wrong, too.
func checkMixin(t *testing.T, p *prometheus) {
	variables := strings.NewReplacer(
		"$__rate_interval", "1m", "$job", "dhtprom-scraper", "$instance", ".*", "$alias", ".*",
	)
	asked := 0
	ask := func(where, expr string, some bool) {
		asked++
		for _, series := range selector.FindAllString(variables.Replace(expr), -1) {
			if got, err := p.query(series); err != nil || len(got) == 0 {
				t.Errorf("%s: there is no %s (%v)", where, series, err)
			}
		}
		process.Until(t, where, func() error {
			got, err := p.query(variables.Replace(expr))
			if err == nil && some && len(got) == 0 {
				err = fmt.Errorf("nothing is found by %s", expr)
			}
			return err
		})
	}
	for _, a := range alerts(t, scraperAlerts) { // this scraper is in no group
		ask(a.Alert, a.Expr, false)
	}
	d := readDashboard(t, scraperDashboard)
	for _, panel := range d.Panels {
		for _, q := range panel.Targets {
			ask(panel.Title, q.Expr, true)
		}
	}
	for _, v := range d.Templating.List {
		for _, name := range metricName.FindAllString(v.Definition, -1) {
			ask("variable "+v.Name, name, true)
		}
	}
	// The metrics that the docs mention must exist, too.
	page := string(content(t, "docs/prometheus.md"))
	for _, name := range regexp.MustCompile("`(dhtprom_[a-z0-9_]+)[`{]").FindAllStringSubmatch(page, -1) {
		ask("docs/prometheus.md", name[1], true)
	}
	if asked < 50 {
		t.Errorf("asked %d queries only", asked)
	}
}
