package udx

// reassembly puts the packets of the peer in order, and decides how much more of them there is room for.
type reassembly struct {
	expected    Seq
	queue       recvQueue
	buffer      int
	reserve     int // the buffer of a peer that is not confined
	confined    int // memory that received packets may take; 0: whatever the buffer takes
	advertised  int // the window of the last packet sent
	paused      bool
	endSeen     bool
	endReported bool
}

func (r *reassembly) init(first Seq, buffer int) {
	*r = reassembly{expected: first, buffer: buffer, reserve: buffer, advertised: buffer}
}

// confine bounds the memory of received packets, and the advertised window with it; 0 ends that.
func (r *reassembly) confine(memory int) {
	r.confined, r.buffer = memory, r.reserve
	if memory > 0 {
		r.buffer = min(memory, r.reserve)
	}
}

// reading reports whether in-order data goes straight to the reader.
func (r *reassembly) reading() bool { return !r.paused && r.queue.unread == 0 }

// endDue reports whether the end of the peer's direction is to be reported: everything before was handed over.
func (r *reassembly) endDue() bool { return r.endSeen && !r.endReported && r.reading() }

// hasRoom reports whether n bytes of packet s can be kept.
func (r *reassembly) hasRoom(s Seq, n int) bool {
	return s-r.expected < maxReorder && r.queue.unread+r.queue.gapped+n <= r.buffer+r.beyond()+windowSlack &&
		(r.confined == 0 || r.queue.memory+r.queue.cost(r.expected, s, n) <= r.confined)
}

// beyond is the number of bytes beyond a gap that do not count: while a packet is repeated, a sender has to go on with others, or the rate of
// a lossy path is what fits into the window in as many round trips as the repetitions take. The reference counts none of up to 65,536 packets.
func (r *reassembly) beyond() int {
	if r.confined > 0 {
		return 0
	}
	return min(r.buffer, maxGapped)
}

// window is the number of further bytes that can be received: nothing, or at least one full packet. A confined peer's packets are held in
// buffers that may be half empty, so it has half of the memory that is left.
func (r *reassembly) window() int {
	w := r.buffer - r.queue.unread - max(r.queue.gapped-r.beyond(), 0)
	if r.confined > 0 {
		w = min(w, (r.confined-r.queue.memory)/2)
	}
	if w < minWindow {
		return 0
	}
	return w
}

// advertise returns the window for a packet that leaves.
func (r *reassembly) advertise() uint32 {
	r.advertised = r.window()
	return uint32(r.advertised)
}

// reopened reports whether the window has grown so much since it was last advertised that the peer has to be sent it.
func (r *reassembly) reopened() bool {
	enough := max(r.buffer/4, minWindow)
	return r.advertised < enough && r.window() >= enough && !r.endSeen
}

// recvQueue keeps what cannot be handed to the reader yet: packets above a gap, and in-order bytes that
// the reader does not want now. Both count against the window.
type recvQueue struct {
	// pages hold the packets above a gap, by number; nil where there is none. Numbers are at most maxReorder apart, so
	// that each has a slot of its own. A packet far ahead costs one page, like one that is near.
	pages []*recvPage
	// runs are the received numbers, ascending, not touching: what a SACK reports.
	runs []recvRun
	// chunks are in-order bytes, oldest first.
	chunks [][]byte
	gapped int // bytes in pages
	unread int // bytes in chunks
	// memory counts the bytes of pages, runs and chunks, whatever their content: a packet of one byte has a buffer of its own.
	memory int
}

// recvRun is a run of received numbers.
type recvRun struct {
	Block
	news uint8 // acknowledgements that still have to name it, since some of it is new
}

// recvPage holds packets whose numbers follow each other.
type recvPage struct {
	slots [pageSlots]recvSlot
	used  int
}

type recvSlot struct {
	payload []byte
	end     bool
}

const (
	pageSlots = 64
	pageCount = maxReorder / pageSlots
	// pageMemory is the memory of a page, with its share of the runs.
	pageMemory = pageSlots * 44
	// pagesMemory is the memory of the table of pages while all are nil.
	pagesMemory = pageCount * 8
)

