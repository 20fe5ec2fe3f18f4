// Package api lists the exported names of packages, for tests that compare the list with a file, so that every change of the API
// shows in a diff.
package api

import (
	"bytes"
	"encoding/json"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/internal/golden"
)

const module = "github.com/dhtprom/dhtprom"

// Check compares the names of packages with a file, which -update rewrites. The patterns are those of the go command; packages
// that cannot be imported from outside, and packages for tests, are omitted.
func Check(t testing.TB, file string, patterns ...string) {
	t.Helper()
	names := Names(t, patterns...)
	got := strings.Join(names, "\n") + "\n"
	if golden.Updating() {
		golden.File(t, file, got)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(b) {
		return
	}
	held := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	report := func(what string, names, others []string) {
		for _, n := range names {
			if !slices.Contains(others, n) {
				t.Errorf("%s: %s", what, n)
			}
		}
	}
	report("gone", held, names)
	report("new", names, held)
	t.Error("if that is intended, run the test with -update")
}

// Names lists the names visible to importers of packages, methods and fields included, one per line and sorted. It fails the test
// if a name leads to a type that cannot be looked up: one of an internal package, or an unexported one.
func Names(t testing.TB, patterns ...string) []string {
	t.Helper()
	exports, public := compiled(t, patterns)
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	var lines []string
	for _, path := range public {
		p, err := imp.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		l := list(p)
		for _, f := range l.faults {
			t.Errorf("%s: %s", path, f)
		}
		lines = append(lines, l.lines...)
	}
	slices.Sort(lines)
	return lines
}

// compiled asks the go command for the files of the compiled packages, and which of the matched packages are public.
func compiled(t testing.TB, patterns []string) (exports map[string]string, public []string) {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-export", "-deps", "-json=ImportPath,Name,Dir,Export,DepOnly"}, patterns...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports = map[string]string{}
	for in := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Name, Dir, Export string
			DepOnly                       bool
		}
		if err := in.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if p.ImportPath == module || strings.HasPrefix(p.ImportPath, module+"/") {
			_, _ = os.ReadDir(p.Dir) // a cached test result is invalid once the sources have changed
		}
		if !p.DepOnly && p.Export != "" && p.Name != "main" && !isInternal(p.ImportPath) && !strings.HasSuffix(p.ImportPath, "test") {
			public = append(public, p.ImportPath)
		}
	}
	if len(public) == 0 {
		t.Fatalf("no public package in %v", patterns)
	}
	return exports, public
}

func isInternal(path string) bool { return slices.Contains(strings.Split(path, "/"), "internal") }

// list lists the names of a package.
func list(p *types.Package) *lister {
	l := &lister{pkg: p, name: below(p.Path())}
	for _, name := range p.Scope().Names() {
		if token.IsExported(name) {
			l.object(p.Scope().Lookup(name))
		}
	}
	return l
}

// below returns a package's path below the module; dhtprom for the module's root.
func below(path string) string {
	if path == module {
		return "dhtprom"
	}
	return strings.TrimPrefix(path, module+"/")
}
