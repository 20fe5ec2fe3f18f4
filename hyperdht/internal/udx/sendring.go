package udx

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Remote is where packets of a stream go. It is never changed once made: packets keep the one they were
// begun with, so that after a change of remote the old ones still travel the old way (§14); retransmissions
// take both ways.
type Remote struct {
	ID   uint32
	Addr netip.AddrPort
}

func (r *Remote) overhead() int {
	if r != nil && r.Addr.Addr().Is4() {
		return overheadIPv4
	}
	return overheadIPv6
}

// packet is one DATA or END packet from its creation to its acknowledgement. It is in one place:
//
//	ring only (unsent) ──► flight ──► acked, released
//	                          └► lost ─► flight
type packet struct {
	buf    []byte // header and payload; a header is written at each transmission
	remote *Remote
	prev   *packet
	next   *packet

	seq       Seq
	flags     Flags
	flying    bool  // is in the list of packets in flight
	probe     bool  // is an MTU probe until acked or lost
	pad       uint8 // padding of its first transmission
	transmits uint16

	sent  host.Instant
	order uint64 // of the last transmission among all
	// What the connection had delivered when this packet left: the start of a rate sample.
	delivered   int64
	deliveredAt host.Instant
	firstSentAt host.Instant
	appLimited  bool
}

// packetMemory is what a packet takes, its buffer included.
const packetMemory = largeBuffer + 152

const pointerSize = 8

func (p *packet) payload() int { return len(p.buf) - HeaderSize }

// size is what the packet costs the network, IP and UDP headers included.
func (p *packet) size() int { return len(p.buf) + overheadIPv4 }

// packetList is the packets in flight in the order they left, as a list through the packets themselves.
type packetList struct{ head, tail *packet }

func (l *packetList) empty() bool { return l.head == nil }

func (l *packetList) push(p *packet) {
	p.flying, p.prev, p.next = true, l.tail, nil
	if l.tail == nil {
		l.head = p
	} else {
		l.tail.next = p
	}
	l.tail = p
}

func (l *packetList) remove(p *packet) {
	if p.prev == nil {
		l.head = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		l.tail = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.flying, p.prev, p.next = false, nil, nil
}

// sendRing finds unacked packets by number. Its length is a power of two and at least the distance
// between the oldest unacked packet and the newest.
type sendRing []*packet

func (r sendRing) at(s Seq) *packet {
	if len(r) == 0 {
		return nil
	}
	return r[int(s)&(len(r)-1)]
}

func (r sendRing) set(s Seq, p *packet) { r[int(s)&(len(r)-1)] = p }

// room returns a ring that has a slot for number next while first is the oldest in it.
func (r sendRing) room(first, next Seq) sendRing {
	n := int(next - first)
	if n < len(r) {
		return r
	}
	grown := make(sendRing, max(sendRingKept, 2*len(r)))
	for s := first; s != next; s++ {
		grown.set(s, r.at(s))
	}
	return grown
}
