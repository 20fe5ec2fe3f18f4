package udx

import (
	"encoding/binary"
	"errors"
)

// Seq is a packet's sequence number. It counts packets, not bytes, modulo 2^32; two numbers are
// compared by their signed distance, so wrapping is seamless (§3).
type Seq uint32

// Before reports whether s comes before t. It is not transitive for numbers more than 2^31 apart, so a chain of
// these does not bound a number from the network; Within does.
func (s Seq) Before(t Seq) bool { return int32(s-t) < 0 }

// Within reports whether s lies in [from, to]: at most to-from steps after from, whatever s is.
func (s Seq) Within(from, to Seq) bool { return s-from <= to-from }

// Flags are the kinds of content of a packet.
type Flags uint8

// The flags of §1. Only the combinations 0, DATA, END, DATA|END, SACK, MESSAGE, DESTROY and HEARTBEAT
// may be sent; others are read differently by different generations of peers.
const (
	FlagData Flags = 1 << iota
	FlagEnd
	FlagSACK
	FlagMessage
	FlagDestroy
	FlagHeartbeat
)

// Errors of ParsePacket.
var (
	// ErrNotUDX: the datagram belongs to another protocol on the socket.
	ErrNotUDX = errors.New("udx: not a UDX packet")
	// ErrPadding: the padding is longer than the packet. It is swallowed without an answer (§1.2).
	ErrPadding = errors.New("udx: padding beyond the end of the packet")
)

// Header is the fixed part of a packet, little endian on the wire:
//
//	0 magic 0xff · 1 version 1 · 2 flags · 3 data offset · 4 stream id · 8 window · 12 seq · 16 ack
type Header struct {
	Flags Flags
	// DataOffset is the number of bytes between the header and the payload: SACK blocks or padding.
	DataOffset uint8
	// StreamID is the id chosen by the receiver of the packet.
	StreamID uint32
	// Window is the number of further bytes that the sender of the packet can buffer.
	Window uint32
	// Seq is the packet's own number, or the next unused one if it consumes none.
	Seq Seq
	// Ack is the next number expected from the other side. It counts in every packet but HEARTBEAT.
	Ack Seq
}

// Append appends the header's 20 bytes.
func (h Header) Append(dst []byte) []byte {
	dst = append(dst, magic, version, byte(h.Flags), h.DataOffset)
	dst = binary.LittleEndian.AppendUint32(dst, h.StreamID)
	dst = binary.LittleEndian.AppendUint32(dst, h.Window)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.Seq))
	return binary.LittleEndian.AppendUint32(dst, uint32(h.Ack))
}

// ParseHeader reads a header and returns what follows it. Anything that is not UDX is ErrNotUDX.
// Unknown flags are kept and mean nothing (§1).
func ParseHeader(b []byte) (Header, []byte, error) {
	if len(b) < HeaderSize || b[0] != magic || b[1] != version {
		return Header{}, nil, ErrNotUDX
	}
	return Header{
		Flags:      Flags(b[2]),
		DataOffset: b[3],
		StreamID:   binary.LittleEndian.Uint32(b[4:]),
		Window:     binary.LittleEndian.Uint32(b[8:]),
		Seq:        Seq(binary.LittleEndian.Uint32(b[12:])),
		Ack:        Seq(binary.LittleEndian.Uint32(b[16:])),
	}, b[HeaderSize:], nil
}

// PeekStreamID returns the id that a datagram is addressed to, or false if it is not UDX.
func PeekStreamID(b []byte) (uint32, bool) {
	if len(b) < HeaderSize || b[0] != magic || b[1] != version {
		return 0, false
	}
	return binary.LittleEndian.Uint32(b[4:]), true
}

// PeekFlags returns the flags of a packet that PeekStreamID found to be UDX.
func PeekFlags(b []byte) Flags { return Flags(b[2]) }

