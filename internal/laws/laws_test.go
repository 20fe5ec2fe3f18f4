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
