package targets

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v2"

	"github.com/dhtprom/dhtprom/domain"
)

type loop chan func()

func (l loop) Post(f func())           { l <- f }
func (l loop) Closed() <-chan struct{} { return nil }

func write(t *testing.T, f *File, entries ...domain.Entry) error {
	t.Helper()
	l := f.loop.(loop)
	var got error
	f.Write(entries, func(err error) { got = err })
	(<-l)()
	return got
}

func entry(alias string, hostname, service string) domain.Entry {
	return domain.Entry{Alias: domain.Alias(alias), Key: domain.PublicKey{1, 2, 3}, Hostname: hostname, Service: service}
}

var key = domain.PublicKey{1, 2, 3}.String()

func TestFileHasTheBridgesFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "targets.json")
	f := New(make(loop, 8), path)
	if err := write(t, f, entry("a", "host:1", "svc:2"), entry("web/x", "h", "<b>&")); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "[\n {\n  \"labels\": {\n   \"job\": \"aliases\"\n  },\n  \"targets\": [\n   \"a:" + key + ":host-1:svc-2\",\n   \"web/x:" + key + ":h:<b>&\"\n  ]\n }\n]\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAliasesThatAPathCannotHoldAreEscapedAndReadBack(t *testing.T) {
	aliases := []string{"plain", "host:9100", "../../x", "a//b", "my web", "x?y#z", "ü:", "~a", "~~7ea"}
	var entries []domain.Entry
	for _, a := range aliases {
		entries = append(entries, entry(a, "h", "s"))
	}
	content, err := Encode(entries)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), `"~.~2e~2f.~2e~2fx:`+key+`:h:s"`) {
		t.Errorf("no path form in %s", content)
	}
	if got := bridgeRead(t, content); !slices.Equal(got, []string{"plain"}) {
		t.Errorf("a bridge reads %q", got)
	}
	read, bad, err := Decode(content)
	if err != nil || len(bad) > 0 {
		t.Fatal(err, bad)
	}
	var got []string
	for _, r := range read {
		got = append(got, string(r.Alias))
	}
	if !slices.Equal(got, aliases) {
		t.Errorf("read back as %q", got)
	}
	// A bridge knows no path forms.
	read, _, err = Decode([]byte(`[{"labels":{"job":"aliases"},"targets":["~~7ea:` + key + `:h:s"]}]`))
	if err != nil || len(read) != 1 || read[0].Alias != "~~7ea" {
		t.Errorf("a bridge's alias is read as %+v, %v", read, err)
	}
}

func TestEmptyTableIsAnEmptyList(t *testing.T) {
	got, err := Encode(nil)
	if err != nil || !strings.Contains(string(got), `"targets": []`) || !json.Valid(got) {
		t.Errorf("%s, %v", got, err)
	}
}

// bridgeRead reads a file as lib/prom-targets.js of the bridge does, and stops at the same errors.
func bridgeRead(t *testing.T, content []byte) (aliases []string) {
	t.Helper()
	var groups []group
	if err := json.Unmarshal(content, &groups); err != nil {
		t.Fatal(err)
	}
	for _, target := range groups[0].Targets {
		parts := strings.Split(target, ":")
		if _, err := domain.ParsePublicKey(parts[1]); err != nil {
			t.Fatalf("the bridge stops at %q: %v", target, err)
		}
		aliases = append(aliases, parts[0])
	}
	return aliases
}

