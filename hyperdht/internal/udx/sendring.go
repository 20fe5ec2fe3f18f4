package udx

import "github.com/dhtprom/dhtprom/ports/host"

// packet is one DATA or END packet from its creation to its acknowledgement. It is unsent, in flight, lost, or acknowledged and
// released; see the section on states of the package comment.
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

// packetMemory is the memory of a packet, its buffer included.
const packetMemory = largeBuffer + 152

const pointerSize = 8

func (p *packet) payload() int { return len(p.buf) - HeaderSize }

// size returns the size of the packet on the network, IP and UDP headers included.
func (p *packet) size() int { return len(p.buf) + overheadIPv4 }

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
