package laws

import (
	"go/ast"
	"go/token"
	"slices"
	"testing"
)

// handBridged are functions that post to a loop and wait on a channel without package bridge, each with its reason.
var handBridged = map[string]string{
	"adapters/udp Do":                         "the host's own, with which tests and programs reach its loop",
	"hyperdht/dhtnet Write":                   "a writer waits for room, not for an outcome",
	"ports/bridge Call":                       "the bridge",
	"ports/host/hosttest closedHostReportsIt": "tests the channel that the bridge waits on",
}

// A goroutine that posts a function and waits for it by hand forgets the end of its context or of the host: package bridge does both.
func TestGoroutinesWaitForTheLoopByTheBridge(t *testing.T) {
	needed := map[string]bool{}
	for _, p := range packages(t) {
		for _, f := range p.code {
			for _, decl := range f.Decls {
				fn, ok := decl.(*ast.FuncDecl)
				if !ok || fn.Body == nil {
					continue
				}
				if posts, waits := bridgeParts(fn.Body); posts && waits {
					name := p.path + " " + fn.Name.Name
					if needed[name] = true; handBridged[name] != "" {
						continue
					}
					t.Errorf("%s: %s posts to a loop and waits: use package bridge", at(fn), fn.Name.Name)
				}
			}
		}
	}
	for name := range handBridged {
		if !needed[name] {
			t.Errorf("%q is excepted for nothing", name)
		}
	}
}

// bridgeParts reports whether a function posts to a loop, and whether it receives from a channel or waits for a group.
func bridgeParts(body *ast.BlockStmt) (posts, waits bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if s, ok := n.Fun.(*ast.SelectorExpr); ok {
				posts = posts || s.Sel.Name == "Post" && len(n.Args) == 1
				waits = waits || s.Sel.Name == "Wait" && len(n.Args) == 0
			}
		case *ast.UnaryExpr:
			waits = waits || n.Op == token.ARROW
		case *ast.SelectStmt:
			waits = true
		}
		return true
	})
	return posts, waits
}

// There is one Loop: package host's.
func TestLoopIsDeclaredOnce(t *testing.T) {
	for _, p := range packages(t) {
		if p.path == "ports/host" {
			continue
		}
		for _, f := range slices.Concat(p.code, p.tests) {
			ast.Inspect(f.File, func(n ast.Node) bool {
				i, ok := n.(*ast.InterfaceType)
				if !ok {
					return true
				}
				for _, m := range i.Methods.List {
					for _, name := range m.Names {
						if name.Name == "Post" {
							t.Errorf("%s: an interface with Post: use host.Loop", at(n))
						}
					}
				}
				return true
			})
		}
	}
}
