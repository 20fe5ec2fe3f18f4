package hyperdht

import (
	"cmp"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// The parts of a secondWay.

// questions are the questions sent on the way in reserve. Answers name their question by its number, except those of earlier versions:
// any packet may be the answer of such a peer.
type questions struct {
	both   question      // the last one that was sent on both ways
	onMain host.Instant  // time of the last answer to it on the way in use
	open   []question    // those without an answer so far, the oldest first
	last   uint32        // number of the last one
	named  bool          // the peer has named a question
	pause  time.Duration // before the next one
}

type question struct {
	number uint32 // 0 before the first
	asked  host.Instant
}

// add records a question, and drops those that are too old.
func (q *questions) add(now host.Instant) question {
	q.open = slices.DeleteFunc(q.open, func(o question) bool { return now.Sub(o.asked) >= answerLimit })
	q.last++
	added := question{q.last, now}
	q.open = append(q.open, added)
	return added
}

// find returns the index of the open question that a packet may answer, -1 if there is none. number is that of the question that the
// packet names, or 0.
func (q *questions) find(number uint32) int {
	i := slices.IndexFunc(q.open, func(o question) bool { return o.number == number })
	if number == 0 && !q.named && len(q.open) > 0 {
		return 0
	}
	q.named = q.named || i >= 0
	return i
}

// answer handles the answer to the open question i. If that was not named, and may be an earlier one, the round trip is unknown: a way
// slower than the pause between questions would look fast. The next question then waits until all others must have been
// answered. The pause after it is twice the round trip.
func (q *questions) answer(i int, now host.Instant) (rtt time.Duration, certain bool) {
	rtt, certain = now.Sub(q.open[i].asked), q.named || len(q.open) == 1
	if q.open = q.open[i+1:]; !q.named {
		q.open = nil
	}
	if rtt >= answerLimit {
		rtt, certain = 0, false // too late, or to no question of this side
	}
	q.pause = max(askAgain, 2*rtt)
	return rtt, certain
}

// answeredOnMain handles a packet on the way in use that names the question number, or 0.
func (q *questions) answeredOnMain(number uint32, now host.Instant) {
	switch number {
	case 0:
		if q.named {
			return
		}
	case q.both.number:
		q.named = true
	default:
		return
	}
	q.onMain = now
}

// roundTrips are those of the two ways.
type roundTrips struct {
	relay  time.Duration // of the relay's last answers
	direct time.Duration // the least that the direct path has taken, 0 before it has answered
}

func (t *roundTrips) byRelay(rtt time.Duration) {
	if t.relay > 0 {
		rtt = min(rtt, 2*t.relay) // one answer may be late
	}
	t.relay = rtt
}

func (t *roundTrips) directly(rtt time.Duration) {
	if t.direct == 0 || rtt < t.direct {
		t.direct = rtt
	}
}

// muchLonger returns the round trip from which the direct path is much slower than the relay, and than the path
// once was: a relay that answers at once does not make the path worse.
func (t *roundTrips) muchLonger() time.Duration {
	return 2*max(t.relay, cmp.Or(t.direct, unknownRTT)) + muchSlower
}

// stall is a sign of a dead or bad path.
type stall struct {
	at      host.Instant
	suspect int // the size of the packet that was not acknowledged, if it is large
}

// stallLog holds the last stalls, the newest last; unused entries are zero.
type stallLog [maxStalls]stall

func (l *stallLog) add(s stall) {
	copy(l[:], l[1:])
	l[maxStalls-1] = s
}

func (l *stallLog) first() host.Instant { return l[0].at }

func (l *stallLog) latest() stall { return l[maxStalls-1] }

// frequent reports whether all of them fall into stallWindow.
func (l *stallLog) frequent() bool {
	return l.first() != 0 && l.latest().at.Sub(l.first()) <= stallWindow
}

// allLarge reports whether only large packets were not acknowledged.
func (l *stallLog) allLarge() bool {
	return !slices.ContainsFunc(l[:], func(s stall) bool { return s.suspect == 0 })
}

// holdOff keeps a connection on the relay for a time after it has left the direct path, which grows with each time.
type holdOff struct {
	hold     time.Duration
	until    host.Instant
	returned host.Instant // to the direct path, when last
}

// begin is called when the connection leaves the direct path.
func (h *holdOff) begin(now host.Instant) {
	if h.hold == 0 || now.Sub(h.returned) > maxHold {
		h.hold = minHold
	} else {
		h.hold = min(2*h.hold, maxHold)
	}
	h.until = now.Add(h.hold)
}

// over reports whether the connection may return.
func (h *holdOff) over(now host.Instant) bool { return !now.Before(h.until) }

// end is called when the connection returns.
func (h *holdOff) end(now host.Instant) { h.returned = now }
