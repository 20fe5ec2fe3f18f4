package dhtprom_test

import (
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEveryPackageHasOnePackageComment(t *testing.T) {
	for _, p := range packages(t) {
		var with []string
		for _, f := range p.code {
			if f.Doc != nil {
				with = append(with, f.name)
			}
		}
		if len(p.code) > 0 && len(with) != 1 {
			t.Errorf("package %s has %d package comments %v, want one", p.path, len(with), with)
		}
	}
}

// drawers are names that say nothing: what is put there has a home elsewhere, or a noun is missing.
var drawers = []string{"util", "utils", "common", "misc", "base", "types", "shared", "helper", "helpers", "lib", "stuff", "generic"}

func TestNothingIsNamedLikeADrawer(t *testing.T) {
	for _, p := range packages(t) {
		for part := range strings.SplitSeq(p.path, "/") {
			if slices.Contains(drawers, part) {
				t.Errorf("package %s is a drawer", p.path)
			}
		}
		for _, f := range slices.Concat(p.code, p.tests) {
			name := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.name), ".go"), "_test")
			if slices.Contains(drawers, name) || slices.Contains(drawers, f.Name.Name) {
				t.Errorf("%s is a drawer", f.name)
			}
		}
	}
}

// Waiting for time to pass makes a test slow and, on a busy machine, wrong. In a synctest bubble time costs
// nothing and passes only when all are waiting.
func TestTestsSleepInBubblesOnly(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range p.tests {
			clock, bubble := f.named("time"), f.named("testing/synctest")
			if clock == "" {
				continue
			}
			ast.Inspect(f.File, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && bubble != "" && isSelector(call.Fun, bubble, "Test") {
					return false
				}
				if e, ok := n.(ast.Expr); ok && isSelector(e, clock, "Sleep") {
					t.Errorf("%s: time.Sleep outside of a synctest bubble", at(n))
				}
				return true
			})
		}
	}
}

// A test that is skipped proves nothing and looks as if it did. Those of interop may, visibly, where there
// is no node.
func TestTestsAreNotSkipped(t *testing.T) {
	for _, p := range packages(t) {
		if under(p.path, "interop") {
			continue
		}
		for _, f := range p.tests {
			ast.Inspect(f.File, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, s.Sel.Name) {
					if x, ok := s.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "f", "tb"}, x.Name) {
						t.Errorf("%s: a test that is skipped", at(n))
					}
				}
				return true
			})
		}
	}
}

var reminder = regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"}, "|") + `)\b`)

func TestNoRemindersAreLeftInComments(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range slices.Concat(p.code, p.tests) {
			for _, group := range f.Comments {
				if found := reminder.FindString(group.Text()); found != "" {
					t.Errorf("%s: %s", at(group), found)
				}
			}
		}
	}
}

// Bytes from peers are hostile ground: every exported parser of them is fuzzed.
func TestEveryParserOfBytesHasAFuzzTarget(t *testing.T) {
	parsers := 0
	for _, p := range packages(t) {
		if !underAny(p.path, "hyperdht", "adapters") {
			continue
		}
		fuzzed := reachedFromFuzzTargets(p)
		for _, f := range p.code {
			for _, decl := range f.Decls {
				fn, ok := decl.(*ast.FuncDecl)
				if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Parse") || !takesBytes(fn) {
					continue
				}
				parsers++
				if !fuzzed[fn.Name.Name] {
					t.Errorf("%s: no fuzz target reaches %s", at(fn), fn.Name.Name)
				}
			}
		}
	}
	if parsers < 10 {
		t.Errorf("found %d parsers only", parsers)
	}
}

// takesBytes reports whether a function's first parameter is a []byte.
func takesBytes(fn *ast.FuncDecl) bool {
	if len(fn.Type.Params.List) == 0 {
		return false
	}
	slice, ok := fn.Type.Params.List[0].Type.(*ast.ArrayType)
	if !ok || slice.Len != nil {
		return false
	}
	elem, ok := slice.Elt.(*ast.Ident)
	return ok && elem.Name == "byte"
}

// reachedFromFuzzTargets returns the names that the fuzz targets of a package use, by themselves or through
// other declarations of its tests.
func reachedFromFuzzTargets(p *pkg) map[string]bool {
	uses := map[string][]string{}
	var queue []string
	for _, f := range p.tests {
		for _, decl := range f.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				name := decl.Name.Name
				uses[name] = append(uses[name], identifiers(decl)...)
				if strings.HasPrefix(name, "Fuzz") {
					queue = append(queue, name)
				}
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok {
						for _, name := range v.Names {
							uses[name.Name] = append(uses[name.Name], identifiers(v)...)
						}
					}
				}
			}
		}
	}
	// Parsers call each other in the package, too.
	for _, f := range p.code {
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil {
				uses[fn.Name.Name] = append(uses[fn.Name.Name], identifiers(fn)...)
			}
		}
	}
	reached := map[string]bool{}
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		for _, used := range uses[name] {
			if !reached[used] {
				reached[used] = true
				queue = append(queue, used)
			}
		}
	}
	return reached
}

func identifiers(n ast.Node) []string {
	var names []string
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			names = append(names, id.Name)
		}
		return true
	})
	return names
}

// isSelector reports whether an expression is x.name.
func isSelector(e ast.Expr, x, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	id, ok := s.X.(*ast.Ident)
	return ok && id.Name == x
}
