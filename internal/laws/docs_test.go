package laws

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// undocumented are methods whose meaning is in their interface.
var undocumented = map[string]bool{
	"Error": true, "Unwrap": true, "String": true, "LogRecord": true, "Len": true, "Less": true, "Swap": true, "Push": true, "Pop": true,
}

var camel = regexp.MustCompile(`\b[a-z]+[A-Z][A-Za-z0-9]*\b`)

// A reader of go doc sees public names only: each has a comment, and no comment of one explains it by a name that is not shown.
func TestPublicDocsAreCompleteByThemselves(t *testing.T) {
	public := []string{
		".", "client", "scraper", "node", "wiring", "doctor", "domain", "app", "ports", "ports/host", "ports/bridge", "ports/scrapeio",
		"hyperdht", "hyperdht/dhtnet", "hyperdht/swarm", "hyperdht/id", "hyperdht/mux", "hyperdht/muxrpc", "hyperdht/compact", "adapters/udp", "adapters/stun",
		"adapters/source", "adapters/source/exporter", "adapters/web",
	}
	seen, found := 0, 0
	for _, p := range packages(t) {
		if !slices.Contains(public, p.path) {
			continue
		}
		found++
		hidden, shown := map[string]bool{}, map[string]string{}
		for _, f := range p.code {
			collect(f.File, hidden, shown)
		}
		for name, text := range shown {
			seen++
			if text == "" && !undocumented[name[strings.LastIndex(name, ".")+1:]] {
				t.Errorf("%s: %s has no comment", p.path, name)
			}
			for _, word := range camel.FindAllString(text, -1) {
				if hidden[word] {
					t.Errorf("%s: the comment of %s refers to %s, which go doc does not show", p.path, name, word)
				}
			}
		}
	}
	if found != len(public) || seen < 1000 {
		t.Errorf("found %d names in %d packages only", seen, found)
	}
}

// collect adds the private names of a file's top level to hidden, and the public ones, with those of their fields that have one, to
// shown, each with its comment.
func collect(f *ast.File, hidden map[string]bool, shown map[string]string) {
	add := func(name, full string, comments ...*ast.CommentGroup) {
		if !ast.IsExported(name) {
			hidden[name] = true
			return
		}
		text := ""
		for _, c := range comments {
			text += c.Text()
		}
		shown[full] = text
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			switch of := receiverType(d); {
			case of == "":
				add(d.Name.Name, d.Name.Name, d.Doc)
			case ast.IsExported(of) && ast.IsExported(d.Name.Name):
				add(d.Name.Name, of+"."+d.Name.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					add(s.Name.Name, s.Name.Name, d.Doc, s.Doc)
					if st, ok := s.Type.(*ast.StructType); ok && ast.IsExported(s.Name.Name) {
						for _, field := range st.Fields.List {
							for _, name := range field.Names {
								if ast.IsExported(name.Name) && (field.Doc != nil || field.Comment != nil) {
									add(name.Name, s.Name.Name+"."+name.Name, field.Doc, field.Comment)
								}
							}
						}
					}
				case *ast.ValueSpec:
					for _, name := range s.Names {
						add(name.Name, name.Name, d.Doc, s.Doc, s.Comment)
					}
				}
			}
		}
	}
}
