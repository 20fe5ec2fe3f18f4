package app

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// dialQueue has the sessions of a scraper dial a few at a time. A scraper that starts has thousands to dial, all of whose
// requests share the congestion window of the node below: started together they would end together, or run out of time.
//
//	Start, retry ─▶ waiting ─▶ its turn ─▶ dialling ── open, failed, dialTurn ─▶ the next one
//	                  │  └─ scraped: before those that are not
//	                  └─ registers (Nudge): dials at once, since the connection that it registered on will do
type dialQueue struct {
	host    host.Host
	turns   map[*Session]host.Timer // of those that dial, until when they keep others waiting
	scraped []*dialTicket
	others  []*dialTicket
}

// dialTicket is a session's place in the queue. It is void when the session has another one, or has dialled.
type dialTicket struct{ session *Session }

func newDialQueue(h host.Host) *dialQueue {
	return &dialQueue{host: h, turns: map[*Session]host.Timer{}}
}

// wait has a session dial when it is its turn, which may be at once.
func (q *dialQueue) wait(s *Session) {
	s.ticket = &dialTicket{s}
	q.others = append(q.others, s.ticket)
	q.serve()
}

// hurry has a session that waits dial before those that nobody scrapes.
func (q *dialQueue) hurry(s *Session) {
	if s.ticket == nil || s.hurried {
		return
	}
	s.hurried = true
	s.ticket.session = nil
	s.ticket = &dialTicket{s}
	q.scraped = append(q.scraped, s.ticket)
}

// take lets a session dial now.
func (q *dialQueue) take(s *Session) {
	q.drop(s)
	q.turns[s] = q.host.AfterFunc(dialTurn, func() { q.leave(s) })
	s.connect()
}

// drop takes a session out of the queue.
func (q *dialQueue) drop(s *Session) {
	if s.ticket != nil {
		s.ticket.session = nil
		s.ticket, s.hurried = nil, false
	}
}

// leave ends a session's turn, if it has one.
func (q *dialQueue) leave(s *Session) {
	if t := q.turns[s]; t != nil {
		t.Stop()
		delete(q.turns, s)
		q.serve()
	}
}

// close forgets all that wait.
func (q *dialQueue) close() { q.scraped, q.others = nil, nil }

// serve gives turns as long as there are any.
func (q *dialQueue) serve() {
	for len(q.turns) < maxDials {
		list := &q.scraped
		if len(*list) == 0 {
			list = &q.others
		}
		if len(*list) == 0 {
			return
		}
		t := (*list)[0]
		(*list)[0] = nil
		if *list = (*list)[1:]; len(*list) == 0 {
			*list = nil
		}
		if t.session != nil {
			q.take(t.session)
		}
	}
}

const (
	// maxDials is how many sessions dial at a time: each has some ten requests under way, and a dial takes a quarter of a
	// second where nothing is wrong.
	maxDials = 64
	// dialTurn is how long a dial keeps others waiting. What takes longer waits for a client that does not answer, or
	// guesses ports.
	dialTurn = 5 * time.Second
)
