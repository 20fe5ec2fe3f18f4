package udx

import "github.com/dhtprom/dhtprom/ports/host"

// Flush lets everything leave that may: new and lost packets, and the acknowledgement of what was
// received since the last Flush, in a packet of its own only where no data carries it. It belongs at
// the end of each turn that touched the machine. It also reports the end of the stream, which may be
// reported only after it was acknowledged (§4.4).
func (m *Machine) Flush(now host.Instant) {
	if m.closed {
		return
	}
	if m.path.remote != nil {
		m.transmit(now)
		m.askSize(now)
		if m.ack.needed {
			m.sendAck()
		}
		m.updateZeroWindow(now)
	}
	m.writer.wrote = false
	m.reportEnd()
	if !m.closed && m.writer.drain(m.out.queued, m.highWater()) {
		m.owner.Drain()
	}
}

// reportEnd reports the end of the peer to the reader, once all was handed over and acknowledged.
func (m *Machine) reportEnd() {
	if m.ack.needed || !m.in.endDue() {
		return
	}
	m.in.endReported = true
	m.owner.Ended()
	if m.localDone() {
		m.close(nil)
	}
}

// limit is the reason that a packet may not leave.
type limit uint8

const (
	limitNone limit = iota
	limitWindow
	limitCwnd
	limitPacing
	limitAllowance
)

// transmit sends lost packets, then new ones, as far as window, congestion control and pacing let it.
func (m *Machine) transmit(now host.Instant) {
	why := limitNone
	for p := m.out.due(); p != nil; p = m.out.due() {
		if why = m.limited(now, p); why != limitNone {
			break
		}
		m.tryProbe(p)
		m.send(now, p)
	}
	m.timers.pace = never
	if why == limitPacing {
		m.timers.pace = m.pacer.wake(now)
	}
	if why != limitCwnd && why != limitPacing && m.out.flight.bytes < m.bbr.cwnd &&
		(why != limitWindow || int(m.out.sent-m.out.acked)*m.mss() < m.bbr.target(gainUnit, m.mss())) {
		m.rate.limitByApplication(m.out.flight.bytes)
	}
}

// limited returns why p may not leave now.
func (m *Machine) limited(now host.Instant, p *packet) limit {
	switch {
	case p.transmits == 0 && (m.out.full() || !m.window.allows(m.out.taken, p)):
		return limitWindow
	case !m.path.allows(p):
		return limitAllowance
	case m.out.flight.bytes > 0 && m.out.flight.bytes+p.size() > m.bbr.cwnd:
		return limitCwnd
	case m.pacer.blocks(now):
		return limitPacing
	}
	return limitNone
}

// send transmits p for the first time or again. Retransmissions keep their number, flags and payload,
// and refresh ack and window (§9.1).
func (m *Machine) send(now host.Instant, p *packet) {
	fresh := p.transmits == 0
	if m.out.flight.empty() {
		if m.rate.appLimited > 0 {
			m.bbr.onRestart(now, m.rate.delivered, m.mss())
		}
		m.rate.restart(now)
	}
	m.loss.stamp(now, p)
	m.rate.stamp(p)
	m.out.depart(p, fresh)
	m.stats.DataSent++
	if !fresh {
		m.stats.Retransmits++
	}
	m.pacer.book(now, p.size(), m.bbr.pacing)
	m.writeOut(p)
	m.armOnSend(now)
	if p.remote == m.path.remote && len(m.in.queue.runs) == 0 {
		m.ack.done()
	}
}

// tryProbe makes a packet that was never sent an MTU probe, if it is time for one.
func (m *Machine) tryProbe(p *packet) {
	if p.transmits > 0 || m.path.changing || m.path.allowance.Limited() {
		return
	}
	if pad, ok := m.mtu.padding(len(p.buf) + p.remote.overhead()); ok {
		m.mtu.sent(m.faults)
		p.probe, p.pad = true, uint8(pad)
	}
}

