package packaging_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

const units = "packaging/systemd"

var manual = regexp.MustCompile(`man:([a-z-]+)\(1\) `)

// installed copies a unit with the paths of the programs that the tests built.
func installed(t *testing.T, dir, name string) string {
	t.Helper()
	unit := content(t, units+"/"+name)
	for _, page := range manual.FindAllStringSubmatch(unit, -1) {
		content(t, "packaging/man/"+page[1]+".1")
	}
	unit = manual.ReplaceAllString(strings.ReplaceAll(unit, "/usr/bin/dhtprom-", process.Programs(t)+"/dhtprom-"), "")
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(unit), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnitsAreValidAndHardened(t *testing.T) {
	process.Need(t, "systemd-analyze")
	dir := t.TempDir()
	// Units that others refer to are copied as well.
	for _, name := range list(t, units) {
		installed(t, dir, name)
	}
	for _, name := range list(t, units) {
		path := filepath.Join(dir, name)
		// It exits with 0 in spite of most complaints.
		if out, err := exec.Command("systemd-analyze", "verify", path).CombinedOutput(); err != nil || strings.Contains(string(out), name) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if filepath.Ext(name) != ".service" {
			continue
		}
		// Of 10 points of exposure; node_exporter's own unit has more than 9, Debian's of Prometheus more than 4.
		if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", path).CombinedOutput(); err != nil {
			t.Errorf("%s is exposed to more than 1.5 points: %v\n%s", name, err, out)
		}
	}
}

// dropIn is the drop-in of the page of groups.
var dropIn = regexp.MustCompile(`(?s)systemctl edit dhtprom-scraper <<'END'\n(.*?)END\n`)

func TestDropInOfGroupsIsValid(t *testing.T) {
	process.Need(t, "systemd-analyze")
	found := dropIn.FindStringSubmatch(content(t, "docs/group.md"))
	if found == nil {
		t.Fatal("docs/group.md has no drop-in")
	}
	dir := t.TempDir()
	unit := installed(t, dir, "dhtprom-scraper.service")
	if err := os.Mkdir(unit+".d", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(unit+".d", "group.conf"), []byte(found[1]), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", unit).CombinedOutput(); err != nil || strings.Contains(string(out), "dhtprom-scraper.service") {
		t.Errorf("%v\n%s", err, out)
	}
}

var twin = regexp.MustCompile(`\bDHTPROM_[A-Z_]+\b`)

// A setting that no program reads is ignored silently.
func TestSettingsAreThoseOfFlags(t *testing.T) {
	var help strings.Builder
	for _, name := range names {
		help.WriteString(process.Run(t, process.Command{Path: name, Args: []string{"--help-long"}}))
	}
	known := map[string]bool{}
	for _, name := range twin.FindAllString(help.String(), -1) {
		known[name] = true
		rest := strings.TrimPrefix(name, "DHTPROM_")
		known["DHTPROM_CLIENT_"+rest], known["DHTPROM_SCRAPER_"+rest] = true, true // for one of the programs alone
	}
	files := []string{"Dockerfile"}
	for _, dir := range []string{units, "packaging/default"} {
		for _, name := range list(t, dir) {
			files = append(files, dir+"/"+name)
		}
	}
	seen := 0
	for _, file := range files {
		for _, name := range twin.FindAllString(content(t, file), -1) {
			if seen++; !known[name] {
				t.Errorf("%s: there is no %s", file, name)
			}
		}
	}
	if seen < 10 {
		t.Errorf("saw %d settings only", seen)
	}
}

// systemd passes a socket, and starts the program on the first connection.
func TestScraperTakesSocketsFromSystemd(t *testing.T) {
	process.Need(t, "systemd-socket-activate")
	port := process.FreePorts(t, 1)
	process.Start(t, process.Command{Path: "dhtprom-scraper", Args: []string{
		"bootstrap", "--host=127.0.0.1", fmt.Sprintf("--port=%d", port), "--nodes=1",
	}}).Await("Running DHT nodes")
	address := process.FreeAddress(t)
	process.Start(t, process.Command{Path: "systemd-socket-activate", Args: []string{
		"--listen=" + address, filepath.Join(process.Programs(t), "dhtprom-scraper"), "run", "--web.systemd-socket",
		fmt.Sprintf("--dht.bootstrap=127.0.0.1:%d", port), "--dht.listen-address=127.0.0.1:0",
	}})
	process.Until(t, "the scraper answers on systemd's socket", func() error {
		_, err := process.Get("http://" + address + "/-/healthy")
		return err
	})
}

// Without these lines the reports of the programs have no effect.
func TestUnitsWaitForTheReportsOfThePrograms(t *testing.T) {
	for name, lines := range map[string][]string{
		"dhtprom-bootstrap.service": nil,
		"dhtprom-client.service":    {"After=network-online.target dhtprom-bootstrap.service", "ExecReload=/bin/kill -HUP $MAINPID"},
		"dhtprom-scraper.service":   {"After=network-online.target dhtprom-bootstrap.service", "ExecReload=/bin/kill -HUP $MAINPID"},
	} {
		unit := strings.Split(content(t, units+"/"+name), "\n")
		for _, want := range append(lines, "Type=notify", "WatchdogSec=1min", "Restart=always") {
			if !slices.Contains(unit, want) {
				t.Errorf("%s lacks %s", name, want)
			}
		}
	}
}
