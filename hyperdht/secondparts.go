package hyperdht

import (
	"cmp"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// The parts of a secondWay.

// questions are what has been asked on the way in reserve.
type questions struct {
	asked host.Instant   // when both ways were last asked
	open  []host.Instant // those without an answer so far, the oldest first
	pause time.Duration  // before the next one
}

// add notes a question, and gives up those that are too old.
func (q *questions) add(now host.Instant) {
	q.open = slices.DeleteFunc(q.open, func(asked host.Instant) bool { return now.Sub(asked) >= answerLimit })
	q.open = append(q.open, now)
}

// answer takes an answer, which does not name its question. Where that may be an earlier one, how long it took is not known: a way
// that is slower than the pause between questions would look quick. The next question then waits until all others must have been
// answered. The pause after it is twice what an answer has taken.
func (q *questions) answer(now host.Instant) (rtt time.Duration, certain bool) {
	rtt, certain = now.Sub(q.open[0]), len(q.open) == 1
	if q.open = nil; rtt >= answerLimit {
		rtt, certain = 0, false // to none of ours
	}
	q.pause = max(askAgain, 2*rtt)
	return rtt, certain
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

// muchLonger is what a round trip on the direct path takes that is much longer than those of the relay, and than those that the
// path once had: a relay that answers at once has not made the path any worse.
func (t *roundTrips) muchLonger() time.Duration {
	return 2*max(t.relay, cmp.Or(t.direct, unknownRTT)) + muchSlower
}

// stall is a retransmission timeout.
type stall struct {
	at      host.Instant
	suspect int // the size of the packet that was not acknowledged, if it is large
}

// stallLog holds the last ones, the newest last; those that have not been are zero.
type stallLog [maxStalls]stall

func (l *stallLog) add(s stall) {
	copy(l[:], l[1:])
	l[maxStalls-1] = s
}

func (l *stallLog) first() host.Instant { return l[0].at }

func (l *stallLog) latest() stall { return l[maxStalls-1] }

// frequent reports whether so many fall into stallWindow.
func (l *stallLog) frequent() bool {
	return l.first() != 0 && l.latest().at.Sub(l.first()) <= stallWindow
}

// allLarge reports whether only large packets were not acknowledged.
func (l *stallLog) allLarge() bool {
	return !slices.ContainsFunc(l[:], func(s stall) bool { return s.suspect == 0 })
}

// holdOff keeps a connection on the relay for a while after it has left the direct path, and the longer the more often it had to.
type holdOff struct {
	hold     time.Duration
	until    host.Instant
	returned host.Instant // to the direct path, when last
}

// begin is when the connection leaves the direct path.
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

// end is when the connection returns.
func (h *holdOff) end(now host.Instant) { h.returned = now }