// writeOut puts the header in front of p's payload, with padding between only while p is a probe.
func (m *Machine) writeOut(p *packet) {
	h := m.header(p.remote.ID, p.flags)
	h.Seq = p.seq
	out := h.Append(p.buf[:0])[:len(p.buf)]
	if p.pad > 0 {
		h.DataOffset, p.pad = p.pad, 0
		out = h.Append(m.pool.build())
		out = appendPadding(out, int(h.DataOffset))
		out = append(out, p.buf[HeaderSize:]...)
	}
	m.emit(p.remote, out)
	if p.remote != m.path.remote && p.transmits > 1 && m.path.allowance.Allows(len(p.buf)) {
		// The old way may be gone: a relay whose other end has found the direct path first. The peer knows us by
		// our number alone, so a copy of what was lost there is as good on the new way.
		h := m.header(m.path.remote.ID, p.flags)
		h.Seq = p.seq
		out = h.Append(p.buf[:0])[:len(p.buf)]
		m.emit(m.path.remote, out)
	}
}

// Acknowledgement is a packet that says where we stand, addressed to another stream id than the remote's. It answers a question, or
// none if that is 0. It is valid until the next call.
func (m *Machine) Acknowledgement(remoteID, question uint32) []byte {
	return appendQuestion(m.header(remoteID, 0).Append(m.pool.build()), question)
}

// Heartbeat is a packet that the peer answers at once, addressed as Acknowledgement is. It asks a question, see Question, or none
// if that is 0.
func (m *Machine) Heartbeat(remoteID, question uint32) []byte {
	return appendQuestion(m.header(remoteID, FlagHeartbeat).Append(m.pool.build()), question)
}

// header is the header of a packet that leaves now, with a stream id of the remote. Of numbers, it names the next that
// was never sent: an acknowledgement of anything beyond is a lie.
func (m *Machine) header(id uint32, flags Flags) Header {
	return Header{Flags: flags, StreamID: id, Window: m.in.advertise(), Seq: m.out.sent, Ack: m.in.expected}
}

// control begins a packet to the remote that consumes no number.
func (m *Machine) control(flags Flags) []byte {
	return m.header(m.path.remote.ID, flags).Append(m.pool.build())
}

func (m *Machine) transmitControl(b []byte) { m.emit(m.path.remote, b) }

// emit is the one place where a datagram leaves.
func (m *Machine) emit(to *Remote, b []byte) {
	m.stats.PacketsSent++
	m.stats.BytesSent += uint64(len(b))
	m.path.sent(to, len(b))
	m.owner.Transmit(to.Addr, b)
}

// appendBlocks appends what was received above the gap. Of more blocks than fit, those are named that are news, the lowest, the highest, and
// the others in turn, since acknowledgements get lost. Naming only the lowest, as the reference does, leaves the sender guessing about the
// rest until the gaps are closed.
func (m *Machine) appendBlocks(b []byte) []byte {
	runs := m.in.queue.runs
	last := len(runs) - 1
	news, others := last, 0
	if len(runs) > MaxSACKBlocks {
		for i := range runs[lowBlocks:last] {
			if runs[lowBlocks+i].news > 0 {
				others++
			}
		}
		const room = MaxSACKBlocks - lowBlocks - 1
		news = min(others, room)
		others = room - news
	}
	for i := range runs {
		r := &runs[i]
		switch {
		case i < lowBlocks || i == last:
		case r.news > 0 && news > 0:
			news--
		case others > 0 && !r.Start.Before(m.ack.turn):
			others--
			m.ack.turn = r.End
		default:
			continue
		}
		r.news -= min(r.news, 1)
		b = AppendBlock(b, r.Block)
	}
	if others > 0 {
		m.ack.turn = m.in.expected
	}
	return b
}

// sendAck sends a packet that only acknowledges, with blocks if there is a gap.
func (m *Machine) sendAck() {
	n := len(m.in.queue.runs)
	switch {
	case n > 0 && m.path.allowance.Allows(HeaderSize+blockSize*min(n, MaxSACKBlocks)):
		m.transmitControl(m.appendBlocks(m.control(FlagSACK)))
	case m.path.allowance.Allows(HeaderSize):
		m.transmitControl(m.control(0))
	default:
		return // the next packet from there brings enough for it
	}
	m.ack.done()
}

// answer answers a heartbeat: with the next packet that acknowledges, or at once if it asks a question.
func (m *Machine) answer(question uint32) {
	if question == 0 || m.path.remote == nil {
		m.ack.needed = true
		return
	}
	if m.path.allowance.Allows(HeaderSize + questionSize) {
		m.transmitControl(m.Acknowledgement(m.path.remote.ID, question))
	}
}

func (m *Machine) sendHeartbeat() {
	if m.path.allowance.Allows(HeaderSize) {
		m.transmitControl(m.control(FlagHeartbeat))
	}
}
