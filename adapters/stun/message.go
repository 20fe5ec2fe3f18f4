package stun

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/pion/stun/v2"

	"github.com/dhtprom/dhtprom/internal/stunattr"
)

// message is the part of a STUN message that this package uses.
type message struct {
	kind   stun.MessageType
	id     transactionID
	mapped netip.AddrPort // the receiver's address as the sender sees it
	origin netip.AddrPort // the address that an answer was sent from
	other  netip.AddrPort // the sender's alternate address
	// unknown are the comprehension-required attributes that are not supported.
	unknown []stun.AttrType
}

type transactionID = [stun.TransactionIDSize]byte

var errMessage = errors.New("stun: malformed message")

// isSTUN reports whether a datagram is STUN, by the magic cookie and by a first byte that no DHT message and no UDX packet
// has. It matches all the methods with small numbers, Binding among them.
func isSTUN(b []byte) bool {
	return len(b) >= headerSize && b[0] <= 1 && binary.BigEndian.Uint32(b[4:]) == stunattr.MagicCookie
}

// parse parses a message. Unused attributes are skipped.
func parse(b []byte) (message, error) {
	if len(b) > maxMessage || len(b)%4 != 0 || !isSTUN(b) || int(binary.BigEndian.Uint16(b[2:])) != len(b)-headerSize {
		return message{}, errMessage
	}
	var raw stun.Message
	if err := stun.Decode(b, &raw); err != nil {
		return message{}, errMessage
	}
	if raw.Contains(stun.AttrFingerprint) && stun.Fingerprint.Check(&raw) != nil {
		return message{}, errMessage
	}
	m := message{kind: raw.Type, id: raw.TransactionID}
	for _, a := range raw.Attributes {
		var err error
		switch a.Type {
		case stun.AttrXORMappedAddress:
			m.mapped, err = stunattr.XORAddr(a.Value)
		case stun.AttrMappedAddress:
			// Servers that know the cookie send both; NATs that rewrite payloads change this one.
			if !m.mapped.IsValid() {
				m.mapped, err = stunattr.Addr(a.Value)
			}
		case stun.AttrResponseOrigin:
			m.origin, err = stunattr.Addr(a.Value)
		case stun.AttrOtherAddress:
			m.other, err = stunattr.Addr(a.Value)
		case stun.AttrErrorCode, stun.AttrUnknownAttributes, stun.AttrUsername, stun.AttrMessageIntegrity, stun.AttrRealm, stun.AttrNonce:
		default:
			if a.Type.Required() && len(m.unknown) < maxUnknown {
				m.unknown = append(m.unknown, a.Type)
			}
		}
		if err != nil {
			return message{}, err
		}
	}
	return m, nil
}

// isUsable reports whether datagrams can be sent to addr.
func isUsable(addr netip.AddrPort) bool {
	ip := addr.Addr()
	return ip.Is4() && addr.Port() != 0 && !ip.IsUnspecified() && !ip.IsMulticast() && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// newRequest returns a Binding request without attributes, which every server supports.
func newRequest(id transactionID) []byte {
	m := stun.Message{Type: stun.BindingRequest, TransactionID: id}
	m.WriteHeader()
	return m.Raw
}
