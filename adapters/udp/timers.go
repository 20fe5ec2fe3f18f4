package udp

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// timer is a pending AfterFunc; it belongs to the loop.
type timer struct {
	h     *Host
	f     func()
	due   host.Instant
	seq   uint64 // order of arming
	index int    // in the heap, -1 when not pending
}

// Stop implements host.Timer.
func (t *timer) Stop() bool {
	if t.index < 0 {
		return false
	}
	t.h.timers.remove(t.index)
	return true
}

// Reset implements host.Timer.
func (t *timer) Reset(d time.Duration) {
	h := t.h
	h.timerSeq++
	t.due, t.seq = h.clock.now.Add(max(d, 0)), h.timerSeq
	if t.index < 0 {
		h.timers.push(t)
		return
	}
	h.timers.fix(t.index)
}

func (t *timer) before(u *timer) bool { return t.due < u.due || t.due == u.due && t.seq < u.seq }

// timerHeap is a binary heap by (due, seq) whose members have their index.
type timerHeap []*timer

func (h *timerHeap) push(t *timer) {
	t.index = len(*h)
	*h = append(*h, t)
	h.up(t.index)
}

func (h *timerHeap) remove(i int) *timer {
	s := *h
	t, last := s[i], len(s)-1
	if i != last {
		s[i] = s[last]
		s[i].index = i
	}
	s[last] = nil
	*h = s[:last]
	if i != last {
		h.fix(i)
	}
	t.index = -1
	return t
}

func (h *timerHeap) fix(i int) {
	if !h.up(i) {
		h.down(i)
	}
}

// up moves the timer at i towards the root and reports whether it moved.
func (h *timerHeap) up(i int) bool {
	s, start := *h, i
	t := s[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !t.before(s[parent]) {
			break
		}
		s[i] = s[parent]
		s[i].index = i
		i = parent
	}
	s[i], t.index = t, i
	return i != start
}

func (h *timerHeap) down(i int) {
	s := *h
	t := s[i]
	for {
		c := 2*i + 1
		if c >= len(s) {
			break
		}
		if c+1 < len(s) && s[c+1].before(s[c]) {
			c++
		}
		if !s[c].before(t) {
			break
		}
		s[i] = s[c]
		s[i].index = i
		i = c
	}
	s[i], t.index = t, i
}
