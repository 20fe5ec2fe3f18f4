package hyperdht

import (
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// punchQueue orders the random punches of a node, which runs one at a time: its own dials and its callers, first come, first
// served. A waiter that is refused gets a place in the queue and the time after which to ask again.
// It loses the place if it has not asked again queueGrace after that time. The states of a place are in internals.go.
//
// While an earlier waiter is due or about to be, the budget is reserved, so that newcomers do not take it. Callers that do not know
// retry times, such as the reference implementation, have places too. Nothing is reserved for them, since the time of their next
// request is unknown; but later waiters do not keep them from a free budget. So such a caller is served once the waiters before it
// are and it finds the budget free.
//
// A peer has one place, which is removed when the attempt that asked last ends, unless it was given a retry time. Keys cost
// nothing, so keys that the application does not know have a part of the queue only, and at most one of them is placed before each
// known one.
type punchQueue struct {
	p        *peering
	places   []punchPlace
	estimate time.Duration // duration of a random punch, with the pause after it
}

// punchPlace is a place in the queue.
type punchPlace struct {
	punchWaiter
	due host.Instant // the time of its next request
}

// punchWaiter is a peer that needs a random punch.
type punchWaiter struct {
	peer    id.PublicKey
	dial    bool // by this node
	timed   bool // it honours retry times
	known   bool // the application knows the key
	relayed bool // a relay carries the connection meanwhile
	attempt any  // an *incoming or a *dialPunch, by pointer; nil once the place is kept for the next one
}

func newPunchQueue(p *peering) *punchQueue { return &punchQueue{p: p, estimate: firstEstimate} }

// admit reports whether a waiter may punch now. If not, it should ask again after retryAfter.
func (q *punchQueue) admit(w punchWaiter) (retryAfter time.Duration, ok bool) {
	q.expire()
	i := q.index(w)
	if q.p.punches.free(q.p.host.Now()) && !q.reserved(i) {
		if i >= 0 {
			q.places = slices.Delete(q.places, i, i+1)
		}
		return 0, true
	}
	if i < 0 {
		q.p.stats.PunchesLater++
		i = q.add(w)
	}
	retryAfter = q.retryAfter(i, w)
	if i < len(q.places) {
		expected := retryAfter
		if !w.timed {
			expected = maxRetryAfter
		}
		q.places[i] = punchPlace{w, q.p.host.Now().Add(expected)}
	}
	return retryAfter, false
}

// expire removes the places of waiters that have not asked again in time.
func (q *punchQueue) expire() {
	now := q.p.host.Now()
	q.places = slices.DeleteFunc(q.places, func(o punchPlace) bool { return now.Sub(o.due) > queueGrace })
}

// index returns the index of a waiter's place, -1 for none.
func (q *punchQueue) index(w punchWaiter) int {
	return slices.IndexFunc(q.places, func(o punchPlace) bool { return o.peer == w.peer && o.dial == w.dial })
}

// reserved reports whether the budget is reserved for a waiter before place i; -1 is that of a newcomer. For a waiter that is due it
// is reserved for queueLead only: if the first one is late, the next one that asks goes.
func (q *punchQueue) reserved(i int) bool {
	now := q.p.host.Now()
	before, early, late := q.places, q.estimate, queueGrace
	if i >= 0 {
		before = q.places[:i]
		if q.places[i].timed && q.places[i].due <= now {
			early, late = minRetryAfter, queueLead
		}
	}
	return slices.ContainsFunc(before, func(o punchPlace) bool {
		return o.timed && o.due.Sub(now) <= early && now.Sub(o.due) <= late
	})
}

// add inserts a newcomer, and returns the index of its place; the length of the queue if there is no room.
func (q *punchQueue) add(w punchWaiter) int {
	i := len(q.places)
	if i >= maxQueuedPunches || !w.known && q.unknown() >= maxQueuedUnknown {
		return i
	}
	if w.known {
		for i > 0 && !q.places[i-1].known {
			i--
		}
		i = min(i+1, len(q.places))
	}
	q.places = slices.Insert(q.places, i, punchPlace{punchWaiter: w})
	return i
}

// keep retains the place of an attempt after its end, for the next attempt of the peer.
func (q *punchQueue) keep(attempt any) {
	for i := range q.places {
		if q.places[i].attempt == attempt {
			q.places[i].attempt = nil
		}
	}
}

// leave removes the place of an attempt that has ended, so that no other waits for it.
func (q *punchQueue) leave(attempt any) {
	q.places = slices.DeleteFunc(q.places, func(o punchPlace) bool { return o.attempt == attempt })
}

// unknown returns the number of places of keys that the application does not know.
func (q *punchQueue) unknown() (n int) {
	for _, o := range q.places {
		if !o.known {
			n++
		}
	}
	return n
}

// retryAfter returns the retry time of the waiter at place i: three quarters of the estimated time, since the estimate
// may be too long, less retryEarly.
func (q *punchQueue) retryAfter(i int, w punchWaiter) time.Duration {
	pause, least := time.Duration(0), minRetryAfter
	if w.relayed {
		least = minRelayedRetry
	}
	if p := q.p; p.punches.running == 0 {
		pause = p.punches.rest(p.host.Now())
	}
	return min(pause+max(least, time.Duration(i)*q.estimate*3/4-retryEarly), maxRetryAfter)
}

// ended adds the time that a random punch has taken, with the pause after it, to the estimate.
func (q *punchQueue) ended(took time.Duration) {
	q.estimate = min(max((3*q.estimate+took)/4, leastEstimate), mostEstimate)
}

// size is the number of places.
func (q *punchQueue) size() int {
	q.expire()
	return len(q.places)
}

func (q *punchQueue) close() { q.places = nil }

// retryAfterOf returns the retry time of a peer's answer, zero for none. A longer one than this implementation sends is ignored.
func retryAfterOf(m wire.HolepunchPayload) time.Duration {
	if m.RetryAfter > uint64(maxRetryAfter/time.Millisecond) {
		return 0
	}
	return time.Duration(m.RetryAfter) * time.Millisecond
}
