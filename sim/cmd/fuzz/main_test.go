package main

import (
	"bytes"
	"go/format"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestTargetsAreFoundInTheTree(t *testing.T) {
	targets, err := findTargets("../../..", regexp.MustCompile("wire|udx"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []target{{"hyperdht/internal/udx", "FuzzParsePacket"}, {"hyperdht/internal/wire", "FuzzParsePeer"}} {
		if !slices.Contains(targets, want) {
			t.Errorf("%v is missing in %v", want, targets)
		}
	}
	if i := slices.IndexFunc(targets, func(t target) bool {
		return !strings.Contains(t.String(), "wire") && !strings.Contains(t.String(), "udx")
	}); i >= 0 {
		t.Errorf("%v does not match", targets[i])
	}
}

func TestStepsAreCountedInFunctionsAndLoops(t *testing.T) {
	const source = `// Package x is one.
package x

import "slices"

func elsewhere()

func (t *T) f(b []byte) {
	for range 3 {
		slices.IndexFunc(b, func(byte) bool { return true })
	}
	for i := 0; i < 3; i++ { // counts
		if i > 1 {
			switch i {
			}
		}
	}
}
`
	const want = `// Package x is one.
package x; import stepcost "github.com/dhtprom/dhtprom/internal/cost"

import "slices"

func elsewhere()

func (t *T) f(b []byte) {stepcost.Step();
	for range 3 {stepcost.Step();
		slices.IndexFunc(b, func(byte) bool {stepcost.Step(); return true })
	}
	for i := 0; i < 3; i++ {stepcost.Step(); // counts
		if i > 1 {
			switch i {
			}
		}
	}
}
`
	got, err := instrument("x.go", []byte(source))
	if err != nil || string(got) != want {
		t.Errorf("%v:\n%s", err, got)
	}
	if _, err := format.Source(got); err != nil {
		t.Error(err)
	}
	if none, err := instrument("y.go", []byte("package y\n\nconst z = 1\n")); err != nil || strings.Contains(string(none), "stepcost") {
		t.Errorf("nothing to count: %v, %s", err, none)
	}
}

func TestTimeIsDividedByShares(t *testing.T) {
	parser, machine, other := target{"a", "FuzzParseX"}, target{"a", "FuzzMachine"}, target{"b", "FuzzParseY"}
	all := []target{parser, machine, other}
	for _, tc := range []struct {
		name           string
		seconds, first int
		want           []turn
	}{
		{"machines get more", 60, 0, []turn{{parser, 10}, {machine, 40}, {other, 10}}},
		{"another begins", 60, 4, []turn{{machine, 40}, {other, 10}, {parser, 10}}},
		{"none gets too little", 10, 2, []turn{{other, leastTurn}, {parser, leastTurn}, {machine, 4}}},
		{"too little for all", 2 * leastTurn, 2, []turn{{other, leastTurn}, {parser, leastTurn}}},
		{"no time", 0, 0, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := schedule(all, tc.seconds, tc.first); !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	for _, tc := range []struct {
		name, args, matches string
		fails               bool
	}{
		{"nothing", "", "a/b.FuzzC", false},
		{"by name", "-run=b.*C$", "a/b.FuzzC", false},
		{"replay", "-replay=a/b.FuzzC/771e938e", "a/b.FuzzC", false},
		{"bad expression", "-run=(", "", true},
		{"replay of nothing", "-replay=a/b.FuzzC", "", true},
		{"an argument", "udx", "", true},
		{"no turn fits", "-for=1s", "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := parse(strings.Fields(tc.args), &bytes.Buffer{})
			if (err != nil) != tc.fails || err == nil && (!s.match.MatchString(tc.matches) || tc.name == "replay" && s.match.MatchString("a/b.FuzzCD")) {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

// A module with a target whose only fault is too many steps: the seed passes, and the first input derived from it does not.
func TestFindingsAreKeptAndReplayed(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	costs, err := os.ReadFile("../../../internal/cost/cost.go")
	if err != nil {
		t.Fatal(err)
	}
	write("go.mod", "module "+module+"\n\ngo 1.26\n")
	write("internal/cost/cost.go", string(costs))
	write("domain/sum.go", `package domain

func Sum(b []byte) (n int) {
	for len(b) > 0 {
		n += int(b[0])
		if b[0] == ' ' {
			b = b[1:]
		}
	}
	return n
}
`)
	write("domain/sum_test.go", `package domain

import (
	"testing"

	"`+module+`/internal/cost"
)

func FuzzSum(f *testing.F) {
	f.Add([]byte("  "))
	f.Fuzz(func(t *testing.T, b []byte) {
		cost.Bound{StepsPerByte: 1, Steps: 10, Bytes: 4096}.Check(t, len(b), func() { Sum(b) })
	})
}
`)
	t.Chdir(root)
	t.Setenv("GOFLAGS", "-mod=mod")
	var out, errs bytes.Buffer
	if status := start([]string{"-for=5m", "-parallel=1"}, &out, &errs); status != 1 {
		t.Fatalf("status %d\n%s%s", status, &out, &errs)
	}
	kept, err := filepath.Glob("domain/testdata/fuzz/FuzzSum/*")
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept %v, %v\n%s%s", kept, err, &out, &errs)
	}
	replay := "domain.FuzzSum/" + filepath.Base(kept[0])
	if !strings.Contains(errs.String(), "replay: go run ./sim/cmd/fuzz -replay "+replay) || !strings.Contains(errs.String(), kept[0]) ||
		!strings.Contains(out.String(), "domain/sum.go:4") {
		t.Errorf("printed\n%s%s", &out, &errs)
	}
	for _, args := range [][]string{{"-replay=" + replay}, {"-for=0"}} {
		out.Reset()
		errs.Reset()
		if status := start(args, &out, &errs); status != 1 || !strings.Contains(errs.String(), replay) {
			t.Errorf("%v: status %d\n%s%s", args, status, &out, &errs)
		}
	}
	if status := start([]string{"-run=nothing"}, &out, &errs); status != 2 {
		t.Errorf("no target: status %d", status)
	}
}
