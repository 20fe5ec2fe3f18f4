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
	turns   map[*dialler]host.Timer // of those that dial, until when they keep others waiting
	scraped []*dialTicket
	others  []*dialTicket
}

// dialler dials when it is its turn: a session without a connection, or the search for a better path of one that has a
// connection.
type dialler struct {
	dial    func()
	ticket  *dialTicket // while it waits
	scraped bool        // it waits with those that are scraped
}

// dialTicket is a dialler's place in the queue. It is void when the dialler has another one, or has dialled.
type dialTicket struct{ dialler *dialler }

func newDialQueue(h host.Host) *dialQueue {
	return &dialQueue{host: h, turns: map[*dialler]host.Timer{}}
}

// wait has a dialler dial when it is its turn, which may be at once.
func (q *dialQueue) wait(d *dialler) {
	d.ticket = &dialTicket{d}
	q.others = append(q.others, d.ticket)
	q.serve()
}

// hurry moves a waiting dialler ahead of those without a scrape that waits for them.
func (q *dialQueue) hurry(d *dialler) {
	if d.ticket == nil || d.scraped {
		return
	}
	d.scraped = true
	d.ticket.dialler = nil
	d.ticket = &dialTicket{d}
	q.scraped = append(q.scraped, d.ticket)
}

// take lets a dialler dial now.
func (q *dialQueue) take(d *dialler) {
	q.drop(d)
	q.turns[d] = q.host.AfterFunc(dialTurn, func() { q.leave(d) })
	d.dial()
}

// drop takes a dialler out of the queue.
func (q *dialQueue) drop(d *dialler) {
	if d.ticket != nil {
		d.ticket.dialler = nil
		d.ticket, d.scraped = nil, false
	}
}

// leave ends a dialler's turn, if it has one.
func (q *dialQueue) leave(d *dialler) {
	if t := q.turns[d]; t != nil {
		t.Stop()
		delete(q.turns, d)
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
		if t.dialler != nil {
			q.take(t.dialler)
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
