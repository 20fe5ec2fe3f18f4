package packaging_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/dhtprom/dhtprom/interop/process"
)

// workflow is the workflow of releases.
type workflow struct {
	On   struct{ Push struct{ Tags []string } }
	Jobs map[string]struct {
		Needs       string
		Permissions map[string]string
		Steps       []struct {
			Uses, Run string
			With      map[string]string
		}
	}
}

// with returns the inputs of the step of a job that uses an action.
func (w *workflow) with(t *testing.T, job, action string) map[string]string {
	t.Helper()
	for _, step := range w.Jobs[job].Steps {
		if name, _, _ := strings.Cut(step.Uses, "@"); name == action {
			return step.With
		}
	}
	t.Fatalf("no step of the job %s uses %s", job, action)
	return nil
}

// runs returns the commands of a job.
func (w *workflow) runs(job string) (all string) {
	for _, step := range w.Jobs[job].Steps {
		all += step.Run + "\n"
	}
	return all
}

func TestReleaseWorkflowMakesAllParts(t *testing.T) {
	var w workflow
	if err := yaml.Unmarshal([]byte(content(t, ".github/workflows/release.yml")), &w); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(w.On.Push.Tags, []string{"v*"}) {
		t.Errorf("it runs on tags %q", w.On.Push.Tags)
	}
	if checks := w.runs("checks"); !strings.Contains(checks, ".ci/run\n") || !strings.Contains(checks, ".ci/notes ") {
		t.Errorf("the checks are\n%s", checks)
	}
	for job, permission := range map[string]string{"release": "contents", "image": "packages"} {
		if j := w.Jobs[job]; j.Needs != "checks" || j.Permissions[permission] != "write" {
			t.Errorf("%s needs %q, with %v", job, j.Needs, j.Permissions)
		}
	}

	// The archives, packages, lists of parts and checksums are goreleaser's.
	release := w.with(t, "release", "goreleaser/goreleaser-action")
	checked := regexp.MustCompile(`NIGHTLY_GORELEASER:-(v[\d.]+)`).FindStringSubmatch(content(t, ".ci/nightly"))
	if checked == nil || release["version"] != checked[1] {
		t.Errorf("releases are of goreleaser %s, .ci/nightly checks with %v", release["version"], checked)
	}
	if args := release["args"]; !strings.HasPrefix(args, "release --clean --release-notes=") {
		t.Errorf("goreleaser %s", args)
	}
	if !strings.Contains(w.runs("release"), ".ci/notes ") {
		t.Error("the release has no notes")
	}
	w.with(t, "release", "anchore/sbom-action/download-syft")
	parts := content(t, ".goreleaser.yml")
	for _, want := range []string{"\narchives:", "\nsboms:", "\nchecksum:", "\nnfpms:"} {
		if !strings.Contains(parts, want) {
			t.Errorf(".goreleaser.yml has no %s", strings.TrimSpace(want))
		}
	}

	image := w.with(t, "image", "docker/build-push-action")
	if image["platforms"] != "linux/amd64,linux/arm64,linux/arm/v7" || image["push"] != "true" || image["sbom"] != "true" || image["build-args"] != "VERSION=${{ env.VERSION }}" {
		t.Errorf("the image is built with %v", image)
	}
	name, _, _ := strings.Cut(image["tags"], ":")
	for _, file := range []string{"deploy/compose.yml", "deploy/kubernetes/scraper/statefulset.yaml", "deploy/helm/dhtprom/values.yaml", "README.md"} {
		if !strings.Contains(content(t, file), name) {
			t.Errorf("%s does not use the image %s", file, name)
		}
	}
	if chart := w.runs("image"); !strings.Contains(chart, "helm package deploy/helm/dhtprom --version=\"$VERSION\" --app-version=\"$VERSION\"\n") ||
		!strings.Contains(chart, "helm push \"dhtprom-$VERSION.tgz\" oci://") {
		t.Errorf("the chart is made by\n%s", chart)
	}
}

func TestNotesAreTheSectionOfTheVersion(t *testing.T) {
	process.Need(t, "bash", "awk")
	dir := t.TempDir()
	run(t, dir, "mkdir", ".ci")
	run(t, dir, "cp", filepath.Join(process.Top(t), ".ci/notes"), ".ci/notes")
	run(t, dir, "sh", "-c", `printf '# Changelog\n\n## Unreleased\n\n## 1.1.0 / 2026-12-24\n\nSmall.\n\n- [FEATURE] New.\n\n## 1.0.0 / 2026-12-01\n\n- [FEATURE] First.\n' >CHANGELOG.md`)
	for version, want := range map[string]string{"v1.1.0": "Small.\n\n- [FEATURE] New.\n", "1.0.0": "- [FEATURE] First.\n"} {
		if got := run(t, dir, ".ci/notes", version); got != want {
			t.Errorf("%s: %q, want %q", version, got, want)
		}
	}
	for _, version := range []string{"v1.0", "Unreleased", "v2.0.0"} {
		cmd := exec.Command(".ci/notes", version)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("%s: %s", version, out)
		}
	}
}

// A name that is misspelt plays nothing, which is no success.
func TestNightlyFailsForAPartThatDoesNotExist(t *testing.T) {
	out, err := exec.Command("bash", filepath.Join(process.Top(t), ".ci/nightly"), "nosuch").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "failed: nosuch") {
		t.Errorf("%v:\n%s", err, out)
	}
}
