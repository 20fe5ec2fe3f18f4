package udx

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Flush lets everything leave that may: new and lost packets, and the acknowledgement of what was
// received since the last Flush, in a packet of its own only where no data carries it. It belongs at
// the end of each turn that touched the machine. It also reports the end of the stream, which may be
// told only after it was acknowledged (§4.4).
func (m *Machine) Flush(now host.Instant) {
	if m.closed {
		return
	}
	if m.remote != nil {
		m.transmit(now)
		m.askSize(now)
		if m.ackNeeded {
			m.sendAck()
		}
		m.updateZeroWindow(now)
	}
	m.wrote = false
	m.reportEnd()
	if !m.closed && m.blocked && m.queued+drainSlack <= m.highWater() {
		m.blocked = false
		m.owner.Drain()
	}
}

// reportEnd tells the reader that the peer has ended, once all was handed over and acknowledged.
func (m *Machine) reportEnd() {
	if !m.endSeen || m.endReported || m.ackNeeded || m.paused || m.recv.unread > 0 {
		return
	}
	m.endReported = true
	m.owner.Ended()
	if m.localDone() {
		m.close(nil)
	}
}

// transmit sends lost packets, then new ones, as far as window, congestion control and pacing let it.
func (m *Machine) transmit(now host.Instant) {
	m.limit = limitNone
	m.timers.pace = never
	for {
		var p *packet
		if s := m.lost.next(m.acked, m.sent); s != m.sent {
			p = m.ring.at(s) // the lowest first: only it brings the acknowledgement on
		} else {
			if m.sent == m.next {
				break
			}
			p = m.ring.at(m.sent)
			if !m.windowAllows(p) {
				m.limit = limitWindow
				break
			}
		}
		if !m.mayLeave(p) {
			m.limit = limitAllowance
			break
		}
		if m.inFlight > 0 && m.inFlight+p.size() > m.bbr.cwnd {
			m.limit = limitCwnd
			break
		}
		if now.Before(m.timers.paceNext) {
			m.limit = limitPacing
			m.timers.pace = max(m.timers.paceNext, now.Add(paceWake))
			break
		}
		m.tryProbe(p)
		m.send(now, p)
	}
	if (m.limit == limitNone || m.limit == limitWindow || m.limit == limitAllowance) && m.inFlight < m.bbr.cwnd {
		m.appLimited = max(m.delivered+int64(m.inFlight), 1)
	}
}

// mayLeave reports whether p's remote may be sent to: an address that has not answered gets a few bytes only. No timer waits
// for that to change, since only a packet from there changes it.
func (m *Machine) mayLeave(p *packet) bool {
	return p.remote != m.remote || m.allowance.Allows(len(p.buf))
}

// windowAllows reports whether the peer has room for p. Any window but 0 has room for one packet (§7).
func (m *Machine) windowAllows(p *packet) bool {
	if m.window == 0 || int(m.sent-m.acked) >= maxOutstanding {
		return false
	}
	return m.inFlightPayload == 0 || m.inFlightPayload+p.payload() <= int(m.window)
}

// send transmits p for the first time or again. Retransmissions keep their number, flags and payload,
// and refresh ack and window (§9.1).
func (m *Machine) send(now host.Instant, p *packet) {
	fresh := p.transmits == 0
	if p.flying {
		m.flight.remove(p)
	}
	if m.inFlight == 0 {
		if m.appLimited > 0 {
			m.bbr.onRestart(now, m.delivered, m.mss())
		}
		m.firstSentAt, m.deliveredAt = now, now
	}
	m.transmissions++
	p.sent, p.order = now, m.transmissions
	p.transmits++
	p.delivered, p.deliveredAt, p.firstSentAt = m.delivered, m.deliveredAt, m.firstSentAt
	p.appLimited = m.appLimited > 0
	m.flight.push(p)
	m.inFlight += p.size()
	m.inFlightPayload += p.payload()
	if fresh {
		m.unacked.room(m.acked, p.seq)
		m.lost.room(m.acked, p.seq)
		m.unacked.add(p.seq)
		m.sent++
	} else {
		m.lost.remove(p.seq)
		m.stats.Retransmits++
	}
	m.pace(now, p.size())
	m.writeOut(p)
	m.armOnSend(now, fresh)
	if p.remote == m.remote && len(m.recv.runs) == 0 {
		m.acknowledged()
	}
}

// tryProbe makes a packet that was never sent an MTU probe, if it is time for one.
func (m *Machine) tryProbe(p *packet) {
	if p.transmits > 0 || m.changing || m.allowance.Limited() {
		return
	}
	if pad, ok := m.mtu.padding(len(p.buf) + p.remote.overhead()); ok {
		m.mtu.out, p.probe, p.pad = true, true, uint8(pad)
	}
}

