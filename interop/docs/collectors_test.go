package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/dhtprom/dhtprom/interop/process"
)

func example(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(process.Top(t), "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return uncommented(string(text))
}

// scrapeConfigs are the jobs of a Prometheus.
type scrapeConfigs struct {
	Jobs []struct {
		Name   string                       `yaml:"job_name"`
		Static []struct{ Targets []string } `yaml:"static_configs,omitempty"`
		HTTP   []struct{ URL string }       `yaml:"http_sd_configs,omitempty"`
	} `yaml:"scrape_configs"`
}

// decode decodes YAML that has no fields that the type does not have.
func decode(t *testing.T, text string, into any) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

// The two jobs are those of Prometheus, and vmagent knows no other field of http_sd_configs.
func TestJobsOfCollectorsAreThoseOfPrometheus(t *testing.T) {
	process.Need(t, "promtool")
	var vmagent scrapeConfigs
	decode(t, example(t, "prometheus-http.yml"), &vmagent)

	var collector struct {
		Receivers struct {
			Prometheus struct{ Config scrapeConfigs }
		}
		Exporters map[string]struct{ Endpoint string }
		Service   struct {
			Pipelines map[string]struct{ Receivers, Exporters []string }
		}
	}
	text := example(t, "otel-collector.yml")
	decode(t, text, &collector)
	if strings.Contains(text, "$") {
		t.Error("the OpenTelemetry Collector reads $ as a variable")
	}
	metrics, there := collector.Service.Pipelines["metrics"]
	if !there || !slices.Equal(metrics.Receivers, []string{"prometheus"}) || len(metrics.Exporters) != 1 ||
		!strings.HasSuffix(collector.Exporters[metrics.Exporters[0]].Endpoint, "/api/v1/write") {
		t.Errorf("pipelines %+v, exporters %+v", collector.Service.Pipelines, collector.Exporters)
	}
	for name, jobs := range map[string]scrapeConfigs{"vmagent": vmagent, "otelcol": collector.Receivers.Prometheus.Config} {
		var all []string
		for _, job := range jobs.Jobs {
			all = append(all, job.Name)
		}
		if !slices.Equal(all, []string{"dhtprom-scraper", "dhtprom"}) || len(jobs.Jobs[1].HTTP) != 1 || !strings.HasSuffix(jobs.Jobs[1].HTTP[0].URL, "/sd/prometheus") {
			t.Errorf("%s: %+v", name, jobs)
		}
		text, err := yaml.Marshal(jobs)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "prometheus.yml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("promtool", "check", "config", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// components are the documented arguments and blocks of Alloy's components that the example uses, and what they export.
var components = map[string]struct{ arguments, exports []string }{
	"discovery.http":          {[]string{"url", "refresh_interval"}, []string{"targets"}},
	"prometheus.scrape":       {[]string{"targets", "forward_to", "job_name", "scrape_interval", "scrape_timeout", "scrape_native_histograms"}, nil},
	"prometheus.remote_write": {[]string{"endpoint", "url"}, []string{"receiver"}},
}

var (
	component = regexp.MustCompile(`(?ms)^([a-z._]+) "([a-z_]+)" \{\n(.*?)^\}\n`)
	argument  = regexp.MustCompile(`(?m)^ +([a-z_]+)(?: +=|  *\{)`)
	reference = regexp.MustCompile(`\b((?:discovery|prometheus)\.[a-z_]+)\.([a-z_]+)\.([a-z_]+)\b`)
)

func TestAlloyExampleUsesDocumentedArguments(t *testing.T) {
	text := regexp.MustCompile(`(?m)^//.*\n`).ReplaceAllString(example(t, "config.alloy")+"\n", "")
	found := component.FindAllStringSubmatch(text, -1)
	labels := map[string]bool{}
	for _, c := range found {
		labels[c[1]+" "+c[2]] = true
	}
	if rest := strings.TrimSpace(component.ReplaceAllString(text, "")); rest != "" || len(found) != 4 || len(labels) != 4 {
		t.Errorf("%d components, %v, and %q beside them", len(found), labels, rest)
	}
	for _, c := range found {
		known, documented := components[c[1]]
		if !documented {
			t.Errorf("unknown component %s", c[1])
		}
		for _, a := range argument.FindAllStringSubmatch(c[3], -1) {
			if !slices.Contains(known.arguments, a[1]) {
				t.Errorf("%s has no argument %s", c[1], a[1])
			}
		}
		if strings.Count(c[3], "{") != strings.Count(c[3], "}") || strings.Count(c[3], `"`)%2 != 0 {
			t.Errorf("%s %s: brackets or quotes are not closed", c[1], c[2])
		}
		for _, r := range reference.FindAllStringSubmatch(c[3], -1) {
			if !labels[r[1]+" "+r[2]] || !slices.Contains(components[r[1]].exports, r[3]) {
				t.Errorf("%s %s refers to %s", c[1], c[2], r[0])
			}
		}
	}
	for _, want := range []string{`url = "http://localhost:30000/sd/prometheus"`, `job_name   = "dhtprom-scraper"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the example lacks %s", want)
		}
	}
}
