package api

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"
)

// inside is a package that importers of another one cannot import.
var inside = func() *types.Package {
	p := types.NewPackage(module+"/x/internal/inside", "inside")
	for _, name := range []string{"Thing", "Other"} {
		o := types.NewTypeName(token.NoPos, p, name, nil)
		types.NewNamed(o, types.NewStruct([]*types.Var{types.NewField(token.NoPos, p, "Size", types.Typ[types.Int], false)}, nil), nil)
		p.Scope().Insert(o)
	}
	p.MarkComplete()
	return p
}()

type importFunc func(path string) (*types.Package, error)

func (f importFunc) Import(path string) (*types.Package, error) { return f(path) }

// listOf lists a package with these declarations.
func listOf(t *testing.T, declarations string) *lister {
	t.Helper()
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, "x.go", "package x\nimport \""+inside.Path()+"\"\nvar _ inside.Thing\n"+declarations, 0)
	if err != nil {
		t.Fatal(err)
	}
	cfg := types.Config{Importer: importFunc(func(string) (*types.Package, error) { return inside, nil })}
	p, err := cfg.Check(module+"/x", files, []*ast.File{f}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return list(p)
}

func TestNamesThatLeadInside(t *testing.T) {
	for declarations, at := range map[string]string{
		"type A = inside.Thing":                                            "A",
		"type A struct { B *inside.Thing }":                                "A.B",
		"type A struct { B []struct { C inside.Thing } }":                  "A.B.C",
		"type a struct { B inside.Thing }; type C struct{ a }":             "C.B",
		"type A interface { B(map[inside.Thing]int) }":                     "A.B",
		"type A struct{}; func (*A) B() chan inside.Thing { return nil }":  "A.B",
		"type a struct{}; func (a) B(inside.Thing) {}; type C struct{ a }": "C.B",
		"func F(func(inside.Thing)) {}":                                    "F",
		"var V [2]inside.Thing":                                            "V",
		"type a struct{}; func F() *a { return nil }":                      "F",
		"type G[T any] struct{}; var V G[inside.Thing]":                    "V",
	} {
		l := listOf(t, declarations)
		if len(l.faults) != 1 || !strings.HasPrefix(l.faults[0], at+" leads to ") {
			t.Errorf("%s: %q, want one at %s", declarations, l.faults, at)
		}
	}
}

func TestNamesThatStayOutside(t *testing.T) {
	l := listOf(t, `
		type A struct { b inside.Thing; C *A; e }
		type e struct { D int }
		func (A) f() inside.Thing { return inside.Thing{} }
		func (e) G(error) {}
		type H = func(A) any
		const I = 1`)
	want := []string{
		"pkg x, const I untyped int = 1",
		"pkg x, method (A) G(error)",
		"pkg x, type A struct",
		"pkg x, type A struct, C *A",
		"pkg x, type A struct, D int",
		"pkg x, type H = func(A) any",
	}
	slices.Sort(l.lines)
	if len(l.faults) > 0 || !slices.Equal(l.lines, want) {
		t.Errorf("%q\n%s", l.faults, strings.Join(l.lines, "\n"))
	}
}
