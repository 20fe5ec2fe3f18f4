package laws

import (
	"go/ast"
	"strings"
	"testing"
)

// A bare true or false does not say what it means: a named constant does, or a method for each of the two. It may be the only argument of
// a method Set… or Store, and a result that is passed to a function variable: done(nil, false) reads as return nil, false does.
func TestCallsPassNoBareBools(t *testing.T) {
	declared := declaredFunctions(packages(t))
	for _, p := range packages(t) {
		for _, f := range p.code {
			ast.Inspect(f.File, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || !hasBareBool(call) || f.callsOutside(call) {
					return true
				}
				name, method := calledName(call)
				switch {
				case !declared[name]: // a function variable, or another module's
				case !method && !declared[p.path+" "+name]: // a function variable that is named like a function elsewhere
				case len(call.Args) == 1 && (strings.HasPrefix(name, "Set") || name == "Store"):
				default:
					t.Errorf("%s: %s is called with a bare true or false", at(call), name)
				}
				return true
			})
		}
	}
}

// declaredFunctions returns the names of the functions and methods of the module's own code, and those of functions with their package.
func declaredFunctions(all []*pkg) map[string]bool {
	declared := map[string]bool{}
	for _, p := range all {
		for _, f := range p.code {
			ast.Inspect(f.File, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					declared[n.Name.Name] = true
					if n.Recv == nil {
						declared[p.path+" "+n.Name.Name] = true
					}
				case *ast.InterfaceType:
					for _, m := range n.Methods.List {
						for _, name := range m.Names {
							declared[name.Name] = true
						}
					}
				}
				return true
			})
		}
	}
	return declared
}

// callsOutside reports whether a call is one of a function of a package outside of the module.
func (f file) callsOutside(call *ast.CallExpr) bool {
	fun, _ := call.Fun.(*ast.SelectorExpr)
	if fun == nil {
		return false
	}
	x, _ := fun.X.(*ast.Ident)
	for _, path := range f.imports() {
		if x != nil && !strings.HasPrefix(path, "./") && f.named(path) == x.Name {
			return true
		}
	}
	return false
}

func hasBareBool(call *ast.CallExpr) bool {
	for _, arg := range call.Args {
		if id, ok := arg.(*ast.Ident); ok && (id.Name == "true" || id.Name == "false") {
			return true
		}
	}
	return false
}

// calledName returns the name of what is called, and whether it is selected: a method, or a function of another package.
func calledName(call *ast.CallExpr) (name string, selected bool) {
	fun := call.Fun
	switch x := fun.(type) {
	case *ast.IndexExpr:
		fun = x.X
	case *ast.IndexListExpr:
		fun = x.X
	}
	switch x := fun.(type) {
	case *ast.Ident:
		return x.Name, false
	case *ast.SelectorExpr:
		return x.Sel.Name, true
	}
	return "", false
}
