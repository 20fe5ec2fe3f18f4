package udx

// sendQueue holds the packets that were written and are not acknowledged. acked ≤ sent ≤ next: the packets of [acked, sent) were
// sent, those of [sent, next) were not.
type sendQueue struct {
	ring              sendRing
	acked, sent, next Seq
	final             Seq // acked, at the end of the stream
	flight            flight
	unacked, lost     seqSet // of [acked, sent): not acknowledged; and of those, not in flight
	queued            int    // payload bytes not acked
	taken             int    // of those, the ones that were sent: what the peer's window counts, since it has or will have them
	sacked            int    // packets in [acked, sent) that were selectively acked
}

// begin sets the number of the first packet.
func (q *sendQueue) begin(first Seq) { q.acked, q.sent, q.next = first, first, first }

// idle reports whether everything that was sent is acknowledged.
func (q *sendQueue) idle() bool { return q.acked == q.sent }

// empty reports whether everything that was written is acknowledged.
func (q *sendQueue) empty() bool { return q.acked == q.next }

// drained reports whether everything that was written was sent.
func (q *sendQueue) drained() bool { return q.sent == q.next }

// full reports whether no other packet may be sent before one is acknowledged.
func (q *sendQueue) full() bool { return int(q.sent-q.acked) >= maxOutstanding }

// oldest returns the oldest packet that is not acknowledged. There must be one.
func (q *sendQueue) oldest() *packet { return q.ring.at(q.acked) }

// last returns the newest packet if it was not sent, or nil.
func (q *sendQueue) last() *packet {
	if q.drained() {
		return nil
	}
	return q.ring.at(q.next - 1)
}

// push appends a packet.
func (q *sendQueue) push(p *packet) {
	p.seq = q.next
	q.ring = q.ring.room(q.acked, q.next)
	q.ring.set(q.next, p)
	q.next++
}

// due returns the packet that leaves next, or nil: the lowest of those that were lost, since only it advances the cumulative
// acknowledgement, or else the first that was not sent.
func (q *sendQueue) due() *packet {
	if s := q.lost.next(q.acked, q.sent); s != q.sent {
		return q.ring.at(s)
	}
	if q.drained() {
		return nil
	}
	return q.ring.at(q.sent)
}

// newest returns the packet for a tail-loss probe: the first that was not sent if there may be one more, or else the highest
// that is not acknowledged. There must be one.
func (q *sendQueue) newest() (p *packet) {
	if !q.drained() && !q.full() {
		return q.ring.at(q.sent)
	}
	for s := q.sent; p == nil; {
		s--
		p = q.ring.at(s)
	}
	return p
}

// depart puts a packet into flight, for the first time if fresh.
func (q *sendQueue) depart(p *packet, fresh bool) {
	q.flight.push(p)
	if !fresh {
		q.lost.remove(p.seq)
		return
	}
	q.unacked.room(q.acked, p.seq)
	q.lost.room(q.acked, p.seq)
	q.unacked.add(p.seq)
	q.sent++
	q.taken += p.payload()
}

// lose takes a packet out of flight.
func (q *sendQueue) lose(p *packet) {
	q.flight.remove(p)
	q.lost.add(p.seq)
}

// deliver removes a packet that has arrived.
func (q *sendQueue) deliver(p *packet) {
	if p.flying {
		q.flight.remove(p)
	}
	q.lost.remove(p.seq)
	q.unacked.remove(p.seq)
	q.ring.set(p.seq, nil)
	q.queued -= p.payload()
	q.taken -= p.payload()
}

// shrink releases the memory of an empty queue that was long.
func (q *sendQueue) shrink() {
	if q.empty() && len(q.ring) > sendRingKept {
		q.ring, q.unacked, q.lost = nil, seqSet{}, seqSet{}
	}
}

// forgetProbes makes the packets in flight ordinary ones: they say nothing about a new path.
func (q *sendQueue) forgetProbes() {
	for p := q.flight.head; p != nil; p = p.next {
		p.probe = false
	}
}

// redirect has all packets go to a remote.
func (q *sendQueue) redirect(r *Remote) {
	for s := q.acked; s != q.next; s++ {
		if p := q.ring.at(s); p != nil {
			p.remote, p.probe = r, false
		}
	}
}

// clear releases all packets.
func (q *sendQueue) clear(pool *Pool) {
	for s := q.acked; s != q.next; s++ {
		if p := q.ring.at(s); p != nil {
			pool.release(p)
		}
	}
	*q = sendQueue{acked: q.next, sent: q.next, next: q.next, final: q.acked}
}

// memory returns the memory of the packets, in bytes.
func (q *sendQueue) memory() int {
	return (int(q.next-q.acked)-q.sacked)*packetMemory + len(q.ring)*pointerSize
}

// flight is the packets in flight in the order they left, as a list through the packets themselves.
type flight struct {
	head, tail *packet
	bytes      int // headers included
}

func (f *flight) empty() bool { return f.head == nil }

func (f *flight) push(p *packet) {
	p.flying, p.prev, p.next = true, f.tail, nil
	if f.tail == nil {
		f.head = p
	} else {
		f.tail.next = p
	}
	f.tail = p
	f.bytes += p.size()
}

func (f *flight) remove(p *packet) {
	if p.prev == nil {
		f.head = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		f.tail = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.flying, p.prev, p.next = false, nil, nil
	f.bytes -= p.size()
}
