package hyperdht

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/internal/golden"
)

// tables are those that internals.go lists.
var tables = []interface {
	list() string
	check(t *testing.T)
}{announcerTable, dialTable, punchTable, sessionTable, openingTable, puncherTable, relayTable}

// list is the text form of a table.
func (t *table[S]) list() string {
	width := 0
	for _, r := range t.states {
		width = max(width, len(r.name))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s:\n\n", strings.ToUpper(t.name[:1])+t.name[1:])
	for _, r := range t.states {
		limit, next := "-", []string{}
		if r.limit > 0 {
			limit = r.limit.String()
		}
		for _, n := range r.next {
			next = append(next, t.states[n].name)
		}
		line := fmt.Sprintf("\t%-*s  %-7s ", width, r.name, limit)
		if len(next) > 0 {
			line += "──▶ " + strings.Join(next, ", ")
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		switch {
		case r.why != "":
			fmt.Fprintf(&b, "\t%*s  (no limit: %s)\n", width, "", r.why)
		case r.endedBy != "":
			fmt.Fprintf(&b, "\t%*s  (ended by %s)\n", width, "", r.endedBy)
		}
	}
	return b.String()
}

// check demands that each state has a limit or a reason for none, can be reached, and leads to a final state.
func (t *table[S]) check(tt *testing.T) {
	reached := make([]bool, len(t.states))
	reached[0] = true
	for range t.states {
		for s, r := range t.states {
			for _, n := range r.next {
				reached[n] = reached[n] || reached[s]
			}
		}
	}
	for s, r := range t.states {
		switch {
		case r.name == "":
			tt.Errorf("%s: state %d has no name", t.name, s)
		case !reached[s]:
			tt.Errorf("%s: nothing leads to %q", t.name, r.name)
		case r.final() != (r.limit == 0 && r.why == ""):
			tt.Errorf("%s: %q has no limit and no reason for that", t.name, r.name)
		case r.limit > 0 && r.why != "", r.limit == 0 && r.endedBy != "":
			tt.Errorf("%s: %q has a limit, or not", t.name, r.name)
		}
	}
}

// The states, transitions and deadlines that internals.go lists are those of the tables.
func TestDocListsTheTables(t *testing.T) {
	const head, tail = "// # States\n", "\npackage hyperdht\n"
	b, err := os.ReadFile("internals.go")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	from, to := strings.Index(text, head), strings.LastIndex(text, tail)
	if from < 0 || to < from {
		t.Fatal("internals.go has no section on states")
	}
	section := text[from:to]
	intro, _, _ := strings.Cut(section[len(head)+len("//\n"):], "//\n")
	want := head + "//\n" + intro
	for _, tab := range tables {
		tab.check(t)
		want += "//\n"
		for _, line := range strings.Split(strings.TrimSuffix(tab.list(), "\n"), "\n") {
			want += strings.TrimRight("// "+line, " ") + "\n"
		}
	}
	want = strings.ReplaceAll(want, "// \t", "//\t")
	golden.Part(t, "internals.go", text, from, to, want)
}

type lamp uint8

const (
	lampOff lamp = iota
	lampOn
	lampHeld
	lampBroken
)

var lampTable = &table[lamp]{name: "lamp", states: []rule[lamp]{
	lampOff:    {name: "off", why: "nobody waits for it", next: []lamp{lampOn}},
	lampOn:     {name: "on", limit: 10 * time.Second, next: []lamp{lampOff, lampOn, lampHeld, lampBroken}},
	lampHeld:   {name: "held", limit: time.Second, endedBy: "the test", next: []lamp{lampOff}},
	lampBroken: {name: "broken"},
}}

// testMachine is a lamp on a simulated host, and what its account says.
type testMachine struct {
	machine[lamp]
	t     *testing.T
	net   *simnet.Net
	host  *simnet.Host
	p     *peering
	after []lamp // the states whose deadline has passed
}

func newTestMachine(t *testing.T) *testMachine {
	l := &testMachine{t: t, net: simnet.New(simnet.Config{Seed: 1})}
	l.host = l.net.AddHost("a", netip.MustParseAddr("100.128.0.1"))
	l.p = &peering{host: l.host}
	l.p.account = &account{host: l.host, wrong: &l.p.stats.WrongTransitions}
	l.host.Do(func() {
		l.begin(l.p.account, lampTable, lampOff, func(s lamp) {
			l.after = append(l.after, s)
			l.become(lampOff)
		})
	})
	return l
}

func (l *testMachine) faults() (all []string) {
	l.host.Do(func() { l.p.faults(0, func(what string) { all = append(all, what) }) })
	return all
}

func (l *testMachine) to(s lamp) { l.host.Do(func() { l.become(s) }) }

func TestMachineArmsTheDeadlineOfEachState(t *testing.T) {
	l := newTestMachine(t)
	l.net.Run(time.Hour)
	l.to(lampOn)
	l.net.Run(9 * time.Second)
	l.to(lampOn) // again, which starts its deadline over
	l.net.Run(9 * time.Second)
	if len(l.after) > 0 || l.state != lampOn {
		t.Fatalf("it is %v after %v", l.state, l.after)
	}
	l.net.Run(time.Second)
	if len(l.after) != 1 || l.after[0] != lampOn || l.state != lampOff {
		t.Errorf("it is %v after %v", l.state, l.after)
	}
	l.host.Do(func() { l.become(lampOn); l.becomeFor(lampOn, time.Second) })
	l.net.Run(time.Second)
	if l.state != lampOff {
		t.Error("an earlier deadline does not count")
	}
	l.host.Do(func() { l.become(lampOn); l.becomeFor(lampOn, time.Hour) })
	l.net.Run(10 * time.Second)
	if l.state != lampOff {
		t.Error("a state lasts longer than its limit")
	}
	l.host.Do(func() { l.become(lampOn); l.become(lampBroken) })
	l.net.Run(time.Hour)
	if f := l.faults(); len(f) > 0 || len(l.p.account.live) > 0 || len(l.after) != 3 || l.host.Timers() > 0 {
		t.Errorf("a machine that is over has %d entries, %d timers and the faults %q", len(l.p.account.live), l.host.Timers(), f)
	}
}

func TestMachineReportsStatesThatLastTooLong(t *testing.T) {
	l := newTestMachine(t)
	l.to(lampOn)
	l.to(lampHeld)
	l.net.Run(time.Second)
	if f := l.faults(); len(f) > 0 {
		t.Errorf("at the limit: %q", f)
	}
	l.net.Run(time.Second)
	if f := l.faults(); len(f) != 1 || f[0] != `lamp: in state "held" for 2s, the limit is 1s` {
		t.Errorf("after the limit: %q", f)
	}
	l.to(lampOff)
	if f := l.faults(); len(f) > 0 {
		t.Errorf("afterwards: %q", f)
	}
}

func TestMachineReportsWrongTransitions(t *testing.T) {
	l := newTestMachine(t)
	l.to(lampHeld)
	if f := l.faults(); len(f) != 1 || f[0] != `lamp: no table has the transition from "off" to "held"` || l.p.stats.WrongTransitions != 1 || l.state != lampHeld {
		t.Errorf("the lamp is %v, and its faults are %q", l.state, f)
	}
	l.to(lampBroken) // likewise
	l.to(lampOn)     // likewise, and it stays as it is
	if n := l.p.stats.WrongTransitions; l.state != lampBroken || n != 3 || len(l.p.account.live) > 0 {
		t.Errorf("the lamp is %v after %d wrong transitions", l.state, n)
	}
}

// No transition allocates anything but the timer, once.
func TestTransitionsDoNotAllocate(t *testing.T) {
	l := newTestMachine(t)
	l.host.Do(func() {
		if n := testing.AllocsPerRun(100, func() { l.become(lampOn); l.become(lampHeld); l.become(lampOff) }); n > 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
