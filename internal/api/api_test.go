package api_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/internal/api"
)

// unoffered are the folders of programs, measurements and whole-system tests, which are not for importing.
var unoffered = []string{"bench", "cmd", "examples", "interop", "sim"}

// Types of public names can be looked up with go doc.
func TestPublicNamesLeadToPublicTypes(t *testing.T) {
	const module = "github.com/dhtprom/dhtprom"
	out, err := exec.Command("go", "list", module+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	offered := slices.DeleteFunc(strings.Fields(string(out)), func(path string) bool {
		below, _, _ := strings.Cut(strings.TrimPrefix(path, module+"/"), "/")
		return slices.Contains(unoffered, below)
	})
	if names := api.Names(t, offered...); len(names) < 1000 {
		t.Fatalf("found %d names only", len(names))
	}
}
