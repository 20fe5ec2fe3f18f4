package app

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// dialQueue limits how many sessions of a scraper dial at a time. A scraper that starts has thousands to dial, whose requests
// share the congestion window of the node below: started together they would end together, or time out.
// A turn ends when the connection opens or fails, or after dialTurn. A client that registers (Nudge) is dialled at once, over the
// connection of the registration. The states of a turn are in doc.go.
type dialQueue struct {
	host    host.Host
	turns   map[*dialler]host.Timer // of those that dial: the end of their turns
	scraped []*dialTicket
	others  []*dialTicket
}

// dialler takes a turn in the queue: a session without a connection, or a connected session's search for a better path.
type dialler struct {
	dial    func()
	ticket  *dialTicket // while it waits
	scraped bool        // it waits in the queue of scraped ones
}

// dialTicket is a dialler's place in the queue. It is void when the dialler has a newer one, or has dialled.
type dialTicket struct{ dialler *dialler }

func newDialQueue(h host.Host) *dialQueue {
	return &dialQueue{host: h, turns: map[*dialler]host.Timer{}}
}

// wait calls the dialler when it is its turn, which may be at once.
func (q *dialQueue) wait(d *dialler) {
	d.ticket = &dialTicket{d}
	q.others = append(q.others, d.ticket)
	q.serve()
}

// hurry moves a waiting dialler, with a scrape that waits for it, ahead of those without one.
func (q *dialQueue) hurry(d *dialler) {
	if d.ticket == nil || d.scraped {
		return
	}
	d.scraped = true
	d.ticket.dialler = nil
	d.ticket = &dialTicket{d}
	q.scraped = append(q.scraped, d.ticket)
}

// take starts a dialler's turn.
func (q *dialQueue) take(d *dialler) {
	q.drop(d)
	q.turns[d] = q.host.AfterFunc(dialTurn, func() { q.leave(d) })
	d.dial()
}

// drop removes a dialler from the queue.
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

// close removes all that wait.
func (q *dialQueue) close() { q.scraped, q.others = nil, nil }

// serve starts turns while there is room.
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
	// maxDials bounds the sessions that dial at a time: each has some ten requests in progress, and a dial takes a quarter of a
	// second if there is no fault.
	maxDials = 64
	// dialTurn is the longest turn. A dial that takes longer waits for a client that does not answer, or guesses ports.
	dialTurn = 5 * time.Second
)
