package udx

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/ports/host"
)

// ReceiveFrom is Receive for owners that Limit what is sent: the source of the datagram counts.
func (m *Machine) ReceiveFrom(now host.Instant, from netip.AddrPort, datagram []byte) {
	if m.fromThere = m.remote != nil && m.remote.Addr == from; m.fromThere {
		m.allowance.Receive(len(datagram))
	}
	m.Receive(now, datagram)
	m.fromThere = false
}

// Receive takes one packet of this stream, in the order of §5. Callbacks may end the stream at any
// step; each is followed by a look.
func (m *Machine) Receive(now host.Instant, datagram []byte) {
	if m.closed {
		return
	}
	m.stats.PacketsReceived++
	m.stats.BytesReceived += uint64(len(datagram))
	p, err := ParsePacket(datagram)
	switch {
	case p.Flags&FlagHeartbeat != 0:
		m.ackNeeded = true // and nothing else of it counts
		return
	case err != nil:
		m.stats.BadPadding++
		return
	}
	repeated := p.Flags&(FlagData|FlagEnd) != 0 && p.Seq.Before(m.expected)
	m.receiveStream(&p)
	if m.closed {
		return
	}
	if p.Flags&FlagMessage != 0 {
		if m.owner.Message(p.Payload); m.closed {
			return
		}
	}
	if m.sent.Before(p.Ack) {
		m.stats.BadAcks++
		return // acks something never sent: nothing more of it can be believed
	}
	m.receiveWindowUpdate(&p)
	if m.receiveAck(now, &p); m.closed {
		return
	}
	if m.answerSize(now, &p, repeated); m.closed {
		return
	}
	if p.Flags&(FlagData|FlagEnd) != 0 {
		m.ackNeeded = true
		if m.unackedData++; m.unackedData >= maxMergedAcks && m.remote != nil {
			m.sendAck()
		}
	}
}

// receiveStream takes the part of a packet that belongs to the byte stream.
func (m *Machine) receiveStream(p *Packet) {
	if p.Seq.Before(m.expected) {
		if p.Flags&(FlagData|FlagEnd) != 0 {
			m.stats.Duplicates++
		}
		return
	}
	if p.Flags&(FlagData|FlagEnd) != 0 && !m.endSeen {
		m.receiveData(p)
	}
	if p.Flags&FlagDestroy != 0 && !m.closed {
		m.close(ErrReset)
	}
}

func (m *Machine) receiveData(p *Packet) {
	payload := p.Payload
	if p.Flags&FlagData == 0 {
		payload = nil // bytes of a bare END are nobody's
	}
	end := p.Flags&FlagEnd != 0
	// What is handed over at once needs no room.
	held := m.recv.unread + m.recv.gapped + len(payload)
	switch {
	case p.Seq == m.expected && m.reading():
	case p.Seq-m.expected >= maxReorder, held > m.buffer+windowSlack, m.beyondMemory(p.Seq, len(payload)):
		m.stats.BeyondWindow++ // not taken, so not acked: it will come again
		return
	}
	if p.Seq != m.expected {
		if m.recv.has(p.Seq) {
			m.stats.Duplicates++
			return
		}
		m.recv.insert(m.pool, p.Seq, payload, end)
		return
	}
	m.consume(payload, end)
	for !m.closed && !m.endSeen {
		slot, ok := m.recv.take(m.pool, m.expected)
		if !ok {
			break
		}
		m.consume(slot.payload, slot.end)
		m.pool.recycle(slot.payload)
	}
	if m.endSeen && len(m.recv.runs) > 0 {
		m.recv.dropGapped(m.pool) // numbers after END are nonsense; do not report them
	}
}

// beyondMemory reports whether a confined peer's packet would take more memory than there is for it.
func (m *Machine) beyondMemory(s Seq, n int) bool {
	return m.confined > 0 && m.recv.memory+m.recv.cost(m.expected, s, n) > m.confined
}

// reading reports whether in-order data goes straight to the reader.
func (m *Machine) reading() bool { return !m.paused && m.recv.unread == 0 }

// consume moves past the packet expected next.
func (m *Machine) consume(payload []byte, end bool) {
	m.expected++
	m.endSeen = m.endSeen || end
	switch {
	case len(payload) == 0:
	case m.reading():
		m.owner.Data(payload)
	default:
		m.recv.hold(m.pool, payload)
	}
}

// Deliver hands over what a pause held back. A window that had shrunk to almost nothing is announced
// again with the next Flush, since the peer learns of it from no other packet (§7).
func (m *Machine) Deliver() {
	for !m.closed && !m.paused && m.recv.unread > 0 {
		b := m.recv.unhold()
		m.owner.Data(b)
		m.pool.recycle(b)
	}
	reopened := max(m.buffer/4, minWindow)
	if !m.closed && m.remote != nil && m.advertised < reopened && m.receiveWindow() >= reopened && !m.endSeen {
		m.ackNeeded = true
	}
}

// receiveWindowUpdate takes the peer's window unless a newer packet has set it (§7). A packet from beyond a gap does not set it: a
// garbled packet whose number the peer has yet to reach would otherwise fix the window until then.
func (m *Machine) receiveWindowUpdate(p *Packet) {
	if p.Ack.Before(m.acked) || m.expected.Before(p.Seq) {
		return
	}
	if m.wlSeq.Before(p.Seq) || m.wlSeq == p.Seq && !p.Ack.Before(m.wlAck) {
		m.window, m.wlSeq, m.wlAck = p.Window, p.Seq, p.Ack
		if m.window > 0 {
			m.timers.zeroWindow = never
		}
	}
}
