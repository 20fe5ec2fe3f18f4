package laws

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/dhtprom/dhtprom"

// pkg is a package of this module.
type pkg struct {
	path  string // below the module: "hyperdht/id"
	code  []file
	tests []file
}

type file struct {
	name string // from the top of the tree
	*ast.File
}

// imports returns a file's imports; packages of this module as paths below it, with a leading "./".
func (f file) imports() []string {
	var paths []string
	for _, spec := range f.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser has accepted it
		}
		if below, ours := strings.CutPrefix(path, module+"/"); ours {
			path = "./" + below
		} else if path == module {
			path = "./."
		}
		paths = append(paths, path)
	}
	return paths
}

// named returns the name under which a file imports a package, or "" if it does not.
func (f file) named(path string) string {
	for _, spec := range f.Imports {
		if got, _ := strconv.Unquote(spec.Path.Value); got != path {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		if last := path[strings.LastIndex(path, "/")+1:]; last != "v2" {
			return last
		}
		return "rand"
	}
	return ""
}

var positions = token.NewFileSet()

// at returns the position of a node, for messages.
func at(n ast.Node) string { return positions.Position(n.Pos()).String() }

// source reads all packages of the module once, in the order of their paths.
var source = sync.OnceValues(func() ([]*pkg, error) {
	var all []*pkg
	byPath := map[string]*pkg{}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			base := entry.Name()
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		parsed, err := parser.ParseFile(positions, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		path := filepath.ToSlash(filepath.Dir(name))
		p := byPath[path]
		if p == nil {
			p = &pkg{path: path}
			byPath[path] = p
			all = append(all, p)
		}
		if f := (file{filepath.ToSlash(name), parsed}); strings.HasSuffix(name, "_test.go") {
			p.tests = append(p.tests, f)
		} else {
			p.code = append(p.code, f)
		}
		return nil
	})
	return all, err
})

func packages(t *testing.T) []*pkg {
	t.Helper()
	enter(t)
	all, err := source()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found %d packages: this test does not see the tree", len(all))
	}
	return all
}

// under reports whether a path is dir or lies in it.
func under(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// underAny reports whether a path lies in one of the dirs.
func underAny(path string, dirs ...string) bool {
	for _, dir := range dirs {
		if under(path, dir) {
			return true
		}
	}
	return false
}
