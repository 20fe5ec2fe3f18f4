package wire

import (
	"errors"
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// ErrPacketType means that a packet is not what the parser is for, by its first byte.
var ErrPacketType = errors.New("wire: not a packet of this type")

// IsRequest reports whether a datagram looks like a request. It may still fail to parse.
func IsRequest(b []byte) bool { return len(b) >= 2 && b[0] == typeRequest }

// IsResponse reports whether a datagram looks like a response. It may still fail to parse.
func IsResponse(b []byte) bool { return len(b) >= 2 && b[0] == typeResponse }

const (
	packetFlagID    = 1
	packetFlagToken = 2
	packetFlagValue = 16

	requestFlagInternal = 4
	requestFlagTarget   = 8
)

// Request is a request packet:
//
//	03 · uint flags (1 id, 2 token, 4 internal, 8 target, 16 value) · uint16 tid · ipv4Address to ·
//	[fixed32 id] · [fixed32 token] · uint command · [fixed32 target] · [buffer value]
type Request struct {
	TID uint16
	// To is the destination as the sender dials it.
	To netip.AddrPort
	// ID is the sender's own claim. The receiver compares it with the id of the source address.
	ID       *id.NodeID
	Token    *id.Token
	Internal bool
	Command  uint64
	Target   *id.Target
	// Value is nil if absent; empty and not nil is present.
	Value []byte
}

// packetSize is the size of what requests and responses have in common.
func packetSize(nodeID *id.NodeID, token *id.Token, value []byte) int {
	n := 2 + 2 + compact.AddrSize
	if nodeID != nil {
		n += len(nodeID)
	}
	if token != nil {
		n += len(token)
	}
	if value != nil {
		n += compact.BytesSize(len(value))
	}
	return n
}

// Size is the number of bytes Append appends.
func (m Request) Size() int {
	n := packetSize(m.ID, m.Token, m.Value) + compact.UintSize(m.Command)
	if m.Target != nil {
		n += len(m.Target)
	}
	return n
}

// Append appends the packet.
func (m Request) Append(dst []byte) []byte {
	dst = append(dst, typeRequest, flag(m.ID != nil, packetFlagID)|
		flag(m.Token != nil, packetFlagToken)|
		flag(m.Internal, requestFlagInternal)|
		flag(m.Target != nil, requestFlagTarget)|
		flag(m.Value != nil, packetFlagValue))
	dst = compact.AppendUint16(dst, m.TID)
	dst = compact.AppendAddr(dst, m.To)
	if m.ID != nil {
		dst = append(dst, m.ID[:]...)
	}
	if m.Token != nil {
		dst = append(dst, m.Token[:]...)
	}
	dst = compact.AppendUint(dst, m.Command)
	if m.Target != nil {
		dst = append(dst, m.Target[:]...)
	}
	if m.Value != nil {
		dst = compact.AppendBytes(dst, m.Value)
	}
	return dst
}

// ParseRequest reads a request packet. Its keys and its value point into b.
func ParseRequest(b []byte) (Request, error) {
	r := compact.NewReader(b)
	if r.Uint8() != typeRequest && r.Err() == nil {
		return Request{}, ErrPacketType
	}
	flags := r.Uint()
	m := Request{
		TID:      r.Uint16(),
		To:       r.Addr(),
		ID:       (*id.NodeID)(borrowKeyIf(&r, flags&packetFlagID != 0)),
		Token:    (*id.Token)(borrowKeyIf(&r, flags&packetFlagToken != 0)),
		Internal: flags&requestFlagInternal != 0,
		Command:  r.Uint(),
		Target:   (*id.Target)(borrowKeyIf(&r, flags&requestFlagTarget != 0)),
	}
	if flags&packetFlagValue != 0 {
		m.Value = r.Bytes()
	}
	if err := r.Err(); err != nil {
		return Request{}, err
	}
	return m, nil
}
