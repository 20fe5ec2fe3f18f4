package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/sim"
)

// A mutation that no longer fits the code tests nothing, and the run that would report it takes long.
func TestEveryMutationFitsTheCodeExactlyOnce(t *testing.T) {
	root, err := top()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			whole, err := os.ReadFile(filepath.Join(root, m.file))
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(whole, []byte(m.old)); n != 1 {
				t.Errorf("%q stands %d times in %s", m.old, n, m.file)
			}
			if m.old == m.new {
				t.Error("changes nothing")
			}
			if suite := strings.Fields(m.suite); len(suite) == 0 || sim.Find(suite[0]) == nil {
				t.Errorf("no scenario is called %q", m.suite)
			}
			if names[m.name] {
				t.Error("duplicate name")
			}
			names[m.name] = true
		})
	}
}
