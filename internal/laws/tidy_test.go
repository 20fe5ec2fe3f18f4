package laws

import (
	"go/ast"
	"maps"
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

// drawers are meaningless package names: their content belongs elsewhere, or a noun is missing.
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

// Waiting for time to pass makes a test slow and, on a busy machine, unreliable. In a synctest bubble it is free: time passes
// only when all goroutines wait.
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

// A skipped test proves nothing and looks as if it did. Those of interop may be skipped, visibly, without node.
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

// Code that parses bytes from peers or text from people handles hostile input: a fuzz target reaches it, and checks its steps and
// its memory against a bound that grows with the input.
func TestEveryParserAndMachineIsFuzzedWithinABound(t *testing.T) {
	found := 0
	for _, p := range packages(t) {
		if !underAny(p.path, "hyperdht", "adapters", "domain", "cmd") || anyMatches(onlyTests, p.path) {
			continue
		}
		judged := reachedFromJudgedTargets(p)
		for _, f := range p.code {
			for _, decl := range f.Decls {
				fn, ok := decl.(*ast.FuncDecl)
				if !ok || !isParser(fn) && !isMachine(fn) || notFuzzed[p.path+" "+fn.Name.Name] != "" {
					continue
				}
				found++
				if !judged[fn.Name.Name] {
					t.Errorf("%s: no fuzz target reaches %s and holds its cost against a bound of internal/cost", at(fn), fn.Name.Name)
				}
			}
		}
	}
	if found < 40 {
		t.Errorf("found %d parsers and machines only", found)
	}
}

// notFuzzed are functions that only look like parsers and machines, each with its reason.
var notFuzzed = map[string]string{}

// Every fuzz target checks the cost of its input. One that does not finds half of the faults.
func TestEveryFuzzTargetHasABound(t *testing.T) {
	for _, p := range packages(t) {
		uses := usesIn(p)
		for _, name := range fuzzTargets(p) {
			if !reachedFrom(uses, name)[costBound] {
				t.Errorf("%s in %s holds nothing against a bound of internal/cost", name, p.path)
			}
		}
	}
}

// isParser reports whether a function converts bytes or text to a value.
func isParser(fn *ast.FuncDecl) bool {
	return fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Parse") && (takes(fn, "[]byte") || takes(fn, "string"))
}

// isMachine reports whether a method processes bytes from a peer.
func isMachine(fn *ast.FuncDecl) bool {
	return fn.Recv != nil && slices.Contains([]string{"Receive", "Handle", "ReadMessage", "Open", "OpenMessage"}, fn.Name.Name) && takes(fn, "[]byte")
}

// takes reports whether a parameter of a function has this type.
func takes(fn *ast.FuncDecl, name string) bool {
	return slices.ContainsFunc(fn.Type.Params.List, func(field *ast.Field) bool {
		switch typ := field.Type.(type) {
		case *ast.Ident:
			return typ.Name == name
		case *ast.ArrayType:
			elem, ok := typ.Elt.(*ast.Ident)
			return ok && typ.Len == nil && "[]"+elem.Name == name
		}
		return false
	})
}

// costBound is the name for the use of package cost in reachedFrom.
const costBound = "internal/cost"

// fuzzTargets returns the names of a package's targets.
func fuzzTargets(p *pkg) (names []string) {
	for _, f := range p.tests {
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Fuzz") {
				names = append(names, fn.Name.Name)
			}
		}
	}
	return names
}

func reachedFromJudgedTargets(p *pkg) map[string]bool {
	all, uses := map[string]bool{}, usesIn(p)
	for _, name := range fuzzTargets(p) {
		if reached := reachedFrom(uses, name); reached[costBound] {
			maps.Copy(all, reached)
		}
	}
	return all
}

// usesIn returns the names that each declaration of a package uses, tests included. Package cost is costBound.
func usesIn(p *pkg) map[string][]string {
	uses := map[string][]string{}
	for _, f := range slices.Concat(p.tests, p.code) {
		cost := f.named(module + "/internal/cost")
		add := func(name string, n ast.Node) {
			for _, used := range identifiers(n) {
				if used == cost {
					used = costBound
				}
				uses[name] = append(uses[name], used)
			}
		}
		for _, decl := range f.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				add(decl.Name.Name, decl)
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok {
						for _, name := range v.Names {
							add(name.Name, v)
						}
					}
				}
			}
		}
	}
	return uses
}

// reachedFrom returns the names that a declaration uses, directly or indirectly.
func reachedFrom(uses map[string][]string, from string) map[string]bool {
	reached := map[string]bool{}
	queue := []string{from}
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

// maxFields bounds the fields of a struct. One with more owns several things, each of which is a type with methods of its own.
const maxFields = 20

// manyFields are the structs with more fields, by package and name, each with its reason. There are at most maxExceptions.
var manyFields = map[string]string{
	"hyperdht PeeringStats": "a table of counters, one for each row of the metrics",
}

const maxExceptions = 5

func TestStructsHaveFewFields(t *testing.T) {
	if len(manyFields) > maxExceptions {
		t.Errorf("%d exceptions, at most %d may be", len(manyFields), maxExceptions)
	}
	large, found := map[string]bool{}, 0
	for _, p := range packages(t) {
		for _, f := range p.code {
			eachStruct(f.File, func(name string, s *ast.StructType) {
				found++
				n := countFields(s)
				if n <= maxFields {
					return
				}
				name = p.path + " " + name
				large[name] = true
				if manyFields[name] == "" {
					t.Errorf("%s: %s has %d fields, at most %d may be: ask what it owns", at(s), name, n, maxFields)
				}
			})
		}
	}
	for name := range manyFields {
		if !large[name] {
			t.Errorf("%s is an exception, but there is no such struct with more than %d fields", name, maxFields)
		}
	}
	if found < 300 {
		t.Errorf("found %d structs only", found)
	}
}

// eachStruct calls f with each struct type of a file and its name, "" if it has none.
func eachStruct(file *ast.File, f func(name string, s *ast.StructType)) {
	named := map[*ast.StructType]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeSpec:
			if s, ok := n.Type.(*ast.StructType); ok {
				named[s] = n.Name.Name
			}
		case *ast.StructType:
			f(named[n], n)
		}
		return true
	})
}

// countFields counts the fields of a struct; an embedded type is one.
func countFields(s *ast.StructType) (n int) {
	for _, field := range s.Fields.List {
		n += max(1, len(field.Names))
	}
	return n
}
