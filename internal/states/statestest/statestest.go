// Package statestest compares tables of states with the documentation that lists them, and with what machines do.
package statestest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/internal/golden"
	"github.com/dhtprom/dhtprom/internal/states"
)

// Listed is a table of any kind of state.
type Listed interface {
	list() string
	check(t testing.TB)
}

// Of makes a table listed.
func Of[S ~uint8](t *states.Table[S]) Listed { return listed[S]{t} }

type listed[S ~uint8] struct{ *states.Table[S] }

// list is the text form of a table.
func (l listed[S]) list() string {
	width := 0
	for _, r := range l.States {
		width = max(width, len(r.Name))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s:\n\n", strings.ToUpper(l.Name[:1])+l.Name[1:])
	for _, r := range l.States {
		limit, next := "-", []string{}
		if r.Limit > 0 {
			limit = r.Limit.String()
		}
		for _, n := range r.Next {
			next = append(next, l.States[n].Name)
		}
		line := fmt.Sprintf("\t%-*s  %-7s ", width, r.Name, limit)
		if len(next) > 0 {
			line += "──▶ " + strings.Join(next, ", ")
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		switch {
		case r.Why != "":
			fmt.Fprintf(&b, "\t%*s  (no limit: %s)\n", width, "", r.Why)
		case r.EndedBy != "":
			fmt.Fprintf(&b, "\t%*s  (ended by %s)\n", width, "", r.EndedBy)
		}
	}
	return b.String()
}

// check demands that each state has a limit or a reason for none, and can be reached.
func (l listed[S]) check(tb testing.TB) {
	reached := make([]bool, len(l.States))
	reached[0] = true
	for range l.States {
		for s, r := range l.States {
			for _, n := range r.Next {
				reached[n] = reached[n] || reached[s]
			}
		}
	}
	for s, r := range l.States {
		switch {
		case r.Name == "":
			tb.Errorf("%s: state %d has no name", l.Name, s)
		case !reached[s]:
			tb.Errorf("%s: nothing leads to %q", l.Name, r.Name)
		case r.Final() != (r.Limit == 0 && r.Why == ""):
			tb.Errorf("%s: %q has no limit and no reason for that", l.Name, r.Name)
		case r.Limit > 0 && r.Why != "", r.Limit == 0 && r.EndedBy != "":
			tb.Errorf("%s: %q has a limit, or not", l.Name, r.Name)
		}
	}
}

// Doc compares the section on states at the end of a package comment with tables. The section starts with a heading and an
// introduction of one paragraph.
func Doc(t testing.TB, file string, tables ...Listed) {
	t.Helper()
	const head, tail = "// # States\n", "\npackage "
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	from, to := strings.Index(text, head), strings.LastIndex(text, tail)
	if from < 0 || to < from {
		t.Fatalf("%s has no section on states", file)
	}
	section := strings.TrimRight(text[from:to], "\n") + "\n"
	to = from + len(section)
	intro, _, _ := strings.Cut(section[len(head)+len("//\n"):], "//\n")
	want := head + "//\n" + intro
	for _, tab := range tables {
		tab.check(t)
		want += "//\n"
		for line := range strings.SplitSeq(strings.TrimSuffix(tab.list(), "\n"), "\n") {
			want += strings.TrimRight("// "+line, " ") + "\n"
		}
	}
	golden.Part(t, file, text, from, to, strings.ReplaceAll(want, "// \t", "//\t"))
}

// Watch compares the states that a machine goes through with a table, for machines whose states are not a variable.
type Watch[S ~uint8] struct {
	t     testing.TB
	table *states.Table[S]
	seen  map[[2]S]bool
}

// NewWatch watches machines of a table. At the end of the test each transition of the table must have been seen.
func NewWatch[S ~uint8](t testing.TB, table *states.Table[S]) *Watch[S] {
	w := &Watch[S]{t: t, table: table, seen: make(map[[2]S]bool)}
	t.Cleanup(func() {
		for s, r := range table.States {
			for _, n := range r.Next {
				if !w.seen[[2]S{S(s), n}] {
					t.Errorf("%s: %q has never followed %q", table.Name, table.States[n].Name, r.Name)
				}
			}
		}
	})
	return w
}

// Step records the state of a machine before an event, and the one after. A state that stays needs no transition.
func (w *Watch[S]) Step(before, after S) {
	w.t.Helper()
	if before != after && !w.table.Allows(before, after) {
		w.t.Errorf("%s: the table has no transition from %q to %q", w.table.Name, w.table.States[before].Name, w.table.States[after].Name)
	}
	w.seen[[2]S{before, after}] = true
}

// Machines watches machines of a table whose states a function derives, each from the first state of the table to a final one.
type Machines[M comparable, S ~uint8] struct {
	*Watch[S]
	state func(M) S
	now   map[M]S // the states at the last look
}

// NewMachines watches machines that are added later.
func NewMachines[M comparable, S ~uint8](w *Watch[S], state func(M) S) *Machines[M, S] {
	return &Machines[M, S]{w, state, make(map[M]S)}
}

// Add adds machines, in the first state of the table. It has no effect on those added before.
func (m *Machines[M, S]) Add(all ...M) {
	for _, x := range all {
		if _, known := m.now[x]; !known {
			m.now[x] = 0
		}
	}
}

// Look compares the states of all machines with those at the last look. Those in a final state stay there.
func (m *Machines[M, S]) Look() {
	m.t.Helper()
	for x, before := range m.now {
		if m.table.States[before].Final() {
			continue
		}
		if after := m.state(x); after != before {
			m.Step(before, after)
			m.now[x] = after
		}
	}
}
