package laws

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Files for services and editors that no test runs: a malformed one would only be noticed there.
func TestYAMLIsWellFormed(t *testing.T) {
	found := map[string]bool{}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if entry.IsDir() {
			// Templates of the chart are YAML only when rendered, which interop/deploy does.
			if base := entry.Name(); base == ".git" || base == "testdata" || base == "node_modules" || name == "deploy/helm/dhtprom/templates" {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains([]string{".yml", ".yaml"}, path.Ext(name)) {
			return nil
		}
		found[name] = true
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for documents := yaml.NewDecoder(strings.NewReader(string(content))); ; {
			var document any // maps of it must not have duplicate keys
			if err := documents.Decode(&document); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
				return nil
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".golangci.yml", ".goreleaser.yml", ".github/workflows/checks.yml", ".github/workflows/nightly.yml", ".github/workflows/release.yml", ".github/ISSUE_TEMPLATE/bug.yml"} {
		if !found[name] {
			t.Errorf("%s was not found", name)
		}
	}
}

// A workflow has steps that run scripts of .ci, and a template for issues the fields without which GitHub does not offer it.
func TestFilesForGitHubAreComplete(t *testing.T) {
	decode := func(name string, into any) {
		t.Helper()
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(content, into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for name, script := range map[string]string{"checks": ".ci/run", "nightly": ".ci/nightly", "release": ".ci/run"} {
		var workflow struct {
			On   map[string]any
			Jobs map[string]struct {
				RunsOn string `yaml:"runs-on"`
				Steps  []struct{ Uses, Run string }
			}
		}
		decode(".github/workflows/"+name+".yml", &workflow)
		runs := false
		for job, j := range workflow.Jobs {
			for _, step := range j.Steps {
				runs = runs || regexp.MustCompile(`(^| )`+regexp.QuoteMeta(script)+`( |$)`).MatchString(step.Run)
				if (step.Uses == "") == (step.Run == "") {
					t.Errorf("%s: a step of %s has %q to use and %q to run, want one", name, job, step.Uses, step.Run)
				}
			}
			if j.RunsOn == "" {
				t.Errorf("%s: %s has no machine", name, job)
			}
		}
		if _, err := os.Stat(script); err != nil || !runs || len(workflow.On) == 0 {
			t.Errorf("%s runs %s: %v, on %v, %v", name, script, runs, workflow.On, err)
		}
	}
	templates, err := filepath.Glob(".github/ISSUE_TEMPLATE/*.yml")
	if err != nil || len(templates) == 0 {
		t.Fatal(templates, err)
	}
	for _, name := range templates {
		var template struct {
			Name, Description string
			Body              []struct {
				Type, ID   string
				Attributes struct{ Label, Value string }
			}
		}
		decode(name, &template)
		if template.Name == "" || template.Description == "" || len(template.Body) == 0 {
			t.Errorf("%s: name %q, description %q, %d elements", name, template.Name, template.Description, len(template.Body))
		}
		seen := map[string]bool{}
		for _, e := range template.Body {
			if markdown := e.Type == "markdown"; markdown != (e.Attributes.Value != "") || markdown != (e.Attributes.Label == "") || e.ID != "" && seen[e.ID] {
				t.Errorf("%s: element %+v", name, e)
			}
			seen[e.ID] = true
		}
	}
}
