package udx

// recvQueue keeps what cannot be handed to the reader yet: packets above a gap, and in-order bytes that
// the reader does not want now. Both count against the window.
type recvQueue struct {
	// slots hold the packets above a gap, by number; the length is a power of two.
	slots []recvSlot
	// runs are the received numbers, ascending, not touching: what a SACK reports.
	runs []Block
	// chunks are in-order bytes, oldest first.
	chunks [][]byte
	gapped int // bytes in slots
	unread int // bytes in chunks
	// memory is what slots, runs and chunks take, whatever is in them: a packet of one byte has a buffer of its own.
	memory int
}

type recvSlot struct {
	payload []byte
	end     bool
}

// has reports whether number s was received above the gap.
func (q *recvQueue) has(s Seq) bool {
	i := q.search(s)
	return i < len(q.runs) && !s.Before(q.runs[i].Start)
}

// search returns the first run that ends after s. Most packets extend the last run, so it looks there
// first.
func (q *recvQueue) search(s Seq) int {
	lo, hi := 0, len(q.runs)
	if hi > 0 && !s.Before(q.runs[hi-1].End) {
		return hi
	}
	for lo < hi {
		mid := (lo + hi) / 2
		if s.Before(q.runs[mid].End) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// insert keeps a copy of the payload of packet s, which the queue must not have yet. next is the
// number expected next.
func (q *recvQueue) insert(pool *Pool, next, s Seq, payload []byte, end bool) {
	q.grow(next, s)
	slot := recvSlot{end: end}
	if len(payload) > 0 {
		slot.payload = append(pool.buffer(len(payload)), payload...)
		q.memory += cap(slot.payload)
	}
	q.slots[int(s)&(len(q.slots)-1)] = slot
	q.gapped += len(payload)

	i := q.search(s)
	joinsPrev := i > 0 && q.runs[i-1].End == s
	joinsNext := i < len(q.runs) && q.runs[i].Start == s+1
	switch {
	case joinsPrev && joinsNext:
		q.runs[i-1].End = q.runs[i].End
		q.runs = append(q.runs[:i], q.runs[i+1:]...)
	case joinsPrev:
		q.runs[i-1].End = s + 1
	case joinsNext:
		q.runs[i].Start = s
	default:
		q.runs = append(q.runs, Block{})
		copy(q.runs[i+1:], q.runs[i:])
		q.runs[i] = Block{s, s + 1}
	}
}

// slotMemory is what a slot takes, with its share of the runs.
const slotMemory = 40

// slotsFor is how many slots there must be for number s.
func (q *recvQueue) slotsFor(next, s Seq) int {
	n := max(len(q.slots), 32)
	for n <= int(s-next) {
		n *= 2
	}
	return n
}

// cost is how much more memory n bytes of packet s take at most, when they have to be kept.
func (q *recvQueue) cost(next, s Seq, n int) int {
	if s == next {
		return bufferSize(max(n, smallBuffer+1))
	}
	return bufferSize(n) + slotMemory*(q.slotsFor(next, s)-len(q.slots))
}

// grow makes room for number s; all kept numbers lie in [next, next+maxReorder).
func (q *recvQueue) grow(next, s Seq) {
	n := q.slotsFor(next, s)
	if n == len(q.slots) {
		return
	}
	q.memory += slotMemory * (n - len(q.slots))
	grown := make([]recvSlot, n)
	for _, run := range q.runs {
		for s := run.Start; s != run.End; s++ {
			grown[int(s)&(n-1)] = q.slots[int(s)&(len(q.slots)-1)]
		}
	}
	q.slots = grown
}

// take removes and returns packet next, if it is there. The caller recycles the payload.
func (q *recvQueue) take(next Seq) (recvSlot, bool) {
	if len(q.runs) == 0 || q.runs[0].Start != next {
		return recvSlot{}, false
	}
	at := int(next) & (len(q.slots) - 1)
	slot := q.slots[at]
	q.slots[at] = recvSlot{}
	q.gapped -= len(slot.payload)
	q.memory -= cap(slot.payload)
	if q.runs[0].Start++; q.runs[0].Start == q.runs[0].End {
		q.runs = append(q.runs[:0], q.runs[1:]...)
	}
	if len(q.runs) == 0 {
		q.memory -= slotMemory * len(q.slots)
		q.slots, q.runs = nil, nil
	}
	return slot, true
}

// hold keeps a copy of in-order bytes. Small pieces share a buffer.
func (q *recvQueue) hold(pool *Pool, b []byte) {
	q.unread += len(b)
	if n := len(q.chunks); n > 0 {
		if last := q.chunks[n-1]; cap(last)-len(last) >= len(b) {
			q.chunks[n-1] = append(last, b...)
			return
		}
	}
	if len(b) > 0 {
		chunk := append(pool.buffer(max(len(b), smallBuffer+1)), b...)
		q.memory += cap(chunk)
		q.chunks = append(q.chunks, chunk)
	}
}

// unhold removes the oldest held bytes. The caller recycles them.
func (q *recvQueue) unhold() []byte {
	b := q.chunks[0]
	q.chunks[0] = nil
	if q.chunks = q.chunks[1:]; len(q.chunks) == 0 {
		q.chunks = nil
	}
	q.unread -= len(b)
	q.memory -= cap(b)
	return b
}

// dropGapped gives back what lies above the gap.
func (q *recvQueue) dropGapped(pool *Pool) {
	for _, run := range q.runs {
		for s := run.Start; s != run.End; s++ {
			payload := q.slots[int(s)&(len(q.slots)-1)].payload
			q.memory -= cap(payload)
			pool.recycle(payload)
		}
	}
	q.memory -= slotMemory * len(q.slots)
	q.slots, q.runs, q.gapped = nil, nil, 0
}

// clear gives everything back.
func (q *recvQueue) clear(pool *Pool) {
	q.dropGapped(pool)
	for _, b := range q.chunks {
		pool.recycle(b)
	}
	*q = recvQueue{}
}
