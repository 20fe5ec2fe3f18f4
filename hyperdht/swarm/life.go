package swarm

import (
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/internal/states"
	"github.com/dhtprom/dhtprom/ports/host"
)

// life is the life cycle of a swarm. Suspend begins suspending, and Close closing; both end when all records are removed.
type life struct {
	state  lifeState
	grace  host.Timer
	onDone []func() // of Suspend or Close
	unhook func()   // removes the handlers of the node
}

type lifeState uint8

const (
	running lifeState = iota
	suspending
	suspended
	closing
	closed
)

var lifeTable = &states.Table[lifeState]{Name: "swarm", States: []states.Rule[lifeState]{
	running:    {Name: "running", Why: "until the application suspends or closes the swarm", Next: []lifeState{suspending, closing}},
	suspending: {Name: "suspending", Limit: lifeLimit, Next: []lifeState{suspended, running, closing}},
	suspended:  {Name: "suspended", Why: "until the application resumes or closes the swarm", Next: []lifeState{running, closing}},
	closing:    {Name: "closing", Limit: lifeLimit, Next: []lifeState{closed}},
	closed:     {Name: "closed"},
}}

// lifeLimit bounds Suspend and Close: topics are left within withdrawLimit.
const lifeLimit = withdrawLimit + time.Second

func (l *life) ending() bool { return l.state == closing || l.state == closed }

// leftErr is the error of what ends because its topic is left.
func (l *life) leftErr() error {
	if l.ending() {
		return ErrClosed
	}
	return ErrLeft
}

// enter changes the state; after runs at the deadline of the next one, if it has one.
func (s *Swarm) enter(next lifeState, after func()) {
	if !lifeTable.Become(&s.state, next, &s.faults) {
		return
	}
	if s.grace != nil {
		s.grace.Stop()
		s.grace = nil
	}
	if limit := lifeTable.States[next].Limit; limit > 0 {
		s.grace = s.host.AfterFunc(limit, after)
	}
	s.changed()
}

// Suspend ends all connections and dials with ErrSuspended, removes the records of the swarm, for ten seconds at most, and calls done,
// which may be nil. Topics, bans and peers of JoinPeer are kept for Resume. The node is not suspended: that is the caller's to do then,
// with its own Suspend.
func (s *Swarm) Suspend(done func()) {
	switch s.state {
	case running:
		s.onDone = append(s.onDone, orNothing(done))
		s.enter(suspending, s.suspended)
		s.halt(ErrSuspended, s.suspended)
	case suspending:
		s.onDone = append(s.onDone, orNothing(done))
	default:
		s.host.Defer(orNothing(done))
	}
}

func (s *Swarm) suspended() {
	if s.state == suspending {
		s.enter(suspended, nil)
		s.finish()
	}
}

// Resume undoes Suspend: the swarm listens, looks its topics up, and dials the peers of JoinPeer. It fails with ErrClosed on a closed
// swarm, and does nothing on a running one.
func (s *Swarm) Resume() error {
	switch {
	case s.ending():
		return ErrClosed
	case s.state == running:
		return nil
	}
	s.enter(running, nil)
	s.finish() // of a Suspend that has not ended
	if !s.closing {
		s.listenAgain()
	}
	for _, t := range slices.Clone(s.joined) {
		if t.state == topicSuspended {
			t.settle()
		}
	}
	for _, p := range s.sorted() {
		if p.in(peerIdle) && p.wanted() {
			p.renew()
			s.enqueue(p)
		}
	}
	return nil
}

// Close leaves all topics, ends all connections with ErrClosed, removes the records of the swarm, for ten seconds at most, and calls
// done, which may be nil. The node stays open.
func (s *Swarm) Close(done func()) {
	if s.state == closed {
		s.host.Defer(orNothing(done))
		return
	}
	s.onDone = append(s.onDone, orNothing(done))
	if s.state == closing {
		return
	}
	s.enter(closing, s.shut)
	s.halt(ErrClosed, s.shut)
}

func (s *Swarm) shut() {
	if s.state != closing {
		return
	}
	s.enter(closed, nil)
	s.unhook()
	for _, t := range slices.Clone(s.joined) {
		t.give()
	}
	if s.cfg.OnClose != nil {
		s.host.Defer(s.cfg.OnClose)
	}
	s.finish()
}

// give ends a topic that could not be left in time.
func (t *topic) give() {
	t.stopQuery()
	t.announced = false
	t.settle()
}

// finish runs the done functions of Suspend and Close.
func (s *Swarm) finish() {
	done := s.onDone
	s.onDone = nil
	for _, f := range done {
		s.host.Defer(f)
	}
}

// halt ends all that the swarm does, and calls done when its records are removed.
func (s *Swarm) halt(err error, done func()) {
	s.endFlushes(err)
	for _, p := range s.sorted() {
		if s.ending() {
			p.explicit, p.banned = false, false
		}
		if p.conn != nil {
			s.detach(p).Destroy(err)
			p.become(peerIdle)
			s.settled(p)
		}
		s.rest(p)
	}
	join := host.NewJoin(done)
	ended := join.Add()
	for _, t := range slices.Clone(s.joined) {
		t.leaving = t.leaving || s.ending()
		t.end(join.Add())
	}
	s.stopListening(err, join.Add())
	s.host.Defer(ended)
}
