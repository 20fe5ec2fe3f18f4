package api_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// exampleLines bounds the body of an example, its output not counted: longer ones are not read.
const exampleLines = 25

func TestExamplesAreShort(t *testing.T) {
	examples := 0
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
				examples++
				end := fn.Body.Rbrace
				for _, c := range f.Comments {
					if strings.Contains(strings.ToLower(c.Text()), "output:") && c.Pos() > fn.Body.Pos() && c.End() < end {
						end = c.Pos()
					}
				}
				if lines := set.Position(end).Line - set.Position(fn.Body.Lbrace).Line - 1; lines > exampleLines {
					t.Errorf("%s: %s has %d lines, %d are enough", file, fn.Name.Name, lines, exampleLines)
				}
			}
		}
	}
	if examples < 10 {
		t.Errorf("found %d examples only", examples)
	}
}
