// Package golden compares results of tests with files in the tree. The flag -update rewrites the files, so that their changes are
// reviewed.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the files that tests compare results with")

// Updating reports whether the flag is set.
func Updating() bool { return *update }

// File compares a text with a file. The test fails at the first line that differs.
func File(t testing.TB, file, got string) {
	t.Helper()
	if Updating() {
		write(t, file, got)
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, file, got, string(want))
}

// Part compares a text with a part of a file, given by offsets into the file's content.
func Part(t testing.TB, file, content string, from, to int, got string) {
	t.Helper()
	if Updating() {
		write(t, file, content[:from]+got+content[to:])
		return
	}
	compare(t, file, got, content[from:to])
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func compare(t testing.TB, file, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	now, then := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(now), len(then)) {
		if now[i] != then[i] {
			t.Fatalf("%s: line %d is now\n\t%s\nand was\n\t%s\nRun the test with -update and read the difference.", file, i+1, now[i], then[i])
		}
	}
	t.Fatalf("%s: %d lines, were %d. Run the test with -update and read the difference.", file, len(now), len(then))
}