// page returns where the page of number s is kept.
func (q *recvQueue) page(s Seq) **recvPage { return &q.pages[s/pageSlots%pageCount] }

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

// insert keeps a copy of the payload of packet s, which the queue must not have yet. All kept numbers lie in
// [next, next+maxReorder), where next is the one that is expected next.
func (q *recvQueue) insert(pool *Pool, s Seq, payload []byte, end bool) {
	slot := recvSlot{end: end}
	if len(payload) > 0 {
		slot.payload = append(pool.buffer(len(payload)), payload...)
		q.memory += cap(slot.payload)
	}
	q.put(pool, s, slot)
	q.gapped += len(payload)

	i := q.search(s)
	joinsPrev := i > 0 && q.runs[i-1].End == s
	joinsNext := i < len(q.runs) && q.runs[i].Start == s+1
	switch {
	case joinsPrev && joinsNext:
		q.runs[i-1].End, q.runs[i-1].news = q.runs[i].End, newsRepeats
		q.runs = append(q.runs[:i], q.runs[i+1:]...)
	case joinsPrev:
		q.runs[i-1].End, q.runs[i-1].news = s+1, newsRepeats
	case joinsNext:
		q.runs[i].Start, q.runs[i].news = s, newsRepeats
	default:
		q.runs = append(q.runs, recvRun{})
		copy(q.runs[i+1:], q.runs[i:])
		q.runs[i] = recvRun{Block{s, s + 1}, newsRepeats}
	}
}

// put fills the slot of number s.
func (q *recvQueue) put(pool *Pool, s Seq, slot recvSlot) {
	if q.pages == nil {
		q.pages = make([]*recvPage, pageCount)
		q.memory += pagesMemory
	}
	page := q.page(s)
	if *page == nil {
		*page = pool.page()
		q.memory += pageMemory
	}
	(*page).slots[s%pageSlots] = slot
	(*page).used++
}

// remove empties the slot of number s, which is filled, and its page with the last one.
func (q *recvQueue) remove(pool *Pool, s Seq) recvSlot {
	page := q.page(s)
	slot := (*page).slots[s%pageSlots]
	(*page).slots[s%pageSlots] = recvSlot{}
	if (*page).used--; (*page).used == 0 {
		pool.recyclePage(*page)
		*page = nil
		q.memory -= pageMemory
	}
	q.memory -= cap(slot.payload)
	q.gapped -= len(slot.payload)
	return slot
}

// removePages follows the last packet above a gap.
func (q *recvQueue) removePages() {
	if q.pages != nil {
		q.memory -= pagesMemory
		q.pages, q.runs = nil, nil
	}
}

// cost bounds the additional memory of n bytes of packet s, if they have to be kept.
func (q *recvQueue) cost(next, s Seq, n int) int {
	switch {
	case s == next:
		return bufferSize(max(n, smallBuffer+1))
	case q.pages == nil:
		return bufferSize(n) + pageMemory + pagesMemory
	case *q.page(s) == nil:
		return bufferSize(n) + pageMemory
	}
	return bufferSize(n)
}

// take removes and returns packet next, if it is there. The caller recycles the payload.
func (q *recvQueue) take(pool *Pool, next Seq) (recvSlot, bool) {
	if len(q.runs) == 0 || q.runs[0].Start != next {
		return recvSlot{}, false
	}
	slot := q.remove(pool, next)
	if q.runs[0].Start++; q.runs[0].Start == q.runs[0].End {
		q.runs = append(q.runs[:0], q.runs[1:]...)
	}
	if len(q.runs) == 0 {
		q.removePages()
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
			pool.recycle(q.remove(pool, s).payload)
		}
	}
	q.removePages()
}

// clear gives everything back.
func (q *recvQueue) clear(pool *Pool) {
	q.dropGapped(pool)
	for _, b := range q.chunks {
		pool.recycle(b)
	}
	*q = recvQueue{}
}
