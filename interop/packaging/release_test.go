package packaging_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/dhtprom/dhtprom/interop/process"
)

// release is the checked part of goreleaser's configuration; `goreleaser check` checks the rest.
type release struct {
	Version int
	Builds  []struct {
		ID, Main, Binary string
		Env              []string
		Goos, Goarch     []string
		Goarm            []string
	}
	Nfpms []struct {
		ID       string
		IDs      []string `yaml:"ids"`
		Formats  []string
		Contents []struct{ Src, Dst string }
	}
}

func TestReleaseHasAllThatItNames(t *testing.T) {
	var r release
	if err := yaml.Unmarshal([]byte(content(t, ".goreleaser.yml")), &r); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, b := range r.Builds {
		ids = append(ids, b.ID)
		if _, err := os.Stat(filepath.Join(process.Top(t), b.Main)); err != nil {
			t.Errorf("%s: %v", b.ID, err)
		}
		if b.Binary != b.ID || !slices.Contains(b.Env, "CGO_ENABLED=0") {
			t.Errorf("%s is not static, or not called so", b.ID)
		}
		if !slices.Contains(b.Goos, "linux") || !slices.Contains(b.Goarch, "amd64") || !slices.Contains(b.Goarch, "arm64") ||
			!slices.Contains(b.Goarch, "arm") || !slices.Equal(b.Goarm, []string{"7"}) {
			t.Errorf("%s is not built for amd64, arm64 and armv7", b.ID)
		}
	}
	slices.Sort(ids)
	if !slices.Equal(ids, released) {
		t.Errorf("builds %v, want %v", ids, released)
	}
	var packaged []string
	for _, p := range r.Nfpms {
		packaged = append(packaged, p.IDs...)
		if !slices.Contains(p.Formats, "deb") {
			t.Errorf("%s makes no Debian package", p.ID)
		}
		var files []string
		for _, c := range p.Contents {
			if strings.Contains(c.Src, "*") {
				t.Errorf("%s: say which files %s are", p.ID, c.Src)
			}
			if _, err := os.Stat(filepath.Join(process.Top(t), strings.TrimSuffix(c.Src, ".gz"))); c.Src != "" && err != nil {
				t.Errorf("%s: %v", p.ID, err)
			}
			files = append(files, c.Src)
		}
		for _, id := range p.IDs {
			for _, want := range []string{
				units + "/" + id + ".service", "packaging/default/" + id, "packaging/man/" + id + ".1.gz",
				"packaging/completions/" + id + ".bash", "packaging/completions/_" + id,
			} {
				if !slices.Contains(files, want) {
					t.Errorf("%s lacks %s", p.ID, want)
				}
			}
		}
	}
	slices.Sort(packaged)
	if !slices.Equal(packaged, names) {
		t.Errorf("packages of %v, want %v", packaged, names)
	}
}
