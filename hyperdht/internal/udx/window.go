package udx

// peerWindow is the receive window of the peer, and the packet that last set it (§7).
type peerWindow struct {
	size     uint32
	seq, ack Seq
}

// update takes the window of a packet unless a newer packet has set it. Acknowledgements have the same numbers while there is a gap. If one
// of them does not name the highest packet that is known to have arrived, before high, it is older than the one that did, and its window has
// less in it.
func (w *peerWindow) update(p *Packet, high Seq) bool {
	if !w.seq.Before(p.Seq) && (w.seq != p.Seq || p.Ack.Before(w.ack)) {
		return false
	}
	if w.seq == p.Seq && w.ack == p.Ack && p.Window > w.size && p.highest().Before(high) {
		return false
	}
	w.size, w.seq, w.ack = p.Window, p.Seq, p.Ack
	return true
}

// allows reports whether the peer has room for a packet beside the bytes that were sent and are not acknowledged. Those that were lost have
// to arrive, too. Any window but 0 has room for one packet.
func (w *peerWindow) allows(taken int, p *packet) bool {
	return w.size > 0 && (taken == 0 || taken+p.payload() <= int(w.size))
}

// writer is the user's side of the send queue: back-pressure and the end of the direction.
type writer struct {
	ended   bool // End was called
	bareEnd bool // our END carries no payload
	blocked bool // a writer waits for Drain
	wrote   bool // something was written since the last Flush
}

// write notes a write that leaves queued bytes, and reports whether the user may go on.
func (w *writer) write(queued, highWater int) bool {
	w.wrote = true
	w.blocked = w.blocked || queued > highWater
	return !w.blocked
}

// end ends the direction, and reports whether it was open.
func (w *writer) end() bool {
	if w.ended {
		return false
	}
	w.ended, w.wrote = true, true
	return true
}

// drain ends the back-pressure once enough has left, and reports whether it did.
func (w *writer) drain(queued, highWater int) bool {
	if !w.blocked || queued+drainSlack > highWater {
		return false
	}
	w.blocked = false
	return true
}
