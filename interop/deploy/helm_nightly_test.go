//go:build helm

// .ci/nightly compiles helm, which takes minutes, and runs this file.

package deploy_test

import (
	"os/exec"
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
	out, err := exec.Command("helm", "template", "metrics", chart(t, ""), "--namespace=dhtprom", "--kube-version=1.33.0", "--set="+everything).Output()
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
	ours, theirs := decoded(documents(render(t, everything))), decoded(documents(map[string]string{"all.yaml": string(out)}))
	byKey := func(a, b any) int { return strings.Compare(key(a), key(b)) }
	slices.SortFunc(ours, byKey)
	slices.SortFunc(theirs, byKey)
	if !reflect.DeepEqual(ours, theirs) {
		t.Errorf("helm renders\n%v\nthis package\n%v", theirs, ours)
	}
}
