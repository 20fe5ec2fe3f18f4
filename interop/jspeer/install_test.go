package jspeer

import (
	"strings"
	"testing"
)

func TestOtherVersionsAreTakenByDependentsToo(t *testing.T) {
	named, err := parseVersions([]string{"hyperdht@6.11.7", "@hyperswarm/secret-stream@6.3.0"})
	if err != nil || named["hyperdht"] != "6.11.7" || named["@hyperswarm/secret-stream"] != "6.3.0" || len(named) != 2 {
		t.Fatalf("%v, %v", named, err)
	}
	for _, bad := range []string{"hyperdht", "hyperdht@", "@hyperswarm/secret-stream"} {
		if got, err := parseVersions([]string{bad}); err == nil {
			t.Errorf("%s is read as %v", bad, got)
		}
	}
	manifest, err := override([]byte(`{"dependencies": {"hyperdht": "6.34.0", "hyperbeam": "3.1.0"}}`), named)
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "dependencies": {
    "hyperbeam": "3.1.0",
    "hyperdht": "6.11.7"
  },
  "overrides": {
    "@hyperswarm/secret-stream": "6.3.0",
    "hyperdht": "6.11.7"
  }
}`
	if string(manifest) != want {
		t.Errorf("got %s", manifest)
	}

	const installed = `{"packages": {
		"node_modules/hyperdht": {"version": "6.11.7"},
		"node_modules/@hyperswarm/secret-stream": {"version": "6.3.0"},
		"node_modules/hyperbeam/node_modules/hyperdht": {"version": "6.11.7"}}}`
	if err := checkInstalled([]byte(installed), named); err != nil {
		t.Error(err)
	}
	for _, other := range []string{
		strings.Replace(installed, "6.11.7", "6.34.0", 1), strings.Replace(installed, `"6.11.7"}}`, `"6.34.0"}}`, 1),
		strings.Replace(installed, "secret-stream", "other", 1),
	} {
		if err := checkInstalled([]byte(other), named); err == nil {
			t.Errorf("accepted: %s", other)
		}
	}
}
