package udx

import "github.com/dhtprom/dhtprom/ports/host"

// receiveAck takes the cumulative acknowledgement and the selective ones of a packet, finds losses and
// tells the congestion controller.
func (m *Machine) receiveAck(now host.Instant, p *Packet) {
	if m.out.idle() {
		return
	}
	s := ackSample{priorInFlight: m.out.flight.bytes, before: m.loss.state, mss: m.mss()}
	progress := m.out.acked.Before(p.Ack)
	for ; m.out.acked.Before(p.Ack); m.out.acked++ {
		if pk := m.out.ring.at(m.out.acked); pk != nil {
			m.ackPacket(now, pk, &s)
		} else {
			m.out.sacked--
		}
	}
	m.receiveBlocks(now, p.SACK, &s)
	if p.SACK.Len() >= MaxSACKBlocks && m.hides(p.highest()) {
		m.loss.hide(m.out.sent)
	}
	if s.hasRTT {
		m.rtt.sample(now, s.rtt)
	}
	if progress {
		m.loss.progress()
		m.progress(now)
	}
	if m.closed {
		return
	}
	if progress || s.acked > 0 {
		m.loss.probes = 0
		m.detectLosses(now, &s)
		m.loss.endRecovery(m.out.acked, m.faults)
		m.armOnAck(now, progress)
		s.recovery, s.hidden = m.loss.state, m.loss.hides(m.out.acked)
		m.rate.complete(&s, m.out.flight.bytes)
		m.bbr.onAck(now, &s)
	}
}

// hides reports whether an acknowledgement that is full, and names nothing from end on, leaves out what has arrived there: what was sent
// much later has arrived. The reference's names the lowest blocks only.
func (m *Machine) hides(end Seq) bool {
	if m.out.idle() || !end.Within(m.out.acked, m.out.sent-1) {
		return false
	}
	p := m.out.ring.at(end)
	return p != nil && p.order+uint64(m.out.sent-m.out.acked)/8 < m.loss.rack.order
}

// progress handles the acknowledgement of everything before m.out.acked.
func (m *Machine) progress(now host.Instant) {
	m.out.shrink()
	if m.path.endChange(m.out.acked) {
		m.owner.RemoteChanged()
		if m.closed {
			return
		}
	}
	if m.out.idle() {
		m.armKeepalive(now)
	}
	if m.localDone() && m.in.endReported {
		m.close(nil)
	}
}

// receiveBlocks marks the packets of valid blocks as arrived. A bad block is skipped, the others still
// count (§1.1). What was reported once is released for good.
func (m *Machine) receiveBlocks(now host.Instant, blocks Blocks, s *ackSample) {
	for i := range blocks.Len() {
		b := blocks.At(i)
		if b.Start == b.End || !b.Start.Within(m.out.acked, m.out.sent) || !b.End.Within(b.Start, m.out.sent) {
			m.stats.BadBlocks++
			continue
		}
		for seq := m.out.unacked.next(b.Start, b.End); seq != b.End; seq = m.out.unacked.next(seq+1, b.End) {
			m.ackPacket(now, m.out.ring.at(seq), s)
			m.out.sacked++
		}
	}
}

// ackPacket releases a packet that has arrived.
func (m *Machine) ackPacket(now host.Instant, p *packet, s *ackSample) {
	m.path.acked(p.remote)
	m.passSize(now, p.size())
	m.out.deliver(p)
	took := now.Sub(p.sent)
	late := p.transmits > 1 && took < m.rtt.smallest // the answer to an earlier transmission
	m.rate.ackPacket(now, p, s, late)
	switch {
	case late:
		m.loss.rack.widen()
		m.loss.share.add(-1, 0)
		s.late += p.size()
	case p.transmits == 1 && (!s.hasRTT || took < s.rtt):
		s.rtt, s.hasRTT = took, true
	}
	m.loss.rack.acked(p, took, late)
	m.loss.share.add(0, 1)
	if p.probe {
		m.mtu.acked(m.faults)
	}
	m.pool.release(p)
}

// ackSchedule decides when a packet leaves that only acknowledges: at the end of the turn, if no data carries the
// acknowledgement, or after maxMergedAcks packets.
type ackSchedule struct {
	needed  bool
	packets uint8 // received since the last acknowledgement left
	turn    Seq   // where the next acknowledgement of many blocks goes on
}

// packet counts a packet to be acknowledged, and reports whether that cannot wait for the end of the turn.
func (a *ackSchedule) packet() bool {
	a.needed = true
	a.packets++
	return a.packets >= maxMergedAcks
}

// done notes that an acknowledgement of everything received has left.
func (a *ackSchedule) done() { a.needed, a.packets = false, 0 }
