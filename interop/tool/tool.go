// Package tool finds the programs of others that tests run: Prometheus, promtool, a browser.
package tool

import (
	"os/exec"
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

// Require returns where a program is, one of several names. A test that misses it is skipped, visibly; where
// interop is required it fails, because a green run without it proves less than it says.
func Require(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if process.Required() {
		t.Fatalf("%v is not installed", names)
	}
	t.Skipf("%v is not installed", names)
	return ""
}
