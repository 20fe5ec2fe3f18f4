package hyperdht

import (
	"net/netip"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/internal/states/statestest"
)

// The states, transitions and deadlines that internals.go lists are those of the tables.
func TestDocListsTheTables(t *testing.T) {
	statestest.Doc(t, "internals.go", statestest.Of(lifeTable), statestest.Of(announcerTable), statestest.Of(dialTable), statestest.Of(punchTable),
		statestest.Of(incomingTable), statestest.Of(openingTable), statestest.Of(puncherTable), statestest.Of(relayTable),
		statestest.Of(ConnectionTable), statestest.Of(PairTable), statestest.Of(placeTable))
}

type lamp uint8

const (
	lampOff lamp = iota
	lampOn
	lampHeld
	lampBroken
)

var lampTable = &table[lamp]{Name: "lamp", States: []rule[lamp]{
	lampOff:    {Name: "off", Why: "nobody waits for it", Next: []lamp{lampOn}},
	lampOn:     {Name: "on", Limit: 10 * time.Second, Next: []lamp{lampOff, lampOn, lampHeld, lampBroken}},
	lampHeld:   {Name: "held", Limit: time.Second, EndedBy: "the test", Next: []lamp{lampOff}},
	lampBroken: {Name: "broken"},
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
	l.p.account = &account{host: l.host}
	l.host.Do(func() {
		l.begin(l.p.account, lampTable, lampOff, func(s lamp) {
			l.after = append(l.after, s)
			l.become(lampOff)
		})
	})
	return l
}

func (m *testMachine) faults() (all []string) {
	m.host.Do(func() { m.p.faults(0, func(what string) { all = append(all, what) }) })
	return all
}

func (m *testMachine) to(s lamp) { m.host.Do(func() { m.become(s) }) }

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
	if f := l.faults(); len(f) != 1 || f[0] != `lamp: no table has the transition from "off" to "held"` || l.p.account.wrong.Wrong != 1 || l.state != lampHeld {
		t.Errorf("the lamp is %v, and its faults are %q", l.state, f)
	}
	l.to(lampBroken) // likewise
	l.to(lampOn)     // likewise, and it stays as it is
	if n := l.p.account.wrong.Wrong; l.state != lampBroken || n != 3 || len(l.p.account.live) > 0 {
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
