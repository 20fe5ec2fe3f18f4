package hyperdht_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/internal/golden"
)

// What the library offers is a file, so that a change to it shows in a diff and is meant.
func TestPublicNamesAreThoseOfTheList(t *testing.T) {
	got := strings.Join(publicNames(t), "\n") + "\n"
	path := filepath.Join("testdata", "api.txt")
	if golden.Updating() {
		golden.File(t, path, got)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	before, after := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for _, l := range before {
		if !slices.Contains(after, l) {
			t.Errorf("gone: %s", l)
		}
	}
	for _, l := range after {
		if !slices.Contains(before, l) {
			t.Errorf("new:  %s", l)
		}
	}
	t.Error("if that is meant: go test ./hyperdht -run PublicNames -update")
}

const module = "github.com/dhtprom/dhtprom/"

// publicNames lists what importers of the packages below hyperdht can name, methods and fields included. A type whose
// home is internal is listed under its public name.
func publicNames(t *testing.T) []string {
	t.Helper()
	exports, public := exportData(t)
	files := token.NewFileSet()
	imp := importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	var lines []string
	for _, path := range public {
		p, err := imp.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		l := lister{pkg: p, name: strings.TrimPrefix(path, module)}
		for _, name := range p.Scope().Names() {
			if token.IsExported(name) {
				l.object(p.Scope().Lookup(name))
			}
		}
		lines = append(lines, l.lines...)
	}
	if len(lines) < 100 {
		t.Fatalf("found %d names only", len(lines))
	}
	slices.Sort(lines)
	return lines
}

// exportData asks the go command where compiled packages are, and which of them are public.
func exportData(t *testing.T) (exports map[string]string, public []string) {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports = map[string]string{}
	for in := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		if err := in.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		below, ours := strings.CutPrefix(p.ImportPath, module+"hyperdht")
		if ours && (below == "" || below[0] == '/') && !strings.Contains(below, "/internal/") && !strings.HasSuffix(below, "test") {
			public = append(public, p.ImportPath)
		}
	}
	if len(public) < 6 {
		t.Fatalf("public packages: %v", public)
	}
	return exports, public
}

// lister lists the names of one package.
type lister struct {
	pkg   *types.Package
	name  string
	lines []string
}

func (l *lister) add(format string, args ...any) {
	l.lines = append(l.lines, "pkg "+l.name+", "+fmt.Sprintf(format, args...))
}

// qualify names types as an importer of the package would read them.
func (l *lister) qualify(p *types.Package) string {
	if p == l.pkg {
		return ""
	}
	return strings.TrimPrefix(p.Path(), module)
}

func (l *lister) text(t types.Type) string { return types.TypeString(t, l.qualify) }

func (l *lister) object(o types.Object) {
	switch o := o.(type) {
	case *types.Const:
		l.add("const %s %s = %s", o.Name(), l.text(o.Type()), o.Val())
	case *types.Var:
		l.add("var %s %s", o.Name(), l.text(o.Type()))
	case *types.Func:
		l.add("func %s%s", o.Name(), strings.TrimPrefix(l.text(o.Type()), "func"))
	case *types.TypeName:
		l.typeName(o)
	}
}

func (l *lister) typeName(o *types.TypeName) {
	t := types.Unalias(o.Type())
	kind := l.text(t.Underlying())
	if s, ok := t.Underlying().(*types.Struct); ok {
		kind = "struct"
		for i := range s.NumFields() {
			if f := s.Field(i); f.Exported() {
				l.add("type %s struct, %s %s", o.Name(), f.Name(), l.text(f.Type()))
			}
		}
	}
	if o.IsAlias() {
		kind = "= " + l.text(t)
	}
	l.add("type %s %s", o.Name(), kind)
	methods := types.NewMethodSet(types.NewPointer(t))
	if types.IsInterface(t) {
		return // its methods are in the type's text
	}
	for i := range methods.Len() {
		m := methods.At(i).Obj()
		if !m.Exported() {
			continue
		}
		signature := m.Type().(*types.Signature)
		receiver := "*" + o.Name()
		if _, pointer := signature.Recv().Type().(*types.Pointer); !pointer {
			receiver = o.Name()
		}
		l.add("method (%s) %s%s", receiver, m.Name(), strings.TrimPrefix(l.text(signature), "func"))
	}
}
