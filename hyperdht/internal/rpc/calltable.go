package rpc

import "github.com/dhtprom/dhtprom/ports/host"

// callTable finds calls by transaction id and by deadline.
//
// Ids count upwards, so the calls that are waiting lie close together: a power of two of slots, indexed
// by the low bits of the id, and an id whose slot is taken is not used.
type callTable struct {
	slots     []*Call
	deadlines []*Call // heap, earliest first
	n         int
	next      uint16
	made      uint64

	room [minSlots]*Call // for a few slots
}

// seat is the place of a call in the table.
type seat struct {
	deadline host.Instant // of the transmission that waits for its answer
	order    uint64       // of creation
	heapAt   int32        // in deadlines; -1 while none runs
	tid      uint16
}

const minSlots = 8

// add gives c its transaction id. It reports false if there are too many calls.
func (t *callTable) add(c *Call) bool {
	if t.n >= maxCalls {
		return false
	}
	if t.n*4 >= len(t.slots)*3 {
		t.grow()
	}
	for t.slots[t.slot(t.next)] != nil {
		t.next++
	}
	c.seat.tid = t.next
	t.next++
	t.slots[t.slot(c.seat.tid)] = c
	t.n++
	t.made++
	c.seat.order = t.made
	c.seat.heapAt = -1
	return true
}

func (t *callTable) slot(tid uint16) int { return int(tid) & (len(t.slots) - 1) }

// grow doubles the slots. Ids that differ in the low bits still do with one bit more.
func (t *callTable) grow() {
	old := t.slots
	if old == nil {
		t.slots = t.room[:]
		return
	}
	t.slots = make([]*Call, 2*len(old))
	for _, c := range old {
		if c != nil {
			t.slots[t.slot(c.seat.tid)] = c
		}
	}
	clear(old)
}

// get is the waiting call with that id, or nil.
func (t *callTable) get(tid uint16) *Call {
	if t.n == 0 {
		return nil
	}
	if c := t.slots[t.slot(tid)]; c != nil && c.seat.tid == tid {
		return c
	}
	return nil
}

func (t *callTable) remove(c *Call) {
	t.unschedule(c)
	t.slots[t.slot(c.seat.tid)] = nil
	t.n--
	if t.n == 0 && len(t.slots) > 4*minSlots {
		t.slots = nil // what a busy time needed is not kept for good
	}
}

// first is the call whose deadline is earliest, or nil.
func (t *callTable) first() *Call {
	if len(t.deadlines) == 0 {
		return nil
	}
	return t.deadlines[0]
}

// schedule sets the deadline of c, which is waiting in the table.
func (t *callTable) schedule(c *Call, at host.Instant) {
	t.unschedule(c)
	c.seat.deadline = at
	c.seat.heapAt = int32(len(t.deadlines))
	t.deadlines = append(t.deadlines, c)
	t.up(int(c.seat.heapAt))
}

func (t *callTable) unschedule(c *Call) {
	at := int(c.seat.heapAt)
	if at < 0 {
		return
	}
	c.seat.heapAt = -1
	last := len(t.deadlines) - 1
	moved := t.deadlines[last]
	t.deadlines[last] = nil
	t.deadlines = t.deadlines[:last]
	if at == last {
		return
	}
	t.deadlines[at], moved.seat.heapAt = moved, int32(at)
	t.up(at)
	t.down(int(moved.seat.heapAt))
}

func (t *callTable) less(i, j int) bool {
	a, b := t.deadlines[i], t.deadlines[j]
	return a.seat.deadline < b.seat.deadline || a.seat.deadline == b.seat.deadline && a.seat.order < b.seat.order
}

func (t *callTable) swap(i, j int) {
	d := t.deadlines
	d[i], d[j] = d[j], d[i]
	d[i].seat.heapAt, d[j].seat.heapAt = int32(i), int32(j)
}

func (t *callTable) up(i int) {
	for i > 0 && t.less(i, (i-1)/2) {
		t.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (t *callTable) down(i int) {
	for {
		least := 2*i + 1
		if least >= len(t.deadlines) {
			return
		}
		if right := least + 1; right < len(t.deadlines) && t.less(right, least) {
			least = right
		}
		if !t.less(least, i) {
			return
		}
		t.swap(i, least)
		i = least
	}
}
