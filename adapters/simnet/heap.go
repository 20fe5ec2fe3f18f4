package simnet

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// event is something that happens at an instant. Armed by AfterFunc it is also the host.Timer that its owner holds;
// datagrams and closures use it once.
//
// A timer moved to a later instant keeps its old entry in the agenda and is put back where it belongs when that entry is
// reached; a stopped one is dropped then. So the usual life of a protocol timer, reset many times and rarely fired, does
// not touch the agenda.
type event struct {
	lane *lane
	host *Host // nil for events of the scenario
	run  func()
	dg   *datagram // set for datagrams, which are recycled

	due   host.Instant // when it is to happen, in time of the net
	seq   uint64       // breaks ties: the order of arming
	armed bool
	timer bool

	placed   uint64 // seq of its entry in the agenda, 0 for none
	placedAt host.Instant
}

// Stop implements host.Timer.
func (e *event) Stop() bool {
	was := e.armed && !e.host.dead
	e.disarm()
	return was
}

// Reset implements host.Timer.
func (e *event) Reset(d time.Duration) {
	e.disarm()
	if e.host.dead {
		return
	}
	e.host.timers++
	e.lane.arm(e, e.host.timeout(d))
}

func (e *event) disarm() {
	if e.armed {
		e.armed = false
		e.lane.live--
		if e.timer && !e.host.dead {
			e.host.timers--
		}
	}
}

// arm schedules an event that is not armed.
func (l *lane) arm(e *event, due host.Instant) {
	l.seq++
	e.due, e.seq, e.armed = due, l.seq, true
	l.live++
	if e.placed != 0 && e.placedAt <= due {
		return
	}
	e.placed, e.placedAt = e.seq, due
	l.agenda.put(entry{due, e.seq, e})
	if l.agenda.n > 2*l.live+4096 {
		l.agenda.compact()
	}
}

// next removes and returns the first event due at or before limit.
func (l *lane) next(limit host.Instant) *event {
	for l.agenda.reach(limit) {
		top := l.agenda.pop()
		switch now, ok := top.settled(); {
		case !ok:
		case now != top:
			l.agenda.put(now)
		default:
			top.ev.placed = 0
			top.ev.disarm()
			return top.ev
		}
	}
	return nil
}

type entry struct {
	at  host.Instant
	seq uint64
	ev  *event
}

func (en entry) before(b entry) bool { return en.at < b.at || en.at == b.at && en.seq < b.seq }

// settled returns the current position of an entry's event, for an entry that has been removed from the agenda. It reports
// false for a stale entry.
func (en entry) settled() (entry, bool) {
	e := en.ev
	switch {
	case e.placed != en.seq: // an earlier entry took its place
		return en, false
	case !e.armed:
		e.placed = 0
		return en, false
	}
	e.placed, e.placedAt = e.seq, e.due
	return entry{e.due, e.seq, e}, true
}

// heap4 is a 4-ary min-heap: half as deep as a binary one, and four children share a cache line or two.
type heap4 []entry

func (h *heap4) push(e entry) {
	*h = append(*h, e)
	s := *h
	i := len(s) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(s[parent]) {
			break
		}
		s[i] = s[parent]
		i = parent
	}
	s[i] = e
}

func (h *heap4) pop() entry {
	s := *h
	top := s[0]
	last := s[len(s)-1]
	s[len(s)-1] = entry{}
	s = s[:len(s)-1]
	*h = s
	if len(s) > 0 {
		s.sink(0, last)
	}
	return top
}

// sink puts e at i or below it.
func (h heap4) sink(i int, e entry) {
	for {
		first := 4*i + 1
		if first >= len(h) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(h)); c++ {
			if h[c].before(h[least]) {
				least = c
			}
		}
		if !h[least].before(e) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = e
}

// order turns unordered entries into a heap.
func (h heap4) order() {
	for i := (len(h) - 2) / 4; i >= 0 && len(h) > 1; i-- {
		h.sink(i, h[i])
	}
}

var _ host.Timer = (*event)(nil)