// Issue row 6.1: one alias with a colon makes the bridge lose the others.
func TestBridgeReadsTheFileBackWhateverTheAliases(t *testing.T) {
	content, err := Encode([]domain.Entry{
		entry("a", "h", "s"), entry("host:9100", "h", "s"), entry("path/with/slash", "h:1", "s:2"), entry("we:ird:", "", ""), entry("z", "", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := bridgeRead(t, content); !slices.Equal(got, []string{"a", "path/with/slash", "z"}) {
		t.Errorf("the bridge reads %v", got)
	}
	for _, alias := range []string{"host:9100", "we:ird:"} {
		if !strings.Contains(string(content), `"`+alias+":"+key) {
			t.Errorf("%s is not there for Prometheus", alias)
		}
	}
}

// Issue row 6.22: the file is not flushed, and a file that is mounted by itself can never be replaced.
func TestFileThatCannotBeReplacedIsWrittenInPlace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "targets.json")
	f := New(make(loop, 8), path)
	f.rename = func(string, string) error { return &os.LinkError{Op: "rename", Err: syscall.EBUSY} }
	for _, alias := range []string{"first", "second-longer", "3"} {
		if err := write(t, f, entry(alias, "", "")); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || !json.Valid(got) || !strings.Contains(string(got), alias+":") {
			t.Errorf("%s: %s, %v", alias, got, err)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestFailureIsReportedAndTheOldFileStays(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "targets.json")
	f := New(make(loop, 8), path)
	if err := write(t, f, entry("old", "", "")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("disk on fire")
	f.rename = func(string, string) error { return broken }
	if err := write(t, f, entry("new", "", "")); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if got, _ := os.ReadFile(path); !strings.Contains(string(got), "old:") {
		t.Errorf("the old file is gone: %s", got)
	}
	blocked := New(make(loop, 8), filepath.Join(path, "targets.json"))
	if err := write(t, blocked, entry("new", "", "")); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("a file for a folder: %v", err)
	}
}

// The folder may be one that others write to, /tmp for one.
func TestNothingBesideTheFileIsTouched(t *testing.T) {
	dir := t.TempDir()
	path, victim := filepath.Join(dir, "targets.json"), filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, path+".tmp"); err != nil {
		t.Fatal(err)
	}
	if err := write(t, New(make(loop, 8), path), entry("a", "", "")); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(victim); err != nil || string(got) != "precious" {
		t.Errorf("a link beside the file was followed: %q, %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// A link in place of the file is replaced, and a mode that was chosen for it stays.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, path); err != nil {
		t.Fatal(err)
	}
	f := New(make(loop, 8), path)
	if err := write(t, f, entry("b", "", "")); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(victim); err != nil || string(got) != "precious" {
		t.Errorf("a link in place of the file was followed: %q, %v", got, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := write(t, f, entry("c", "", "")); err != nil {
		t.Error(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// Nor is one followed where the file cannot be replaced.
	if err := errors.Join(os.Remove(path), os.Symlink(victim, path)); err != nil {
		t.Fatal(err)
	}
	f.rename = func(string, string) error { return &os.LinkError{Op: "rename", Err: syscall.EBUSY} }
	if err := write(t, f, entry("d", "", "")); err == nil {
		t.Error("a link that cannot be replaced was written to")
	}
	if got, err := os.ReadFile(victim); err != nil || string(got) != "precious" {
		t.Errorf("a link that cannot be replaced was followed: %q, %v", got, err)
	}
}

// Root could replace /dev/null, which users name to discard a file.
func TestOnlyRegularFilesAreReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "targets.json")
	if err := os.Symlink(os.DevNull, path); err != nil {
		t.Fatal(err)
	}
	if err := write(t, New(make(loop, 8), path), entry("a", "", "")); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("%v", err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("it became %v, %v", info.Mode(), err)
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "targets.json")
	old := time.Now().Add(-time.Hour)
	for name, at := range map[string]time.Time{
		".targets.json-0123456789abcdef.tmp": old, ".targets.json-fedcba9876543210.tmp": time.Now(), ".other.json-0123456789abcdef.tmp": old, "targets.json.tmp": old,
	} {
		if err := errors.Join(os.WriteFile(filepath.Join(dir, name), nil, 0o600), os.Chtimes(filepath.Join(dir, name), at, at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := write(t, New(make(loop, 8), path), entry("a", "", "")); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	want := []string{".other.json-0123456789abcdef.tmp", ".targets.json-fedcba9876543210.tmp", "targets.json", "targets.json.tmp"}
	if !slices.Equal(names, want) {
		t.Errorf("there are %q", names)
	}
}

func TestUnchangedContentIsNotWritten(t *testing.T) {
	f := New(make(loop, 8), filepath.Join(t.TempDir(), "targets.json"))
	renames := 0
	f.rename = func(a, b string) error { renames++; return os.Rename(a, b) }
	for range 3 {
		if err := write(t, f, entry("a", "", "")); err != nil {
			t.Fatal(err)
		}
	}
	if renames != 1 {
		t.Errorf("written %d times", renames)
	}
}

// prometheusConfig has the fields of Prometheus's configuration that the example uses. It is decoded strictly, as by
// Prometheus.
type prometheusConfig struct {
	Global struct {
		ScrapeInterval     string `yaml:"scrape_interval"`
		EvaluationInterval string `yaml:"evaluation_interval"`
	} `yaml:"global"`
	ScrapeConfigs []struct {
		JobName       string `yaml:"job_name"`
		StaticConfigs []struct {
			Targets []string `yaml:"targets"`
		} `yaml:"static_configs"`
		FileSDConfigs []struct {
			Files []string `yaml:"files"`
		} `yaml:"file_sd_configs"`
		RelabelConfigs []struct {
			SourceLabels []string `yaml:"source_labels"`
			Regex        string   `yaml:"regex"`
			Replacement  string   `yaml:"replacement"`
			TargetLabel  string   `yaml:"target_label"`
		} `yaml:"relabel_configs"`
	} `yaml:"scrape_configs"`
}

// onlyTarget returns the target that Prometheus discovers in a file with one target.
func onlyTarget(t *testing.T, content []byte) map[string]string {
	t.Helper()
	var groups []struct {
		Labels  map[string]string `json:"labels"`
		Targets []string          `json:"targets"`
	}
	if err := json.Unmarshal(content, &groups); err != nil {
		t.Fatal(err)
	}
	var found []map[string]string
	for _, g := range groups {
		for _, target := range g.Targets {
			g.Labels["__address__"] = target
			found = append(found, g.Labels)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d targets in %s", len(found), content)
	}
	return found[0]
}

// relabel applies the rules of the example to a target as Prometheus does: replace, with a regex anchored at both ends that
// defaults to matching anything.
func relabel(t *testing.T, c prometheusConfig, labels map[string]string) map[string]string {
	t.Helper()
	for _, r := range c.ScrapeConfigs[1].RelabelConfigs {
		var values []string
		for _, l := range r.SourceLabels {
			values = append(values, labels[l])
		}
		pattern := r.Regex
		if pattern == "" {
			pattern = "(.*)"
		}
		re := regexp.MustCompile("^(?s:" + pattern + ")$")
		value := strings.Join(values, ";")
		match := re.FindStringSubmatchIndex(value)
		if match == nil {
			continue
		}
		labels[r.TargetLabel] = string(re.ExpandString(nil, r.Replacement, value, match))
	}
	return labels
}

// Issue rows 6.13 and 6.14: the example configuration of the JavaScript packages does not load, mistakes a hostname of 52
// characters for the key, and loses labels when hostname or service is empty.
func TestExampleConfigurationTakesTargetsApart(t *testing.T) {
	content, err := os.ReadFile("../../examples/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	var c prometheusConfig
	if err := yaml.UnmarshalStrict(content, &c); err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct{ name, alias, hostname, service string }{
		{"plain", "web", "host", "svc"},
		{"colon", "host:9100", "host", "svc"},
		{"looks like a target", "a:" + key + ":h:s", "host", "svc"},
		{"slash and query", "a/b?c=d#e%20", "host", "svc"},
		{"hostname of 52", "web", strings.Repeat("h", 52), "svc"},
		{"hostname and service like keys", "web", key, key},
		{"empty hostname", "web", "", "svc"},
		{"empty service", "web", "host", ""},
		{"both empty", "we:b", "", ""},
		{"spaces", "my web", "my host", "my svc"},
		{"dots", "../../x", "host", "svc"},
		{"like a path form", "~~7e", "host", "svc"},
	} {
		content, err := Encode([]domain.Entry{entry(e.alias, e.hostname, e.service)})
		if err != nil {
			t.Fatal(err)
		}
		got := relabel(t, c, onlyTarget(t, content))
		want := map[string]string{
			"__address__": "localhost:30000", "instance": e.alias, "__metrics_path__": "/scrape/" + domain.Alias(e.alias).PathForm() + "/metrics",
			"hostname": e.hostname, "service": e.service,
		}
		for label, v := range want {
			if got[label] != v {
				t.Errorf("%s: %s is %q, want %q", e.name, label, got[label], v)
			}
		}
	}
}
