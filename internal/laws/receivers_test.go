package laws

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// families are receivers that all messages, or all events, of a package have in common.
var families = map[string]string{
	"m": "adapters/dht adapters/dht/muxscrape hyperdht/internal/wire",
	"e": "adapters/udp domain hyperdht/internal/stream",
}

// The receiver of a method is named by initials of its type, and one type has one name for it.
func TestReceiversAreInitialsOfTheirType(t *testing.T) {
	for _, p := range packages(t) {
		of := map[string]string{} // by type
		for _, f := range slices.Concat(p.code, p.tests) {
			for _, decl := range f.Decls {
				fn, ok := decl.(*ast.FuncDecl)
				if !ok || fn.Recv == nil || len(fn.Recv.List[0].Names) == 0 {
					continue
				}
				name, typ := fn.Recv.List[0].Names[0].Name, receiverType(fn)
				if name == "_" {
					continue
				}
				if !isInitials(name, typ) && !slices.Contains(strings.Fields(families[name]), p.path) {
					t.Errorf("%s: the receiver %s is not of the initials of %s", at(fn), name, typ)
				}
				if first := of[typ]; first != "" && first != name {
					t.Errorf("%s: %s is called %s here and %s elsewhere", at(fn), typ, name, first)
				}
				of[typ] = name
			}
		}
	}
}

// receiverType returns the name of the type of a method, "" for a function.
func receiverType(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return ""
	}
	for e := fn.Recv.List[0].Type; ; {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// isInitials reports whether name abbreviates typ in at most three letters: it begins with the first letter of one of its words, and the
// others come after it, in order.
func isInitials(name, typ string) bool {
	if len(name) > 3 {
		return false
	}
	for i, r := range typ {
		if (i == 0 || unicode.IsUpper(r)) && abbreviates(name, strings.ToLower(typ[i:])) {
			return true
		}
	}
	return false
}

// abbreviates reports whether word begins with the first letter of name and has the others after it, in order.
func abbreviates(name, word string) bool {
	if name[0] != word[0] {
		return false
	}
	for _, r := range name[1:] {
		at := strings.IndexRune(word[1:], r)
		if at < 0 {
			return false
		}
		word = word[at+1:]
	}
	return true
}
