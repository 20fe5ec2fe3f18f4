// Package tool finds the programs of others that tests run: Prometheus, promtool, a browser.
package tool

import (
	"os"
	"os/exec"
	"testing"
)

// Require returns where a program is, one of several names. A test that misses it is skipped, visibly; where the
// environment says CI=true or DHTPROM_REQUIRE_INTEROP it fails, because a green run without it proves less than it
// says.
func Require(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" || os.Getenv("DHTPROM_REQUIRE_INTEROP") != "" {
		t.Fatalf("%v is not installed", names)
	}
	t.Skipf("%v is not installed", names)
	return ""
}
