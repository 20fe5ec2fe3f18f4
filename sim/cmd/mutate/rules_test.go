package main

import (
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// one returns a tree of one package with this text.
func one(t *testing.T, text string) (*tree, *source) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	tr := &tree{root: dir, fset: token.NewFileSet(), text: map[string][]byte{}, exported: exports(t)}
	s := &source{path: "p", name: "p", dir: dir}
	if err := tr.parse(s, []string{"p.go"}); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.info, err = tr.check(s, s.files); err != nil {
		t.Fatal(err)
	}
	tr.sources = []*source{s}
	return tr, s
}

// exports are the packages that switches need.
func exports(t *testing.T) map[string]string {
	t.Helper()
	all, err := list(".", "cmp", "fmt", "os", "strconv", "sync/atomic")
	if err != nil {
		t.Fatal(err)
	}
	exported := map[string]string{}
	for _, p := range all {
		exported[p.ImportPath] = p.Export
	}
	return exported
}

// declarations are used by the code of these tests.
const declarations = `package p

type Instant int64

func (i Instant) Add(n int64) Instant { return i }

const never Instant = -1

type host struct{}

func (host) AfterFunc(d int, f func()) timer { return timer{} }

type timer struct{}

func (timer) Stop() {}

type machine struct {
	at   Instant
	host host
	t    timer
}

`

func TestRulesFindPlaces(t *testing.T) {
	for _, tc := range []struct{ name, code, places, text string }{
		{"comparison", "return s == u", "flip 1", "return ((s == u) != mutantOn(1))"},
		{"bound", "return a < 3", "flip 1, bound 1", "return ((mutantLess(2, a , 3)) != mutantOn(1))"},
		{"order of texts is no bound", "return s < u", "flip 1", "return ((s < u) != mutantOn(1))"},
		{"constant of min", "return min(a, 5) == 0", "flip 1, bound 1", "return ((mutantMin(2, 1, a, 5) == 0) != mutantOn(1))"},
		{"guard", "if ok {\nreturn true\n}\nreturn false", "guard 1", "if ((ok) && !mutantOn(1)) {"},
		{"if that does something", "if ok {\na++\n}\nreturn false", "", ""},
		{"if with another way", "if ok {\nreturn true\n} else {\na++\n}\nreturn false", "", ""},
		{"error not looked at", "if err != nil {\nreturn false\n}\nreturn true", "error 1", "if ((err != nil) && !mutantOn(1)) {"},
		{"error handed on", "f(err)\nreturn true", "error 1", "f(mutantError(1, err))"},
		{"timer", "m.t = m.host.AfterFunc(1, func() { a++ })\nreturn true", "arm 1", "m.host.AfterFunc(1, mutantInert(1, func() { a++ }))"},
		{"deadline", "m.at = m.at.Add(5)\nreturn true", "arm 1", "m.at = mutantKeep(1, m.at, m.at.Add(5))"},
		{"timer stopped", "m.t.Stop()\nreturn true", "stop 1", "if !mutantOn(1) { m.t.Stop() }"},
		{"deadline taken back", "m.at = never\nreturn true", "stop 1", "m.at = mutantKeep(1, m.at, never)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr, s := one(t, declarations+"func try(m *machine, a int, s, u string, ok bool, err error, f func(error)) bool {\n"+tc.code+"\n}\n")
			var ms []numbered
			var names []string
			for _, p := range tr.places(s) {
				ms = append(ms, numbered{p, len(ms) + 1})
				names = append(names, strings.TrimPrefix(p.String(), "p try "))
			}
			if got := strings.Join(names, ", "); got != tc.places {
				t.Errorf("places %q, want %q", got, tc.places)
			}
			text := string(tr.instrument(filepath.Join(s.dir, "p.go"), ms))
			if !strings.Contains(text, tc.text) {
				t.Errorf("%q is not in\n%s", tc.text, text)
			}
			for _, m := range ms {
				if !tr.compiles(m.place) {
					t.Errorf("%s is no program", m.place)
				}
			}
		})
	}
}

// A judgement must survive edits elsewhere: lines before, and other functions.
func TestPlacesAreNamedByWhatIsAroundThem(t *testing.T) {
	names := func(text string) (all []string) {
		tr, s := one(t, text)
		for _, p := range tr.places(s) {
			all = append(all, p.String())
		}
		return all
	}
	before := names("package p\n\nfunc (m *m) f(a int) bool { return a == 1 }\n\ntype m struct{}\n")
	after := names("package p\n\ntype m struct{}\n\nfunc g(a int) bool { return a == 3 }\n\n// f.\nfunc (m *m) f(a int) bool {\n\ta++\n\treturn a == 1 }\n")
	if want := []string{"p (*m).f flip 1"}; !slices.Equal(before, want) || !slices.Contains(after, want[0]) {
		t.Errorf("places %v, then %v", before, after)
	}
}

// A draw is decided by its seed and the names of places.
func TestDrawDependsOnSeedAndNamesOnly(t *testing.T) {
	tr, _ := one(t, "package p\n\nfunc f(a int) bool { return a == 1 || a == 2 || a == 3 || a == 4 }\n")
	draw := func(seed uint64) (all []string) {
		for _, m := range tr.draw(seed, 3, func(*place) bool { return true }) {
			all = append(all, m.String())
		}
		return all
	}
	if !slices.Equal(draw(1), draw(1)) {
		t.Error("the same seed draws others")
	}
	differ := false
	for seed := range uint64(20) {
		differ = differ || !slices.Equal(draw(seed), draw(seed+1))
	}
	if !differ {
		t.Error("all seeds draw the same")
	}
}

func TestJudgementsAreRead(t *testing.T) {
	got, err := parseJudged("# comment\np f flip 1\n\tfirst\n\tsecond\n\np f flip 2\n\tthird\n")
	if err != nil || len(got) != 2 || got["p f flip 1"] != "first second" || got["p f flip 2"] != "third" {
		t.Errorf("read %v, %v", got, err)
	}
	for _, bad := range []string{"p f flip 1\n", "\treason\n", "a b c 1\n\tx\na b c 1\n\tx\n"} {
		if _, err := parseJudged(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

// A judgement of code that has changed is void.
func TestJudgedPlacesAreThere(t *testing.T) {
	root, err := top()
	if err != nil {
		t.Fatal(err)
	}
	tr, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	reasons, err := judged()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tr.stale(reasons) {
		t.Errorf("%s is judged, and not there", name)
	}
}
