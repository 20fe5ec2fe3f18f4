package swarm

import (
	"time"

	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/ports/host"
)

// machine is the state of an object, and the timer of its deadline.
type machine[S ~uint8] struct {
	s     *Swarm
	table *states.Table[S]
	state S
	due   host.Instant // the deadline, in states that have one
	timer host.Timer
	fire  func()
}

// begin puts the machine into its first state, which has no deadline. passed leaves the state whose deadline has passed.
func (m *machine[S]) begin(s *Swarm, table *states.Table[S], passed func(S)) {
	m.s, m.table = s, table
	m.fire = func() { passed(m.state) }
}

func (m *machine[S]) become(next S) { m.becomeFor(next, m.table.States[next].Limit) }

// becomeFor is become with a deadline that comes earlier than the limit of the state.
func (m *machine[S]) becomeFor(next S, wait time.Duration) {
	if !m.table.Become(&m.state, next, &m.s.faults) {
		return
	}
	if m.timer != nil {
		m.timer.Stop()
	}
	limit := m.table.States[next].Limit
	if limit == 0 {
		return
	}
	wait = min(wait, limit)
	m.due = m.s.host.Now().Add(wait)
	if m.timer == nil {
		m.timer = m.s.host.AfterFunc(wait, m.fire)
	} else {
		m.timer.Reset(wait)
	}
}
