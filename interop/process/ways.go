package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Way is a way in which a newcomer gets the first metrics. docs/quickstart.md lists them, with the commands to type and the seconds that
// they took.
type Way struct {
	Name  string
	Steps []string // commands, and what else is to be done by hand
	Test  string   // that runs it
}

// Ways lists them.
func Ways() []Way {
	return []Way{OneCommand, TwoMachines, TwoPackages, Containers, Kustomizations, Chart}
}

// The ways.
var (
	OneCommand = Way{"one command", []string{"dhtprom-scraper demo"}, "interop/docs"}

	TwoMachines = Way{"two machines, with the programs", []string{
		"dhtprom-scraper", "dhtprom-scraper invite --output=laptop.invite", "copy the invite", "dhtprom-client --invite-file=laptop.invite --alias=laptop",
	}, "interop/docs"}

	TwoPackages = Way{"two machines, with packages, on a private DHT", []string{
		"apt install dhtprom-scraper", "systemctl enable --now dhtprom-bootstrap dhtprom-scraper", "dhtprom-scraper invite --output=laptop.invite",
		"copy the invite", "apt install dhtprom-client", "set DHTPROM_ALIAS", "systemctl enable --now dhtprom-client",
	}, "interop/packaging"}

	Containers = Way{"Prometheus, a scraper, two clients and a private DHT with Compose", []string{"docker compose -f deploy/compose.yml up"}, "interop/packaging"}

	Kustomizations = Way{"Kubernetes, with kustomizations", []string{
		"kubectl create namespace dhtprom", "kubectl apply -k deploy/kubernetes/private", "kubectl exec for an invite", "kubectl create secret",
		"kubectl apply -k deploy/kubernetes/node-exporter",
	}, "interop/deploy"}

	Chart = Way{"Kubernetes, with the chart", []string{"helm install", "kubectl exec for an invite", "kubectl create secret"}, "interop/deploy"}
)

// waysFile has the table.
const waysFile = "docs/quickstart.md"

// updateWays is the environment variable that makes tests write the seconds of their ways into the table. Those of an earlier run stay
// otherwise: no test fails for its time.
const updateWays = "DHTPROM_UPDATE_WAYS"

// Begin starts the clock of a way, and arrived stops it. The table must have the way.
func (w Way) Begin(t testing.TB) (arrived func()) {
	t.Helper()
	Programs(t) // compiles them
	began := time.Now()
	return func() {
		t.Helper()
		took := fmt.Sprintf("%.1f", time.Since(began).Seconds())
		t.Logf("%s: %d steps, %s s until the first metrics", w.Name, len(w.Steps), took)
		path := filepath.Join(Top(t), waysFile)
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before, after, err := w.cut(string(page))
		if err != nil {
			t.Error(err)
			return
		}
		if os.Getenv(updateWays) == "" {
			return
		}
		if err := os.WriteFile(path, []byte(before+took+after), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// row returns the row of a way up to its seconds, and what follows them.
func (w Way) row() (begin, end string) {
	return fmt.Sprintf("\n| %s | %d: `%s` | ", w.Name, len(w.Steps), strings.Join(w.Steps, "`, `")), fmt.Sprintf(" | `%s` |\n", w.Test)
}

// cut returns the page before the seconds of a way and after them.
func (w Way) cut(page string) (before, after string, err error) {
	begin, end := w.row()
	before, rest, found := strings.Cut(page, begin)
	_, after, complete := strings.Cut(rest, end)
	if !found || !complete {
		return "", "", fmt.Errorf("%s lacks the row%sSECONDS%s", waysFile, begin, end)
	}
	return before + begin, end + after, nil
}
