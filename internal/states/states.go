// Package states describes state machines by tables: the states, how long each may last, and those that may follow. The tables are
// part of the code, which changes a state only as its table allows, and of the documentation: a test compares the two
// (package statestest).
package states

import (
	"fmt"
	"slices"
	"time"
)

// Table lists the states of a kind of machine, by state. The zero state is the first, unless a machine begins with a later one;
// a state without a successor is final.
type Table[S ~uint8] struct {
	Name   string
	States []Rule[S]
}

// Rule describes one state of a table.
type Rule[S ~uint8] struct {
	Name string
	Next []S
	// Limit bounds the duration of the state. Zero needs a reason in Why: no peer can prolong the state.
	Limit time.Duration
	Why   string
	// EndedBy names what ends the state within Limit, where that is not the timer of the machine.
	EndedBy string
}

// Final reports whether the machine is over in this state.
func (r *Rule[S]) Final() bool { return len(r.Next) == 0 }

// Allows reports whether a state may follow another one.
func (t *Table[S]) Allows(from, to S) bool { return slices.Contains(t.States[from].Next, to) }

// Become changes a state. A transition that the table does not list is a bug of the caller. It is counted and made nevertheless,
// except out of a final state. Become reports whether it was made.
func (t *Table[S]) Become(state *S, next S, faults *Faults) bool {
	if !t.Allows(*state, next) {
		before := &t.States[*state]
		faults.note(t.Name, before.Name, t.States[next].Name)
		if before.Final() {
			return false
		}
	}
	*state = next
	return true
}

// Faults counts transitions that no table lists. The zero Faults is ready.
type Faults struct {
	Wrong uint64
	Last  string // text of one of them; "" for none
}

func (f *Faults) note(machine, from, to string) {
	f.Wrong++
	f.Last = fmt.Sprintf("%s: no table has the transition from %q to %q", machine, from, to)
}
