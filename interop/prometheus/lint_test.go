package prometheus_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

// declared finds the metrics in the source, by the folder: the expression that has their names, and what precedes and follows them on a page.
var declared = []struct {
	folder        string
	name          *regexp.Regexp
	before, after string
}{
	{"adapters/web", regexp.MustCompile(`desc\("([a-z_]+)"`), "dhtprom_", ""},
	{"adapters/dht", regexp.MustCompile(`Name: "([a-z_]+)", Help:`), "dhtprom_", "_total"},
	{"client", regexp.MustCompile(`desc\("([a-z_]+)"`), "dhtprom_client_", ""},
	{"client", regexp.MustCompile(`namespace \+ "([a-z_]+)"`), "dhtprom_client_", ""},
	{".", regexp.MustCompile(`Name:\s*"(dhtprom_[a-z_]+)"`), "", ""},
}

// buildInfo is the metric of client_golang's collectors/version.
var buildInfo = regexp.MustCompile(`(?m)^dhtprom_build_info\{branch="[^"]*",goarch="[^"]+",goos="[^"]+",goversion="[^"]+",revision="[^"]*",tags="[^"]*",version="[^"]*"\} 1$`)

// Every metric of both programs is on a page that promtool accepts. The commands relay and bootstrap have no HTTP server and no metrics.
func TestAllMetricsPassPromtool(t *testing.T) {
	w := newWorld(t)
	own := process.FreeAddress(t)
	process.Start(t, process.Command{
		Path: "dhtprom-client",
		Args: []string{"--scraper=" + w.key, "--alias=laptop", "--dht.bootstrap=" + w.bootstrap, "--web.listen-address=" + own},
		Env:  []string{"DHTPROM_SECRET=" + w.secret},
	})
	w.registered("laptop")
	if _, err := process.Get("http://" + w.http + "/scrape/laptop/metrics"); err != nil {
		t.Fatal(err)
	}
	var pages strings.Builder
	for _, address := range []string{w.http, own} {
		page, err := process.Get("http://" + address + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		promtool(t, ".", page, "check", "metrics")
		for _, path := range []string{"/-/healthy", "/-/ready"} { // as promtool check healthy and check ready, which Debian's does not have
			if _, err := process.Get("http://" + address + path); err != nil {
				t.Error(err)
			}
		}
		if !buildInfo.Match(page) {
			t.Errorf("%s has no dhtprom_build_info with all labels", address)
		}
		for _, path := range []string{"/debug/pprof/", "/debug/vars", "/-/quit"} { // nothing of a process is shown or ended without being asked for
			if _, err := process.Get("http://" + address + path); err == nil || !strings.Contains(err.Error(), "404") {
				t.Errorf("%s%s: %v", address, path, err)
			}
		}
		pages.Write(page)
	}
	found := 0
	for _, d := range declared {
		for _, name := range namesIn(t, d.folder, d.name) {
			found++
			if strings.HasPrefix(name, "group_") {
				continue // on the pages of groups, in interop/group
			}
			if name = d.before + name + d.after; !strings.Contains(pages.String(), "\n# TYPE "+name+" ") {
				t.Errorf("%s is on no page", name)
			}
		}
	}
	if found < 100 {
		t.Errorf("found %d metrics in the source only", found)
	}
}

// namesIn finds the names of metrics in the files of a folder and those below it.
func namesIn(t *testing.T, folder string, name *regexp.Regexp) (names []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(process.Top(t), folder), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "interop" || d.Name() == "bench" || d.Name() == "node_modules"):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, found := range name.FindAllStringSubmatch(string(text), -1) {
			names = append(names, found[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
