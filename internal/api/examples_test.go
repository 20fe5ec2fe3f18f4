package api_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// exampleLines bounds the body of an example, its output not counted: longer ones are not read.
const exampleLines = 25

// The package comment of the module names the examples of the first steps, which run as tests.
func TestExamplesAreShort(t *testing.T) {
	shown := map[string]bool{} // by the name in the comment; true if it has output
	for _, dir := range []string{".", "client", "scraper", "hyperdht", "hyperdht/dhtnet"} {
		files, err := filepath.Glob(filepath.Join("../..", dir, "example_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, file, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || !strings.HasPrefix(fn.Name.Name, "Example") {
					continue
				}
				name := fn.Name.Name
				if dir != "." {
					name = filepath.Base(dir) + "." + name
				}
				shown[name] = false
				end := fn.Body.Rbrace
				for _, c := range f.Comments {
					if strings.Contains(strings.ToLower(c.Text()), "output:") && c.Pos() > fn.Body.Pos() && c.End() < end {
						end = c.Pos()
						shown[name] = true
					}
				}
				if lines := set.Position(end).Line - set.Position(fn.Body.Lbrace).Line - 1; lines > exampleLines {
					t.Errorf("%s: %s has %d lines, %d are enough", file, fn.Name.Name, lines, exampleLines)
				}
			}
		}
	}
	comment, err := os.ReadFile("../../doc.go")
	if err != nil {
		t.Fatal(err)
	}
	steps := regexp.MustCompile(`\[((?:\w+\.)?Example\w*)\]`).FindAllStringSubmatch(string(comment), -1)
	if len(steps) < 6 || len(shown) < 10 {
		t.Errorf("found %d first steps and %d examples only", len(steps), len(shown))
	}
	for _, step := range steps {
		if !shown[step[1]] {
			t.Errorf("doc.go: there is no example %s with output", step[1])
		}
	}
}