// First returns the payload of a packet with the first bytes of a stream, or with its end before them; nil of any other.
func First(b []byte) []byte {
	if PeekFlags(b)&(FlagData|FlagEnd) == 0 {
		return nil
	}
	p, err := ParsePacket(b)
	if err != nil || p.Seq != 0 {
		return nil
	}
	return p.Payload
}

// Question returns the number of the question that a heartbeat asks or that a plain acknowledgement answers; 0 if there is none.
// It follows the header, in 4 bytes. The reference ignores it, and so do earlier versions, whose answers name no question.
func Question(b []byte) uint32 {
	if len(b) != HeaderSize+questionSize || b[3] != 0 || PeekFlags(b)&^FlagHeartbeat != 0 {
		return 0
	}
	return binary.LittleEndian.Uint32(b[HeaderSize:])
}

// appendQuestion appends the number of a question to a header, unless it is 0.
func appendQuestion(dst []byte, question uint32) []byte {
	if question == 0 {
		return dst
	}
	return binary.LittleEndian.AppendUint32(dst, question)
}

// Padded reports whether the packet has padding between header and payload, which tries what size the path carries.
func Padded(b []byte) bool { return b[3] > 0 && PeekFlags(b)&FlagSACK == 0 }

// PutStreamID rewrites the id of the packet in b, which is all that a relay changes (§13).
func PutStreamID(b []byte, id uint32) { binary.LittleEndian.PutUint32(b[4:], id) }

// Block is a run of packets [Start, End) that the receiver has above the acknowledged ones.
type Block struct{ Start, End Seq }

// highest is the end of the packets that p acknowledges.
func (p *Packet) highest() Seq {
	if n := p.SACK.Len(); n > 0 {
		return p.SACK.At(n - 1).End
	}
	return p.Ack
}

// Blocks are the selective acknowledgements of a packet as they stand in it.
type Blocks []byte

// Len is the number of whole blocks; a remainder is ignored (§1.1).
func (b Blocks) Len() int { return len(b) / blockSize }

// At returns block i.
func (b Blocks) At(i int) Block {
	b = b[i*blockSize:]
	return Block{Seq(binary.LittleEndian.Uint32(b)), Seq(binary.LittleEndian.Uint32(b[4:]))}
}

// AppendBlock appends one block.
func AppendBlock(dst []byte, b Block) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(b.Start))
	return binary.LittleEndian.AppendUint32(dst, uint32(b.End))
}

// Packet is a datagram taken apart. SACK and Payload borrow from it.
type Packet struct {
	Header
	// SACK are the blocks of a packet with FlagSACK.
	SACK Blocks
	// Payload follows the header, the blocks and the padding.
	Payload []byte
}

// ParsePacket takes a datagram apart. The SACK area is as long as the data offset says, or all of the
// packet where that is 0 or leaves no payload (§1.1).
func ParsePacket(b []byte) (Packet, error) {
	h, rest, err := ParseHeader(b)
	if err != nil {
		return Packet{}, err
	}
	p := Packet{Header: h}
	offset := int(h.DataOffset)
	if offset > len(rest) {
		return p, ErrPadding
	}
	if h.Flags&FlagSACK != 0 {
		if offset == 0 {
			offset = len(rest)
		}
		p.SACK = Blocks(rest[:offset])
	}
	p.Payload = rest[offset:]
	return p, nil
}

// Append appends the packet: its header, its blocks or else DataOffset bytes of padding, its payload.
func (p Packet) Append(dst []byte) []byte {
	dst = p.Header.Append(dst)
	if p.Flags&FlagSACK != 0 {
		dst = append(dst, p.SACK...)
	} else {
		dst = appendPadding(dst, int(p.DataOffset))
	}
	return append(dst, p.Payload...)
}

// Size is the length of the packet on the wire, IP and UDP headers left out.
func (p Packet) Size() int {
	if p.Flags&FlagSACK != 0 {
		return HeaderSize + len(p.SACK) + len(p.Payload)
	}
	return HeaderSize + int(p.DataOffset) + len(p.Payload)
}

var padding [255]byte

func appendPadding(dst []byte, n int) []byte { return append(dst, padding[:n]...) }
