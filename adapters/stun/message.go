package stun

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/pion/stun/v2"
)

// message is what we use of a STUN message.
type message struct {
	kind   stun.MessageType
	id     transactionID
	mapped netip.AddrPort // the receiver's address as the sender sees it
	origin netip.AddrPort // where an answer left from
	other  netip.AddrPort // the sender's alternate address
	// unknown are attributes that must be understood and are not.
	unknown []stun.AttrType
}

type transactionID = [stun.TransactionIDSize]byte

var errMessage = errors.New("stun: malformed message")

// isSTUN tells STUN from whatever else arrives on a node's socket: by the magic cookie, and a first byte that
// no DHT message and no UDX packet has. It matches all the methods with small numbers, Binding among them.
func isSTUN(b []byte) bool {
	return len(b) >= headerSize && b[0] <= 1 && binary.BigEndian.Uint32(b[4:]) == magicCookie
}

// parse reads a message. The attributes that we have no use for are skipped.
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
			m.mapped, err = readXORAddr(a.Value)
		case stun.AttrMappedAddress:
			// Servers that know the cookie send both; NATs that meddle rewrite this one.
			if !m.mapped.IsValid() {
				m.mapped, err = readAddr(a.Value)
			}
		case stun.AttrResponseOrigin:
			m.origin, err = readAddr(a.Value)
		case stun.AttrOtherAddress:
			m.other, err = readAddr(a.Value)
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

const (
	familyIPv4 = 1
	familyIPv6 = 2
)

// readXORAddr reads the value of an address attribute that is masked with the magic cookie (RFC 8489, section 14.2). An IPv6
// address comes out invalid, as with readAddr.
func readXORAddr(v []byte) (netip.AddrPort, error) {
	a, err := readAddr(v)
	if err != nil || !a.IsValid() {
		return a, err
	}
	ip := a.Addr().As4()
	binary.BigEndian.PutUint32(ip[:], binary.BigEndian.Uint32(ip[:])^magicCookie)
	return netip.AddrPortFrom(netip.AddrFrom4(ip), a.Port()^magicCookie>>16), nil
}

// readAddr reads the value of an address attribute (RFC 8489, section 14.1). An IPv6 address comes out invalid, because
// nothing here can use it. (pion's own readers panic where the value is short.)
func readAddr(v []byte) (netip.AddrPort, error) {
	switch {
	case len(v) == 20 && v[1] == familyIPv6:
		return netip.AddrPort{}, nil
	case len(v) != 8 || v[1] != familyIPv4:
		return netip.AddrPort{}, errMessage
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(v[4:8])), binary.BigEndian.Uint16(v[2:])), nil
}

// isUsable reports whether datagrams can be sent to addr.
func isUsable(addr netip.AddrPort) bool {
	ip := addr.Addr()
	return ip.Is4() && addr.Port() != 0 && !ip.IsUnspecified() && !ip.IsMulticast() && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// newRequest is a Binding request: nothing but a header, which every server understands.
func newRequest(id transactionID) []byte {
	m := stun.Message{Type: stun.BindingRequest, TransactionID: id}
	m.WriteHeader()
	return m.Raw
}
