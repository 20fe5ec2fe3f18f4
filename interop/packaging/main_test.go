// Package packaging_test checks the inputs of packages: systemd units, manual pages, shell completions, images.
package packaging_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

func TestMain(m *testing.M) { process.Main(m) }

// names are the programs that have packages and images, and released all of those in the archives.
var (
	names    = []string{"dhtprom-client", "dhtprom-scraper"}
	released = append(slices.Clip(names), "hyperdht")
)

func content(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(process.Top(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// list returns the files of a folder by their names.
func list(t *testing.T, dir string) (files []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(process.Top(t), dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		files = append(files, e.Name())
	}
	if len(files) == 0 {
		t.Fatalf("nothing is in %s", dir)
	}
	return files
}
