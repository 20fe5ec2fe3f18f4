package simnet

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// event is something that will happen at an instant. Armed by AfterFunc it is also the host.Timer that
// its owner holds; datagrams and closures use it once.
//
// A timer that is moved to a later instant keeps its old place in the heap and is put back where it
// belongs when that place comes up; a stopped one is dropped then. So the usual life of a protocol timer,
// reset again and again and hardly ever fired, does not touch the heap.
type event struct {
	net  *Net
	host *Host // nil for events of the scenario
	run  func()
	dg   *datagram // set for datagrams, which are recycled

	due   host.Instant // when it is to happen, in time of the net
	seq   uint64       // breaks ties: the order of arming
	armed bool
	timer bool

	placed   uint64 // seq of its entry in the heap, 0 for none
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
	e.net.arm(e, e.host.timeout(d))
}

func (e *event) disarm() {
	if e.armed {
		e.armed = false
		e.net.live--
		if e.timer && !e.host.dead {
			e.host.timers--
		}
	}
}

// arm schedules an event that is not armed.
func (n *Net) arm(e *event, due host.Instant) {
	n.seq++
	e.due, e.seq, e.armed = due, n.seq, true
	n.live++
	if e.placed != 0 && e.placedAt <= due {
		return
	}
	e.placed, e.placedAt = e.seq, due
	n.heap.push(entry{due, e.seq, e})
	if len(n.heap) > 2*n.live+4096 {
		n.heap.compact()
	}
}

// next takes the first event out that is due at or before limit.
func (n *Net) next(limit host.Instant) *event {
	for len(n.heap) > 0 && n.heap[0].at <= limit {
		top := n.heap.pop()
		e := top.ev
		switch {
		case e.placed != top.seq: // an earlier entry took its place
		case !e.armed:
			e.placed = 0
		case e.seq != top.seq: // was moved to a later instant
			e.placed, e.placedAt = e.seq, e.due
			n.heap.push(entry{e.due, e.seq, e})
		default:
			e.placed = 0
			e.disarm()
			return e
		}
	}
	return nil
}

type entry struct {
	at  host.Instant
	seq uint64
	ev  *event
}

func (a entry) before(b entry) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

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

// compact drops entries that mean nothing any more. The order in which events come out is that of their
// keys and does not change.
func (h *heap4) compact() {
	kept := (*h)[:0]
	for _, e := range *h {
		switch {
		case e.ev.placed != e.seq:
		case !e.ev.armed:
			e.ev.placed = 0
		default:
			kept = append(kept, e)
		}
	}
	clear((*h)[len(kept):])
	*h = kept
	for i := (len(kept) - 2) / 4; i >= 0 && len(kept) > 1; i-- {
		kept.sink(i, kept[i])
	}
}

var _ host.Timer = (*event)(nil)
