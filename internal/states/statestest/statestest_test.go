package statestest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/internal/states"
)

type lamp uint8

const (
	off lamp = iota
	on
	broken
)

func lamps() *states.Table[lamp] {
	return &states.Table[lamp]{Name: "lamp", States: []states.Rule[lamp]{
		off:    {Name: "off", Why: "until it is switched on", Next: []lamp{on}},
		on:     {Name: "on", Why: "until it is switched off", Next: []lamp{off, broken}},
		broken: {Name: "broken"},
	}}
}

// recorder is a test that fails without the test that runs it.
type recorder struct {
	testing.TB
	errors  []string
	cleanup func()
}

func (r *recorder) Helper()                   {}
func (r *recorder) Cleanup(f func())          { r.cleanup = f }
func (r *recorder) Errorf(f string, a ...any) { r.errors = append(r.errors, fmt.Sprintf(f, a...)) }
func (r *recorder) Fatalf(f string, a ...any) { r.Errorf(f, a...) }

const page = `// Package lamp is a lamp.
//
// # States
//
// As in the table.
//
// Lamp:
//
//	off     -       ──▶ on
//	        (no limit: until it is switched on)
//	on      -       ──▶ off, broken
//	        (no limit: until it is switched off)
//	broken  -
package lamp
`

func doc(t *testing.T, content string, table *states.Table[lamp]) []string {
	file := filepath.Join(t.TempDir(), "doc.go")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &recorder{TB: t}
	Doc(r, file, Of(table))
	return r.errors
}

func TestDocComparesTheSection(t *testing.T) {
	if errs := doc(t, page, lamps()); len(errs) > 0 {
		t.Errorf("the same: %q", errs)
	}
	detached := strings.Replace(page, "package lamp\n", "\npackage lamp\n", 1)
	if errs := doc(t, detached, lamps()); len(errs) > 0 {
		t.Errorf("a comment beside the package comment: %q", errs)
	}
	more := lamps()
	more.States[broken] = states.Rule[lamp]{Name: "broken", Why: "until it is mended", Next: []lamp{off}}
	if errs := doc(t, page, more); len(errs) == 0 {
		t.Errorf("another table: %q", errs)
	}
}

func TestDocChecksTheTable(t *testing.T) {
	for name, change := range map[string]func(*states.Table[lamp]){
		"without a name":         func(l *states.Table[lamp]) { l.States[on].Name = "" },
		"cannot be reached":      func(l *states.Table[lamp]) { l.States[on].Next = []lamp{off} },
		"lasts without a reason": func(l *states.Table[lamp]) { l.States[on].Why = "" },
		"limit and reason":       func(l *states.Table[lamp]) { l.States[on].Limit = 1 },
	} {
		l := lamps()
		change(l)
		r := &recorder{TB: t}
		if Of(l).check(r); len(r.errors) == 0 {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestWatchFindsWhatDiffers(t *testing.T) {
	r := &recorder{TB: t}
	w := NewWatch(r, lamps())
	w.Step(off, on)
	w.Step(on, on)
	w.Step(on, off)
	if r.cleanup(); len(r.errors) != 1 || r.errors[0] != `lamp: "broken" has never followed "on"` {
		t.Errorf("one transition was not seen: %q", r.errors)
	}
	r.errors = nil
	w.Step(on, broken)
	if r.cleanup(); len(r.errors) != 0 {
		t.Errorf("all were seen: %q", r.errors)
	}
	w.Step(broken, off)
	if len(r.errors) != 1 || r.errors[0] != `lamp: the table has no transition from "broken" to "off"` {
		t.Errorf("one that is not listed: %q", r.errors)
	}
}

func TestMachinesAreFollowedToTheirEnd(t *testing.T) {
	r := &recorder{TB: t}
	one, two := on, broken
	m := NewMachines(NewWatch(r, lamps()), func(l *lamp) lamp { return *l })
	m.Add(&one)
	m.Look()
	one = broken
	m.Look()
	one = off // not looked at any more
	m.Add(&one)
	m.Look()
	if len(r.errors) != 0 {
		t.Errorf("as in the table: %q", r.errors)
	}
	m.Add(&two)
	m.Look()
	if len(r.errors) != 1 || r.errors[0] != `lamp: the table has no transition from "off" to "broken"` {
		t.Errorf("one that is not listed: %q", r.errors)
	}
}
