package hyperdht

import (
	"fmt"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/ports/host"
)

// table lists the states of a kind of machine, and rule describes one state.
type (
	table[S ~uint8] = states.Table[S]
	rule[S ~uint8]  = states.Rule[S]
)

// machine is the state of an object, and the timer of the state's deadline. Only become changes the state.
type machine[S ~uint8] struct {
	table   *table[S]
	account *account
	state   S
	since   host.Instant
	timer   host.Timer
	fire    func()
	seat    int // in the account
}

// begin puts the machine into its first state, initial. passed is called with the state whose deadline has passed, and has to leave
// that state.
func (m *machine[S]) begin(a *account, t *table[S], initial S, passed func(S)) {
	m.account, m.table, m.state = a, t, initial
	m.fire = func() { passed(m.state) }
	m.since = a.host.Now()
	a.enter(m)
	m.arm(m.rule().Limit)
}

// in reports whether the machine is in one of some states.
func (m *machine[S]) in(states ...S) bool { return slices.Contains(states, m.state) }

func (m *machine[S]) rule() *rule[S] { return &m.table.States[m.state] }

// over reports whether the machine has reached a final state, or has not begun.
func (m *machine[S]) over() bool { return m.table == nil || m.rule().Final() }

// become changes the state and arms its deadline. A transition that the table does not list is a mistake of this package. It is
// counted and made all the same, except out of a final state.
func (m *machine[S]) become(next S) { m.becomeFor(next, m.table.States[next].Limit) }

// becomeFor is become with a deadline that comes earlier than the limit of the state.
func (m *machine[S]) becomeFor(next S, wait time.Duration) {
	if !m.table.Become(&m.state, next, &m.account.wrong) {
		return
	}
	m.since = m.account.host.Now()
	if m.timer != nil {
		m.timer.Stop()
	}
	if m.rule().Final() {
		m.account.leave(m.seat)
		return
	}
	m.arm(wait)
}

func (m *machine[S]) arm(wait time.Duration) {
	switch r := m.rule(); {
	case r.Limit == 0 || r.EndedBy != "":
	case m.timer == nil:
		m.timer = m.account.host.AfterFunc(min(wait, r.Limit), m.fire)
	default:
		m.timer.Reset(min(wait, r.Limit))
	}
}

// overdue returns a description of a state that has lasted for longer than its limit and some slack; "" for none.
func (m *machine[S]) overdue(now host.Instant, slack time.Duration) string {
	r := m.rule()
	if lasts := now.Sub(m.since); r.Limit > 0 && lasts > r.Limit+slack {
		return fmt.Sprintf("%s: in state %q for %v, the limit is %v", m.table.Name, r.Name, lasts, r.Limit)
	}
	return ""
}

func (m *machine[S]) sit(seat int) { m.seat = seat }

// account lists the machines that are not in a final state, in no particular order.
type account struct {
	host  host.Host
	live  []accounted
	wrong states.Faults
}

// accounted is a machine of any kind.
type accounted interface {
	sit(seat int)
	overdue(now host.Instant, slack time.Duration) string
}

func (a *account) enter(m accounted) {
	m.sit(len(a.live))
	a.live = append(a.live, m)
}

func (a *account) leave(seat int) {
	last := len(a.live) - 1
	a.live[seat] = a.live[last]
	a.live[seat].sit(seat)
	a.live[last] = nil
	a.live = a.live[:last]
}

// faults calls tell with each violation of the tables of states: machines that have been in a state for longer than its limit
// and slack, and a transition that is not listed.
func (p *peering) faults(slack time.Duration, tell func(what string)) {
	if p.account.wrong.Last != "" {
		tell(p.account.wrong.Last)
	}
	for _, m := range p.account.live {
		if what := m.overdue(p.host.Now(), slack); what != "" {
			tell(what)
		}
	}
}
