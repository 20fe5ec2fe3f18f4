package deploy_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"sigs.k8s.io/yaml"

	"github.com/dhtprom/dhtprom/interop/process"
)

func chart(t *testing.T, name string) string {
	return filepath.Join(process.Top(t), "deploy/helm/dhtprom", name)
}

// read decodes a YAML file of the chart.
func read(t *testing.T, name string) (content map[string]any) {
	t.Helper()
	text, err := os.ReadFile(chart(t, name))
	if err == nil {
		err = yaml.UnmarshalStrict(text, &content)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return content
}

// everything turns on all of the chart.
const everything = "dht.enabled=true,nodeExporter.enabled=true,sidecar.enabled=true,scraper.serviceMonitor.enabled=true,scraper.scrapeConfig.enabled=true"

// grouped turns on a group of scrapers.
const grouped = "group.enabled=true,group.prefix=/berlin/,group.lease=10s,group.etcd.endpoints={https://etcd:2379},group.etcd.tls.secretName=etcd-client," +
	"group.etcd.tls.clientCertificate=true,group.etcd.auth.user=dhtprom,group.etcd.auth.secretName=etcd-user"

// render renders the templates of the chart, with some values set, as helm does: with text/template, sprig, include and toYaml. Helm itself
// takes minutes to compile; .ci/nightly compares the two.
func render(t *testing.T, set string) map[string]string {
	t.Helper()
	values := read(t, "values.yaml")
	for _, setting := range strings.FieldsFunc(set, func(r rune) bool { return r == ',' }) {
		path, value, _ := strings.Cut(setting, "=")
		names := strings.Split(path, ".")
		in := values
		for _, name := range names[:len(names)-1] {
			in = in[name].(map[string]any)
		}
		in[names[len(names)-1]] = parsed(value)
	}
	about := read(t, "Chart.yaml")
	all := template.New("chart").Option("missingkey=zero").Funcs(sprig.TxtFuncMap())
	all.Funcs(template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var out strings.Builder
			err := all.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"toYaml": func(v any) (string, error) {
			text, err := yaml.Marshal(v)
			return strings.TrimSuffix(string(text), "\n"), err
		},
	})
	files, err := filepath.Glob(chart(t, "templates/*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			_, err = all.New(filepath.Base(file)).Parse(string(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	rendered := map[string]string{}
	for _, file := range files {
		name := filepath.Base(file)
		if strings.HasPrefix(name, "_") {
			continue
		}
		var out bytes.Buffer
		if err := all.ExecuteTemplate(&out, name, map[string]any{
			"Values": values, "Release": map[string]any{"Name": "metrics", "Namespace": "dhtprom", "Service": "Helm"},
			"Chart": map[string]any{"Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"]},
		}); err != nil {
			t.Fatal(err)
		}
		rendered[name] = out.String()
	}
	return rendered
}

// parsed returns a value of helm's --set.
func parsed(value string) any {
	if list, ok := strings.CutPrefix(value, "{"); ok {
		return []any{strings.TrimSuffix(list, "}")}
	}
	if value == "true" || value == "false" {
		return value == "true"
	}
	return value
}

// documents returns the documents of YAML files, in the order of the files' names.
func documents(files map[string]string) (all []string) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		for _, document := range strings.Split("\n"+files[name], "\n---") {
			if strings.TrimSpace(document) != "" {
				all = append(all, document)
			}
		}
	}
	return all
}

func TestChartIsValid(t *testing.T) {
	for _, set := range []string{"", "scraper.enabled=false,nodeExporter.enabled=true", "scraper.networkPolicy.enabled=false", everything, "group.enabled=true", grouped} {
		t.Run(set, func(t *testing.T) {
			c := &cluster{t: t}
			for _, document := range documents(render(t, set)) {
				c.add([]byte(document))
			}
			if len(c.workloads) == 0 {
				t.Error("nothing is rendered")
			}
			c.check()
		})
	}
}

func TestChartRuns(t *testing.T) {
	c := &cluster{t: t}
	files := render(t, everything)
	for _, document := range documents(files) {
		c.add([]byte(document))
	}
	c.run(process.Chart)
	for _, want := range []string{"metrics-scraper-0", "/dhtprom-scraper invite --dht.bootstrap=metrics-dht.dhtprom.svc:49737 >", "generic -n dhtprom dhtprom-invite --from-file=invite="} {
		if !strings.Contains(files["NOTES.txt"], want) {
			t.Errorf("the notes lack %s:\n%s", want, files["NOTES.txt"])
		}
	}
}

// A value without a schema would be rejected, and a schema without a value is of nothing.
func TestSchemaIsThatOfTheValues(t *testing.T) {
	var compare func(at string, values, schema map[string]any)
	compare = func(at string, values, schema map[string]any) {
		properties, described := schema["properties"].(map[string]any)
		if !described {
			return // an object of Kubernetes
		}
		delete(properties, "global")
		if names := slices.Sorted(maps.Keys(values)); !slices.Equal(names, slices.Sorted(maps.Keys(properties))) {
			t.Errorf("%s: values %q, schema of %q", at, names, slices.Sorted(maps.Keys(properties)))
			return
		}
		for name, value := range values {
			if below, is := value.(map[string]any); is {
				compare(at+"."+name, below, properties[name].(map[string]any))
			}
		}
	}
	compare("", read(t, "values.yaml"), read(t, "values.schema.json"))
}
