package simnet

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// agenda holds all pending events, in the order of (instant, sequence).
//
// Events due before an edge lie in a heap. Later ones lie unordered in slots of equal length, and those after the last slot
// in another heap. So the heap that each event passes through stays small enough for the processor's cache, and most
// timers, which are moved or stopped before they are due, never reach it.
//
//	near ─────────┐ edge                                       edge + span
//	heap of all   │ slot │ slot │ slot │ ... unordered ... │ slot │ far: a heap
type agenda struct {
	n       int // entries
	near    heap4
	edge    host.Instant // a multiple of slotLength
	slots   [slotCount][]entry
	slotted int     // entries in slots
	spare   []entry // room for a slot
	far     heap4
}

const (
	slotLength = host.Instant(32 * time.Millisecond)
	slotCount  = 512
	span       = slotCount * slotLength
)

func (a *agenda) put(e entry) {
	a.n++
	switch {
	case e.at < a.edge:
		a.near.push(e)
	case e.at < a.edge+span:
		s := a.slotOf(e.at)
		*s = append(*s, e)
		a.slotted++
	default:
		a.far.push(e)
	}
}

func (a *agenda) slotOf(t host.Instant) *[]entry { return &a.slots[t/slotLength%slotCount] }

// pop removes and returns the first entry. It must follow a call of reach that returned true.
func (a *agenda) pop() entry {
	a.n--
	return a.near.pop()
}

// reach reports whether the first entry is due at or before limit.
func (a *agenda) reach(limit host.Instant) bool {
	for len(a.near) == 0 {
		if a.n == 0 || a.edge > limit {
			return false
		}
		a.advance()
	}
	return a.near[0].at <= limit
}

// first returns when the first event is due. Stale entries do not count: how long they stay depends on when the agenda was looked at.
func (a *agenda) first() host.Instant {
	for a.reach(never) {
		top := a.near[0]
		if top.ev.armed && top.ev.placed == top.seq && top.ev.seq == top.seq {
			return top.at
		}
		a.pop()
		if now, ok := top.settled(); ok {
			a.put(now)
		}
	}
	return never
}

// advance moves the edge by a slot, or to the next entry where all slots are empty.
func (a *agenda) advance() {
	if a.slotted == 0 {
		a.edge = a.far[0].at / slotLength * slotLength
	} else {
		slot := a.slotOf(a.edge)
		due := *slot
		*slot, a.spare = a.spare, nil // an event moved by the whole span comes into this slot again
		a.slotted -= len(due)
		a.n -= len(due)
		a.edge += slotLength
		for _, e := range due {
			if e, ok := e.settled(); ok {
				a.put(e)
			}
		}
		clear(due)
		if cap(due) <= 4*len(due) { // a slot that grew for a busy period is not kept
			a.spare = due[:0]
		}
	}
	for len(a.far) > 0 && a.far[0].at < a.edge+span {
		a.n--
		a.put(a.far.pop())
	}
}

// each calls f for every entry, in no particular order.
func (a *agenda) each(f func(entry)) {
	for _, part := range a.parts() {
		for _, e := range *part {
			f(e)
		}
	}
}

func (a *agenda) parts() []*[]entry {
	parts := []*[]entry{(*[]entry)(&a.near), (*[]entry)(&a.far)}
	for i := range a.slots {
		parts = append(parts, &a.slots[i])
	}
	return parts
}

// compact drops stale entries. Events keep their order, which is that of their keys.
func (a *agenda) compact() {
	a.n, a.slotted = 0, 0
	for i, part := range a.parts() {
		kept := (*part)[:0]
		for _, e := range *part {
			switch {
			case e.ev.placed != e.seq:
			case !e.ev.armed:
				e.ev.placed = 0
			default:
				kept = append(kept, e)
			}
		}
		clear((*part)[len(kept):])
		*part = kept
		a.n += len(kept)
		if i >= 2 {
			a.slotted += len(kept)
		}
	}
	a.near.order()
	a.far.order()
}
