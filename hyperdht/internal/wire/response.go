package wire

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

const (
	responseFlagCloser = 4
	responseFlagError  = 8
)

// Response is a response packet:
//
//	13 · uint flags (1 id, 2 token, 4 closer, 8 error, 16 value) · uint16 tid · ipv4Address to ·
//	[fixed32 id] · [fixed32 token] · [array(ipv4Address) closer] · [uint error] · [buffer value]
type Response struct {
	// TID is the request's.
	TID uint16
	// To is the requester as the responder sees it.
	To    netip.AddrPort
	ID    *id.NodeID
	Token *id.Token
	// Closer are nodes nearer to the target; never written when there are none.
	Closer []netip.AddrPort
	// Error is a Code; never written when CodeNone.
	Error uint64
	// Value is nil if absent; empty and not nil is present.
	Value []byte
}

// Size is the number of bytes Append appends.
func (m Response) Size() int {
	n := packetSize(m.ID, m.Token, m.Value)
	if len(m.Closer) > 0 {
		n += compact.AddrsSize(len(m.Closer))
	}
	if m.Error != CodeNone {
		n += compact.UintSize(m.Error)
	}
	return n
}

// Append appends the packet.
func (m Response) Append(dst []byte) []byte {
	dst = append(dst, typeResponse, flag(m.ID != nil, packetFlagID)|
		flag(m.Token != nil, packetFlagToken)|
		flag(len(m.Closer) > 0, responseFlagCloser)|
		flag(m.Error != CodeNone, responseFlagError)|
		flag(m.Value != nil, packetFlagValue))
	dst = compact.AppendUint16(dst, m.TID)
	dst = compact.AppendAddr(dst, m.To)
	if m.ID != nil {
		dst = append(dst, m.ID[:]...)
	}
	if m.Token != nil {
		dst = append(dst, m.Token[:]...)
	}
	if len(m.Closer) > 0 {
		dst = compact.AppendAddrs(dst, m.Closer)
	}
	if m.Error != CodeNone {
		dst = compact.AppendUint(dst, m.Error)
	}
	if m.Value != nil {
		dst = compact.AppendBytes(dst, m.Value)
	}
	return dst
}

// ParseResponse reads a response packet. Its keys and its value point into b.
func ParseResponse(b []byte) (Response, error) {
	var m Response
	if err := m.Parse(b); err != nil {
		return Response{}, err
	}
	return m, nil
}

// Parse is like ParseResponse but reuses the memory of m.Closer. After an error the contents of m are undefined.
func (m *Response) Parse(b []byte) error {
	*m = Response{Closer: m.Closer[:0]}
	r := compact.NewReader(b)
	if r.Uint8() != typeResponse && r.Err() == nil {
		return ErrPacketType
	}
	flags := r.Uint()
	m.TID = r.Uint16()
	m.To = r.Addr()
	m.ID = (*id.NodeID)(borrowKeyIf(&r, flags&packetFlagID != 0))
	m.Token = (*id.Token)(borrowKeyIf(&r, flags&packetFlagToken != 0))
	if flags&responseFlagCloser != 0 {
		m.Closer = r.ReadAddrs(m.Closer, compact.MaxArray)
	}
	if flags&responseFlagError != 0 {
		m.Error = r.Uint()
	}
	if flags&packetFlagValue != 0 {
		m.Value = r.Bytes()
	}
	return r.Err()
}
