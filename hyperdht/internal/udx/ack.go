package udx

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// receiveAck takes the cumulative acknowledgement and the selective ones of a packet, finds losses and
// tells the congestion controller.
func (m *Machine) receiveAck(now host.Instant, p *Packet) {
	if m.acked == m.sent {
		return
	}
	s := ackSample{priorInFlight: m.inFlight, before: m.state, mss: m.mss()}
	progress := m.acked.Before(p.Ack)
	for ; m.acked.Before(p.Ack); m.acked++ {
		if pk := m.ring.at(m.acked); pk != nil {
			m.ackPacket(now, pk, &s)
		} else {
			m.sacked--
		}
	}
	m.receiveBlocks(now, p.SACK, &s)
	if s.hasRTT {
		m.rtt.sample(now, s.rtt)
		m.probed = false
	}
	if progress {
		m.expiries = 0
		m.progress(now)
	}
	if m.closed {
		return
	}
	if progress || s.acked > 0 {
		m.detectLosses(now, &s)
		m.updateRecovery()
		m.armOnAck(now, progress)
		s.recovery = m.state
		m.takeSample(&s)
		m.bbr.onAck(now, &s)
	}
}

// progress is what follows when everything before m.acked has arrived.
func (m *Machine) progress(now host.Instant) {
	if m.acked == m.next && len(m.ring) > sendRingKept {
		m.ring, m.unacked, m.lost = nil, seqSet{}, seqSet{}
	}
	if m.changing && !m.acked.Before(m.changeAt) {
		m.changing = false
		m.owner.RemoteChanged()
		if m.closed {
			return
		}
	}
	if m.acked == m.sent {
		m.armKeepalive(now)
	}
	if m.localDone() && m.endReported {
		m.close(nil)
	}
}

// receiveBlocks marks the packets of valid blocks as arrived. A bad block is skipped, the others still
// count (§1.1). What was reported once is released for good.
func (m *Machine) receiveBlocks(now host.Instant, blocks Blocks, s *ackSample) {
	for i := range blocks.Len() {
		b := blocks.At(i)
		if b.Start == b.End || !b.Start.Within(m.acked, m.sent) || !b.End.Within(b.Start, m.sent) {
			m.stats.BadBlocks++
			continue
		}
		for seq := m.unacked.next(b.Start, b.End); seq != b.End; seq = m.unacked.next(seq+1, b.End) {
			m.ackPacket(now, m.ring.at(seq), s)
			m.sacked++
		}
	}
}

// ackPacket releases a packet that has arrived.
func (m *Machine) ackPacket(now host.Instant, p *packet, s *ackSample) {
	size, took := p.size(), now.Sub(p.sent)
	if m.fromThere && p.remote == m.remote {
		m.allowance.Validate()
	}
	if p.flying {
		m.flight.remove(p)
		m.inFlight -= size
		m.inFlightPayload -= p.payload()
	}
	m.passSize(now, size)
	m.lost.remove(p.seq)
	m.unacked.remove(p.seq)
	m.ring.set(p.seq, nil)
	m.queued -= p.payload()
	m.delivered += int64(size)
	m.deliveredAt = now
	s.acked += size

	if s.acked == size {
		s.firstSent, s.lastSent = p.sent, p.sent
	}
	s.firstSent, s.lastSent = min(s.firstSent, p.sent), max(s.lastSent, p.sent)

	// The rate sample belongs to the packet that left last.
	if !s.hasRate || p.delivered > s.priorDelivered || p.delivered == s.priorDelivered && p.sent >= m.firstSentAt {
		s.hasRate = true
		s.priorDelivered, s.appLimited = p.delivered, p.appLimited
		s.interval = max(p.sent.Sub(p.firstSentAt), now.Sub(p.deliveredAt))
		m.firstSentAt = p.sent
	}
	once := p.transmits == 1
	if once && (!s.hasRTT || took < s.rtt) {
		s.rtt, s.hasRTT = took, true
	}
	if once || took >= m.rtt.smallest {
		m.rack.acked(p.order, took)
	}
	if m.fack.Before(p.seq + 1) {
		m.fack = p.seq + 1
	} else if once && p.seq+1 != m.fack {
		m.rack.reordering = true
	}
	if p.probe {
		m.mtu.acked()
	}
	m.pool.release(p)
}

// takeSample completes a sample after losses were found.
func (m *Machine) takeSample(s *ackSample) {
	s.inFlight = m.inFlight
	s.interval = max(s.interval, s.lastSent.Sub(s.firstSent))
	s.delivered, s.deliveredAt = m.delivered, m.deliveredAt
	if m.appLimited > 0 && m.delivered > m.appLimited {
		m.appLimited = 0
	}
	s.rtt = max(s.rtt, time.Microsecond)
}
