// Package tool finds external programs that tests run: Prometheus, promtool, a browser.
package tool

import (
	"os/exec"
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

// Require returns the path of a program, by one of several names. A test without it is skipped visibly; if interop is
// required it fails, because a green run without it would prove less than it shows.
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
