package laws

import (
	"go/ast"
	"slices"
	"testing"
)

// The sizes that nine of ten functions, and nine of ten files, of code other than tests stay below, in lines. They may shrink.
const (
	functionLines = 23
	fileLines     = 288
)

// Long functions have reasons, each of its own. This holds for the ordinary ones: that most can be read at a glance.
func TestMostFunctionsAndFilesAreShort(t *testing.T) {
	var functions, files []int
	line := func(n ast.Node) (first, last int) {
		return positions.Position(n.Pos()).Line, positions.Position(n.End()).Line
	}
	for _, p := range packages(t) {
		for _, f := range p.code {
			files = append(files, positions.File(f.FileStart).LineCount())
			for _, decl := range f.Decls {
				if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
					first, last := line(fn)
					functions = append(functions, last-first+1)
				}
			}
		}
	}
	p90 := func(sizes []int) int {
		slices.Sort(sizes)
		return sizes[len(sizes)*9/10]
	}
	if got := p90(functions); got > functionLines {
		t.Errorf("a tenth of %d functions have %d lines or more, want at most %d", len(functions), got, functionLines)
	}
	if got := p90(files); got > fileLines {
		t.Errorf("a tenth of %d files have %d lines or more, want at most %d", len(files), got, fileLines)
	}
}
