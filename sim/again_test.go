package sim

// This file comes first in the order of names, and so its tests are the first that run.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRunsThatOnceFailed runs first: it repeats runs that once failed.
func TestRunsThatOnceFailed(t *testing.T) {
	for _, o := range knownSeeds(t) {
		t.Run(fmt.Sprintf("%s/%d", o.Scenario, o.Seed), func(t *testing.T) {
			t.Parallel()
			play(t, o)
		})
	}
}

func knownSeeds(t *testing.T) []Options {
	t.Helper()
	file, err := os.Open("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all, err := ParseSeeds(file)
	if err != nil {
		t.Fatal("testdata/seeds.txt: ", err)
	}
	return all
}

func TestRunsThatOnceFailedComeFirst(t *testing.T) {
	files, err := filepath.Glob("*_test.go") // in order
	if err != nil || len(files) == 0 || files[0] != "again_test.go" {
		t.Fatalf("%v, %v: the first should be again_test.go", files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "package sim\n") {
			t.Errorf("%s is of a package that may be tested earlier", name)
		}
		if _, after, _ := strings.Cut(string(text), "\nfunc Test"); name == files[0] && !strings.HasPrefix(after, "RunsThatOnceFailed(") {
			t.Errorf("%s has another test first", name)
		}
	}
}
