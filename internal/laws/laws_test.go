// Package laws has rules for the whole tree, as tests: imports, assembly, ambient state, limits, words, sizes of structs. Paths
// in it start at the top of the module.
package laws

import (
	"fmt"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// enter repeats the change of directory where the go command records it: what it caches of a test depends on the files that the test
// has opened since, by their names from the recorded directory.
func enter(t *testing.T) {
	t.Helper()
	dir, err := os.Getwd()
	if err == nil {
		err = os.Chdir(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
}
