package states

import "testing"

type lamp uint8

const (
	off lamp = iota
	on
	broken
)

var lamps = &Table[lamp]{Name: "lamp", States: []Rule[lamp]{
	off:    {Name: "off", Why: "until it is switched on", Next: []lamp{on}},
	on:     {Name: "on", Why: "until it is switched off", Next: []lamp{off, broken}},
	broken: {Name: "broken"},
}}

func TestBecomeCountsWhatNoTableLists(t *testing.T) {
	var faults Faults
	l := off
	if !lamps.Become(&l, on, &faults) || l != on || faults != (Faults{}) {
		t.Fatalf("the lamp is %v with %+v", l, faults)
	}
	l = off
	if !lamps.Become(&l, broken, &faults) || l != broken || faults.Wrong != 1 || faults.Last != `lamp: no table has the transition from "off" to "broken"` {
		t.Errorf("the lamp is %v with %+v", l, faults)
	}
	if lamps.Become(&l, on, &faults) || l != broken || faults.Wrong != 2 {
		t.Errorf("a final state was left: the lamp is %v with %+v", l, faults)
	}
}

func TestBecomeDoesNotAllocate(t *testing.T) {
	var faults Faults
	l := off
	if n := testing.AllocsPerRun(100, func() { lamps.Become(&l, on, &faults); lamps.Become(&l, off, &faults) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
