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
	if why != limitCwnd && why != limitPacing && m.out.flight.bytes < m.bbr.cwnd {
		m.rate.limitByApplication(m.out.flight.bytes)
	}
}

// limited returns why p may not leave now.
func (m *Machine) limited(now host.Instant, p *packet) limit {
	switch {
	case p.transmits == 0 && (m.out.full() || !m.window.allows(&m.out.flight, p)):
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
	if !fresh {
		m.stats.Retransmits++
	}
	m.pacer.book(now, p.size(), m.bbr.pacing)
	m.writeOut(p)
	m.armOnSend(now, fresh)
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

// Acknowledgement is a packet that says where we stand, addressed to another stream id than the remote's. It is
// valid until the next call.
func (m *Machine) Acknowledgement(remoteID uint32) []byte {
	return m.header(remoteID, 0).Append(m.pool.build())
}

// Heartbeat is a packet that the peer answers at once, addressed as Acknowledgement is.
func (m *Machine) Heartbeat(remoteID uint32) []byte {
	return m.header(remoteID, FlagHeartbeat).Append(m.pool.build())
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

// sendAck sends a packet that only acknowledges, with blocks if there is a gap. Of more blocks than fit,
// those that can be news are named: the low ones, where repairs arrive, and the high ones, where new
// data arrives. Naming only the lowest, as the reference does, leaves the sender guessing about the
// rest until the gaps are closed.
func (m *Machine) sendAck() {
	flags, n := Flags(0), len(m.in.queue.runs)
	if n > 0 && m.path.allowance.Allows(HeaderSize+blockSize*min(n, MaxSACKBlocks)) {
		flags = FlagSACK
	} else {
		n = 0
	}
	if !m.path.allowance.Allows(HeaderSize) {
		return // the next packet from there brings enough for it
	}
	b := m.control(flags)
	for i := 0; i < n; i++ {
		if i == MaxSACKBlocks/2 {
			i = max(i, n-MaxSACKBlocks/2)
		}
		b = AppendBlock(b, m.in.queue.runs[i])
	}
	m.transmitControl(b)
	m.ack.done()
}

func (m *Machine) sendHeartbeat() {
	if m.path.allowance.Allows(HeaderSize) {
		m.transmitControl(m.control(FlagHeartbeat))
	}
}
