// Package pcap writes the datagrams of a simulated run into a capture file that Wireshark and tcpdump open:
// pcap with nanoseconds, raw IP packets with UDP in them, checksums correct.
//
//	recorder := pcap.Record(net, file)
//	... run ...
//	err := recorder.Err()
//
// A datagram is recorded once for each segment that it was put on, with the addresses and the TTL that it had there,
// whether it arrived or not: behind a NAT it appears twice. RecordSegment records one segment alone, as a capture on a real
// network would.
package pcap

import (
	"encoding/binary"
	"io"
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

// Fixed by the file format (draft-ietf-opsawg-pcap) and by IP.
const (
	magicNanoseconds = 0xa1b23c4d
	linkTypeRaw      = 101
	snapLength       = 1 << 18
	headerSize       = 24
	recordSize       = 16

	protocolUDP  = 17
	headerSize4  = 20
	headerSize6  = 40
	udpSize      = 8
	dontFragment = 0x4000
	maxPayload   = 65535 - headerSize4 - udpSize
)

// Packet is a UDP datagram on an IP network.
type Packet struct {
	From, To netip.AddrPort
	TTL      int
	Payload  []byte
}

// Writer writes a capture file.
type Writer struct {
	w   io.Writer
	id  uint16 // of the last IPv4 packet
	buf []byte
	err error
}

// NewWriter begins a capture file.
func NewWriter(w io.Writer) *Writer {
	p := &Writer{w: w}
	var header [headerSize]byte
	le := binary.LittleEndian
	le.PutUint32(header[0:], magicNanoseconds)
	le.PutUint16(header[4:], 2) // version 2.4
	le.PutUint16(header[6:], 4)
	le.PutUint32(header[16:], snapLength)
	le.PutUint32(header[20:], linkTypeRaw)
	_, p.err = w.Write(header[:])
	return p
}

// Err returns the first write error; nothing is written after it.
func (w *Writer) Err() error { return w.err }

// Write adds a datagram. One that exceeds the size of an IP packet is skipped.
func (w *Writer) Write(at time.Time, d Packet) {
	if w.err != nil || len(d.Payload) > maxPayload {
		return
	}
	b := append(w.buf[:0], make([]byte, recordSize)...)
	if d.From.Addr().Is4() && d.To.Addr().Is4() {
		w.id++
		b = appendHeader4(b, d, w.id)
	} else {
		b = appendHeader6(b, d)
	}
	b = appendUDP(b, d)
	size := uint32(len(b) - recordSize)
	le := binary.LittleEndian
	le.PutUint32(b[0:], uint32(at.Unix()))
	le.PutUint32(b[4:], uint32(at.Nanosecond()))
	le.PutUint32(b[8:], size)
	le.PutUint32(b[12:], size)
	w.buf = b
	_, w.err = w.w.Write(b)
}

func appendHeader4(b []byte, d Packet, id uint16) []byte {
	start := len(b)
	be := binary.BigEndian
	b = append(b, 0x45, 0)
	b = be.AppendUint16(b, uint16(headerSize4+udpSize+len(d.Payload)))
	b = be.AppendUint16(b, id)
	b = be.AppendUint16(b, dontFragment)
	b = append(b, byte(d.TTL), protocolUDP, 0, 0)
	b = append(b, d.From.Addr().AsSlice()...)
	b = append(b, d.To.Addr().AsSlice()...)
	be.PutUint16(b[start+10:], fold(sum(0, b[start:])))
	return b
}

func appendHeader6(b []byte, d Packet) []byte {
	from, to := d.From.Addr().As16(), d.To.Addr().As16()
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(udpSize+len(d.Payload)))
	b = append(b, protocolUDP, byte(d.TTL))
	b = append(b, from[:]...)
	return append(b, to[:]...)
}

func appendUDP(b []byte, d Packet) []byte {
	start := len(b)
	be := binary.BigEndian
	size := udpSize + len(d.Payload)
	b = be.AppendUint16(b, d.From.Port())
	b = be.AppendUint16(b, d.To.Port())
	b = be.AppendUint16(b, uint16(size))
	b = append(b, 0, 0)
	b = append(b, d.Payload...)

	from, to := d.From.Addr().AsSlice(), d.To.Addr().AsSlice()
	check := fold(sum(sum(sum(protocolUDP+uint32(size), from), to), b[start:]))
	if check == 0 {
		check = 0xffff // 0 would mean that there is none
	}
	be.PutUint16(b[start+6:], check)
	return b
}

// sum adds b to a checksum as 16-bit words (RFC 1071).
func sum(s uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

// Record writes everything that crosses a segment of the net from now on.
func Record(n *simnet.Net, w io.Writer) *Writer {
	return record(n, w, func(simnet.Crossing) bool { return true })
}

// RecordSegment writes what crosses one segment from now on.
func RecordSegment(n *simnet.Net, s *simnet.Segment, w io.Writer) *Writer {
	return record(n, w, func(c simnet.Crossing) bool { return c.Segment == s })
}

func record(n *simnet.Net, w io.Writer, keep func(simnet.Crossing) bool) *Writer {
	p, clock := NewWriter(w), n.Clock()
	n.SetTap(func(c simnet.Crossing) {
		if keep(c) {
			p.Write(clock.Now(), Packet{From: c.From, To: c.To, TTL: c.TTL, Payload: c.Payload})
		}
	})
	return p
}
