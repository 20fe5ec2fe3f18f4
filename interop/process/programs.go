package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Required reports whether a test that cannot run is a failure.
func Required() bool {
	ci := os.Getenv("CI")
	return os.Getenv("DHTPROM_REQUIRE_INTEROP") == "1" || ci != "" && ci != "false" && ci != "0"
}

// Need checks that programs are installed. If not, it skips the test, or fails it if interop is required.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if Required() {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("INTEROP NOT TESTED: %s is not installed", name)
	}
}

// Top returns the folder of this module, wherever below it the test runs, in another module as well.
func Top(t testing.TB) string {
	t.Helper()
	dir, err := top()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func top() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if mod, missing := os.ReadFile(filepath.Join(dir, "go.mod")); missing == nil && strings.HasPrefix(string(mod), "module github.com/dhtprom/dhtprom\n") {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("go.mod is in no folder above the test")
		}
		dir = up
	}
	return "", err
}

// FolderVariable is the variable that names the folder of the programs; a temporary one if it is not set. Programs that are
// there and current are not linked again.
const FolderVariable = "DHTPROM_PROGRAMS"

// folder is the temporary output folder of built; empty until the programs are needed.
var folder string

// names are those of the programs.
var names = []string{"dhtprom-client", "dhtprom-scraper", "hyperdht"}

var built = sync.OnceValues(func() (dir string, err error) {
	module, err := top()
	if err != nil {
		return "", err
	}
	if dir = os.Getenv(FolderVariable); dir == "" {
		if dir, err = os.MkdirTemp("", "dhtprom-programs-"); err != nil {
			return "", err
		}
		folder = dir
	}
	args := []string{"build", "-o", dir}
	for _, name := range names {
		args = append(args, "./cmd/"+name)
	}
	build := exec.Command("go", args...)
	build.Dir = module
	if out, err := build.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

// Programs returns the folder with dhtprom-client, dhtprom-scraper and hyperdht, built on the first call.
func Programs(t testing.TB) string {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Main runs a package's tests and removes the built programs. TestMain calls it.
func Main(m *testing.M) {
	code := m.Run()
	if folder != "" {
		_ = os.RemoveAll(folder) // it is temporary
	}
	os.Exit(code)
}
