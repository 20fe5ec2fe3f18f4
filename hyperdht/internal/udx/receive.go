package udx

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/ports/host"
)

// ReceiveFrom is Receive for owners that Limit what is sent: the source of the datagram counts.
func (m *Machine) ReceiveFrom(now host.Instant, from netip.AddrPort, datagram []byte) {
	m.path.arrive(from, len(datagram))
	m.Receive(now, datagram)
	if m.path.fromThere {
		m.heard(now)
	}
	m.path.fromThere = false
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
		m.answer(Question(datagram)) // and nothing else of it counts
		return
	case err != nil:
		m.stats.BadPadding++
		return
	}
	repeated := p.Flags&(FlagData|FlagEnd) != 0 && p.Seq.Before(m.in.expected)
	m.receiveStream(&p)
	if m.closed {
		return
	}
	if p.Flags&FlagMessage != 0 {
		if m.owner.Message(p.Payload); m.closed {
			return
		}
	}
	if m.out.sent.Before(p.Ack) {
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
		if m.ack.packet() && m.path.remote != nil {
			m.sendAck()
		}
	}
}

// receiveStream takes the part of a packet that belongs to the byte stream.
func (m *Machine) receiveStream(p *Packet) {
	if p.Seq.Before(m.in.expected) {
		if p.Flags&(FlagData|FlagEnd) != 0 {
			m.stats.Duplicates++
		}
		return
	}
	if p.Flags&(FlagData|FlagEnd) != 0 && !m.in.endSeen {
		m.receiveData(p)
	}
	if p.Flags&FlagDestroy != 0 && !m.closed {
		m.close(ErrReset)
	}
}

func (m *Machine) receiveData(p *Packet) {
	payload := p.Payload
	if p.Flags&FlagData == 0 {
		payload = nil // bytes of a bare END belong to no stream
	}
	end := p.Flags&FlagEnd != 0
	// What is handed over at once needs no room.
	if (p.Seq != m.in.expected || !m.in.reading()) && !m.in.hasRoom(p.Seq, len(payload)) {
		m.stats.BeyondWindow++ // not taken, so not acked: it will come again
		return
	}
	if p.Seq != m.in.expected {
		if m.in.queue.has(p.Seq) {
			m.stats.Duplicates++
			return
		}
		m.in.queue.insert(m.pool, p.Seq, payload, end)
		return
	}
	m.consume(payload, end)
	for !m.closed && !m.in.endSeen {
		slot, ok := m.in.queue.take(m.pool, m.in.expected)
		if !ok {
			break
		}
		m.consume(slot.payload, slot.end)
		m.pool.recycle(slot.payload)
	}
	if m.in.endSeen {
		m.in.queue.dropGapped(m.pool) // numbers after END are nonsense; do not report them
	}
}

// consume moves past the packet expected next.
func (m *Machine) consume(payload []byte, end bool) {
	m.in.expected++
	m.in.endSeen = m.in.endSeen || end
	switch {
	case len(payload) == 0:
	case m.in.reading():
		m.owner.Data(payload)
	default:
		m.in.queue.hold(m.pool, payload)
	}
}

// Deliver hands over what a pause held back. A window that had shrunk to almost nothing is announced
// again with the next Flush, since the peer learns of it from no other packet (§7).
func (m *Machine) Deliver() {
	for !m.closed && !m.in.paused && m.in.queue.unread > 0 {
		b := m.in.queue.unhold()
		m.owner.Data(b)
		m.pool.recycle(b)
	}
	if !m.closed && m.path.remote != nil && m.in.reopened() {
		m.ack.needed = true
	}
}

// receiveWindowUpdate takes the peer's window unless a newer packet has set it (§7). A packet from beyond a gap does not set it: a
// garbled packet whose number the peer has yet to reach would otherwise fix the window until then.
func (m *Machine) receiveWindowUpdate(p *Packet) {
	if p.Ack.Before(m.out.acked) || m.in.expected.Before(p.Seq) {
		return
	}
	if m.window.update(p, m.loss.rack.fack) && p.Window > 0 {
		m.timers.zeroWindow = never
	}
}
