package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

func TestDemoIsAWay(t *testing.T) {
	arrived := process.OneCommand.Begin(t)
	web := process.FreeAddress(t)
	process.Start(t, process.Command{Path: "dhtprom-scraper", Args: []string{"demo", "--web.listen-address=" + web}})
	scraped(t, web, "demo")
	arrived()
}

// The public DHT is a private one here.
func TestTwoProgramsAreAWay(t *testing.T) {
	port := process.FreePorts(t, 4)
	process.Start(t, process.Command{Path: "dhtprom-scraper", Args: []string{"bootstrap", "--host=127.0.0.1", fmt.Sprintf("--port=%d", port)}}).Await("Running DHT nodes")
	bootstrap := fmt.Sprintf("DHTPROM_DHT_BOOTSTRAP=127.0.0.1:%d", port)
	web, server, laptop := process.FreeAddress(t), t.TempDir(), t.TempDir()
	at := func(dir string, env ...string) process.Command {
		return process.Command{Dir: dir, Env: append(env, bootstrap, "DHTPROM_DHT_LISTEN_ADDRESS=127.0.0.1:0")}
	}
	arrived := process.TwoMachines.Begin(t)
	run := at(server, "DHTPROM_WEB_LISTEN_ADDRESS="+web)
	run.Path = "dhtprom-scraper"
	process.Start(t, run).Await("Accepting registrations")
	invite := at(server)
	invite.Path, invite.Args = "dhtprom-scraper", []string{"invite", "--output=laptop.invite"}
	process.Run(t, invite)
	if err := os.Rename(filepath.Join(server, "laptop.invite"), filepath.Join(laptop, "laptop.invite")); err != nil {
		t.Fatal(err)
	}
	client := at(laptop, "DHTPROM_WEB_LISTEN_ADDRESS="+process.FreeAddress(t))
	client.Path, client.Args = "dhtprom-client", []string{"--invite-file=laptop.invite", "--alias=laptop"}
	process.Start(t, client)
	scraped(t, web, "laptop")
	arrived()
}

// scraped waits for the first metrics of an alias.
func scraped(t *testing.T, web, alias string) {
	t.Helper()
	process.Until(t, "the metrics of "+alias, func() error {
		page, err := process.Get("http://" + web + "/scrape/" + alias + "/metrics")
		if err == nil && !strings.Contains(string(page), "go_goroutines") {
			err = fmt.Errorf("%.200s", page)
		}
		return err
	})
}

// The table has the ways that tests run, and no other.
func TestTableOfWaysIsThatOfTheTests(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(process.Top(t), "docs/quickstart.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| .* \\| \\d+: .* \\| [0-9.]+ \\| `interop/[a-z]+` \\|$").FindAllString(string(page), -1)
	if len(rows) != len(process.Ways()) {
		t.Errorf("%d rows, %d ways", len(rows), len(process.Ways()))
	}
	used := map[string]int{}
	err = filepath.WalkDir(filepath.Join(process.Top(t), "interop"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, way := range regexp.MustCompile(`process\.([A-Z]\w+)\b`).FindAllStringSubmatch(string(text), -1) {
			used[way[1]]++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"OneCommand", "TwoMachines", "TwoPackages", "Containers", "Kustomizations", "Chart"} {
		if used[name] == 0 {
			t.Errorf("no test runs %s", name)
		}
	}
}
