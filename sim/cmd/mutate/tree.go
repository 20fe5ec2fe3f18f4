package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const module = "github.com/dhtprom/dhtprom"

// mutated are the trees that mutations are drawn from, and whose tests may notice them.
var mutated = []string{"hyperdht", "app", "domain", "adapters"}

// notMutated are packages below them that do not ship: they only forge messages and join pipes for tests.
var notMutated = []string{"hyperdht/forge", "hyperdht/mux/muxtest"}

// source is one package of the module, parsed and checked.
type source struct {
	path  string // from the top of the module
	name  string
	dir   string
	files []*ast.File
	info  *types.Info
}

// tree is the parsed module.
type tree struct {
	root     string
	fset     *token.FileSet
	text     map[string][]byte // by file name
	sources  []*source         // in order of their paths
	imports  map[string][]string
	tests    map[string][]string // what the tests of a package import
	exported map[string]string
}

// listed is a package as the go command describes it.
type listed struct {
	ImportPath, Name, Dir, Export                                          string
	GoFiles, Imports, TestImports, XTestImports, TestGoFiles, XTestGoFiles []string
}

// list asks the go command for packages and all that they import, compiled.
func list(root string, patterns ...string) (all []listed, err error) {
	cmd := exec.Command("go", append([]string{"list", "-export", "-deps", "-json=ImportPath,Name,Dir,Export,GoFiles,Imports,TestImports,XTestImports,TestGoFiles,XTestGoFiles"}, patterns...)...)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing packages: %w", err)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("listing packages: %w", err)
		}
		all = append(all, p)
	}
}

// load reads the module. It compiles what is not in the build cache.
func load(root string) (*tree, error) {
	all, err := list(root, "./...")
	if err != nil {
		return nil, err
	}
	t := &tree{
		root: root, fset: token.NewFileSet(), text: map[string][]byte{},
		imports: map[string][]string{}, tests: map[string][]string{}, exported: map[string]string{},
	}
	for _, p := range all {
		t.exported[p.ImportPath] = p.Export
		below, ours := strings.CutPrefix(p.ImportPath, module+"/")
		if !ours || !belowAny(below, mutated) {
			continue
		}
		t.imports[below] = p.Imports
		if len(p.TestGoFiles)+len(p.XTestGoFiles) > 0 {
			t.tests[below] = slices.Concat(p.TestImports, p.XTestImports)
		}
		if slices.Contains(notMutated, below) {
			continue
		}
		s := &source{path: below, name: p.Name, dir: p.Dir}
		if err := t.parse(s, p.GoFiles); err != nil {
			return nil, err
		}
		t.sources = append(t.sources, s)
	}
	slices.SortFunc(t.sources, func(a, b *source) int { return strings.Compare(a.path, b.path) })
	for _, s := range t.sources {
		if s.info, err = t.check(s, s.files); err != nil {
			return nil, fmt.Errorf("checking %s: %w", s.path, err)
		}
	}
	return t, nil
}

func belowAny(path string, tops []string) bool {
	return slices.ContainsFunc(tops, func(top string) bool { return path == top || strings.HasPrefix(path, top+"/") })
}

func (t *tree) parse(s *source, names []string) error {
	slices.Sort(names)
	for _, name := range names {
		name = filepath.Join(s.dir, name)
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(t.fset, name, b, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		t.text[name] = b
		s.files = append(s.files, f)
	}
	return nil
}

// check types the files of a package. Packages that it imports are read from the build cache.
func (t *tree) check(s *source, files []*ast.File) (*types.Info, error) {
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}}
	conf := types.Config{Importer: importer.ForCompiler(t.fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(t.exported[path])
	})}
	_, err := conf.Check(module+"/"+s.path, t.fset, files, info)
	return info, err
}

// source returns a package by its path.
func (t *tree) source(path string) *source {
	for _, s := range t.sources {
		if s.path == path {
			return s
		}
	}
	return nil
}

// suites returns the packages whose tests run code of this one: itself, then those that import it, nearest first. What
// only tests import leads no further.
func (t *tree) suites(path string) []string {
	distance := map[string]int{path: 0}
	for level := []string{path}; len(level) > 0; {
		var next []string
		for p, imports := range t.imports {
			for _, below := range level {
				if _, seen := distance[p]; !seen && slices.Contains(imports, module+"/"+below) {
					distance[p] = distance[below] + 1
					next = append(next, p)
				}
			}
		}
		level = next
	}
	var tested []string
	for p := range t.tests {
		if _, ok := distance[p]; ok || t.nearest(p, distance) < len(t.imports) {
			tested = append(tested, p)
		}
	}
	slices.SortFunc(tested, func(a, b string) int {
		return cmp.Or(cmp.Compare(t.nearest(a, distance), t.nearest(b, distance)), cmp.Compare(a, b))
	})
	return tested
}

// nearest returns the distance of the tests of a package from the one that distances are measured from.
func (t *tree) nearest(p string, distance map[string]int) int {
	least := len(t.imports)
	if d, ok := distance[p]; ok {
		least = d
	}
	for _, imported := range t.tests[p] {
		if d, ok := distance[strings.TrimPrefix(imported, module+"/")]; ok {
			least = min(least, d+1)
		}
	}
	return least
}