// writeOut puts the header in front of p's payload, with padding between only while p is a probe.
func (m *Machine) writeOut(p *packet) {
	h := m.header(p.flags)
	h.StreamID, h.Seq = p.remote.ID, p.seq
	out := h.Append(p.buf[:0])[:len(p.buf)]
	if p.pad > 0 {
		h.DataOffset, p.pad = p.pad, 0
		out = h.Append(m.pool.build())
		out = appendPadding(out, int(h.DataOffset))
		out = append(out, p.buf[HeaderSize:]...)
	}
	m.emit(p.remote, out)
	if p.remote != m.remote && p.transmits > 1 && m.allowance.Allows(len(p.buf)) {
		// The old way may be gone: a relay whose other end has found the direct path first. The peer knows us by
		// our number alone, so a copy of what was lost there is as good on the new way.
		h := m.header(p.flags)
		h.Seq = p.seq
		out = h.Append(p.buf[:0])[:len(p.buf)]
		m.emit(m.remote, out)
	}
}

// Acknowledgement is a packet that says where we stand, addressed to another stream id than the remote's. It is
// valid until the next call.
func (m *Machine) Acknowledgement(remoteID uint32) []byte {
	h := m.header(0)
	h.StreamID = remoteID
	return h.Append(m.pool.build())
}

// Heartbeat is a packet that the peer answers at once, addressed as Acknowledgement is.
func (m *Machine) Heartbeat(remoteID uint32) []byte {
	h := m.header(FlagHeartbeat)
	h.StreamID = remoteID
	return h.Append(m.pool.build())
}

// pace books the time that size bytes take at the pacing rate. Idle time gives credit for paceCredit at
// most, so that a late timer does not cost throughput.
func (m *Machine) pace(now host.Instant, size int) {
	rate := max(m.bbr.pacing, 1)
	credit := min(paceCredit, time.Duration(int64(paceBurst)*int64(time.Second)/rate))
	start := max(m.timers.paceNext, now.Add(-credit))
	m.timers.paceNext = start.Add(time.Duration(int64(size) * int64(time.Second) / rate))
}

// header is the header of a packet that leaves now. Of numbers, it names the next that was never sent:
// an acknowledgement of anything beyond is a lie.
func (m *Machine) header(flags Flags) Header {
	m.advertised = m.receiveWindow()
	h := Header{Flags: flags, Window: uint32(m.advertised), Seq: m.sent, Ack: m.expected}
	if m.remote != nil {
		h.StreamID = m.remote.ID
	}
	return h
}

// receiveWindow is how much more we can take: nothing, or at least one full packet. A confined peer's packets are held in
// buffers that may be half empty, so it has half of the memory that is left.
func (m *Machine) receiveWindow() int {
	w := m.buffer - m.recv.unread - m.recv.gapped
	if m.confined > 0 {
		w = min(w, (m.confined-m.recv.memory)/2)
	}
	if w < minWindow {
		return 0
	}
	return w
}

// control begins a packet that consumes no number.
func (m *Machine) control(flags Flags) []byte { return m.header(flags).Append(m.pool.build()) }

func (m *Machine) transmitControl(b []byte) { m.emit(m.remote, b) }

// emit is the one place where a datagram leaves.
func (m *Machine) emit(to *Remote, b []byte) {
	m.stats.PacketsSent++
	m.stats.BytesSent += uint64(len(b))
	if to == m.remote {
		m.allowance.Send(len(b))
	}
	m.owner.Transmit(to.Addr, b)
}

// sendAck sends a packet that only acknowledges, with blocks if there is a gap. Of more blocks than fit,
// those that can be news are named: the low ones, where repairs arrive, and the high ones, where new
// data arrives. Naming only the lowest, as the reference does, leaves the sender guessing about the
// rest until the gaps are closed.
func (m *Machine) sendAck() {
	flags, n := Flags(0), len(m.recv.runs)
	if n > 0 && m.allowance.Allows(HeaderSize+blockSize*min(n, MaxSACKBlocks)) {
		flags = FlagSACK
	} else {
		n = 0
	}
	if !m.allowance.Allows(HeaderSize) {
		return // the next packet from there brings enough for it
	}
	b := m.control(flags)
	for i := 0; i < n; i++ {
		if i == MaxSACKBlocks/2 {
			i = max(i, n-MaxSACKBlocks/2)
		}
		b = AppendBlock(b, m.recv.runs[i])
	}
	m.transmitControl(b)
	m.acknowledged()
}

func (m *Machine) acknowledged() { m.ackNeeded, m.unackedData = false, 0 }

func (m *Machine) sendHeartbeat() {
	if m.allowance.Allows(HeaderSize) {
		m.transmitControl(m.control(FlagHeartbeat))
	}
}
