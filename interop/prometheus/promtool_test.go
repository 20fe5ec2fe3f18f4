package prometheus_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

// promtool runs a check in a folder of the module.
func promtool(t *testing.T, dir string, stdin []byte, args ...string) {
	t.Helper()
	process.Need(t, "promtool")
	cmd := exec.Command("promtool", args...)
	cmd.Dir, cmd.Stdin = filepath.Join(process.Top(t), dir), bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}

func TestExamplesAreValid(t *testing.T) {
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) { promtool(t, "examples", nil, "check", "config", e.file) })
	}
}

func checkOwnMetrics(t *testing.T, w *world) {
	page, err := process.Get("http://" + w.http + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	promtool(t, ".", page, "check", "metrics")
}
