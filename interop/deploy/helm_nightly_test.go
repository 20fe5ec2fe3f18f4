//go:build helm

// .ci/nightly compiles helm, which takes minutes, and runs this file.

package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// What helm renders is what this package renders.
func TestHelmRendersTheSame(t *testing.T) {
	if out, err := exec.Command("helm", "lint", "--strict", chart(t, "")).CombinedOutput(); err != nil {
		t.Errorf("helm lint: %v\n%s", err, out)
	}
	for _, set := range []string{everything, grouped} {
		compareWithHelm(t, set)
	}
}

func compareWithHelm(t *testing.T, set string) {
	t.Helper()
	out, err := exec.Command("helm", "template", "metrics", chart(t, ""), "--namespace=dhtprom", "--kube-version=1.33.0", "--set="+set).Output()
	if err != nil {
		t.Fatalf("helm template: %v", err)
	}
	decoded := func(documents []string) (all []any) {
		for _, document := range documents {
			var v any
			if err := yaml.Unmarshal([]byte(document), &v); err != nil {
				t.Fatal(err)
			}
			if v != nil {
				all = append(all, v)
			}
		}
		return all
	}
	key := func(v any) string {
		object := v.(map[string]any)
		return object["kind"].(string) + " " + object["metadata"].(map[string]any)["name"].(string)
	}
	ours, theirs := decoded(documents(render(t, set))), decoded(documents(map[string]string{"all.yaml": string(out)}))
	byKey := func(a, b any) int { return strings.Compare(key(a), key(b)) }
	slices.SortFunc(ours, byKey)
	slices.SortFunc(theirs, byKey)
	if !reflect.DeepEqual(ours, theirs) {
		t.Errorf("helm renders\n%v\nthis package\n%v", theirs, ours)
	}
}

// A chart of a service has the sidecar from this chart, as values.yaml describes it.
func TestHelmGivesTheSidecarToOtherCharts(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"Chart.yaml":  "apiVersion: v2\nname: shop\nversion: 1.0.0\ndependencies: [{name: dhtprom, version: 0.1.0, repository: ''}]\n",
		"values.yaml": "dhtprom: {scraper: {enabled: false}}\n",
		"templates/pod.yaml": `apiVersion: v1
kind: Pod
metadata: {name: shop}
spec:
  containers:
    {{- include "dhtprom.sidecar" (dict "root" .Subcharts.dhtprom "alias" "shop/$(POD_NAME)" "service" "shop" "target" "http://127.0.0.1:9100/metrics") | nindent 4 }}
`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "charts/dhtprom"), os.DirFS(chart(t, ""))); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("helm", "template", "metrics", dir, "--kube-version=1.33.0").CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"--alias=shop/$(POD_NAME)"`) || strings.Contains(string(out), "StatefulSet") {
		t.Errorf("%v\n%s", err, out)
	}
}
