// Package stunattr parses the addresses in STUN messages, those of TURN included. (pion's parsers panic on a short value.)
package stunattr

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// MagicCookie is the second word of every message (RFC 8489, section 5).
const MagicCookie = 0x2112a442

const (
	familyIPv4 = 1
	familyIPv6 = 2
)

// ErrAddr means that the value of an attribute is no address.
var ErrAddr = errors.New("no address in a STUN attribute")

// Addr parses the value of an address attribute (RFC 8489, section 14.1). For an IPv6 address the result is invalid, because it is not
// supported.
func Addr(v []byte) (netip.AddrPort, error) {
	switch {
	case len(v) == 20 && v[1] == familyIPv6:
		return netip.AddrPort{}, nil
	case len(v) != 8 || v[1] != familyIPv4:
		return netip.AddrPort{}, ErrAddr
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(v[4:8])), binary.BigEndian.Uint16(v[2:])), nil
}

// XORAddr parses the value of an address attribute that is masked with the magic cookie (RFC 8489, section 14.2). For an IPv6 address the
// result is invalid, as with Addr.
func XORAddr(v []byte) (netip.AddrPort, error) {
	a, err := Addr(v)
	if err != nil || !a.IsValid() {
		return a, err
	}
	ip := a.Addr().As4()
	binary.BigEndian.PutUint32(ip[:], binary.BigEndian.Uint32(ip[:])^MagicCookie)
	return netip.AddrPortFrom(netip.AddrFrom4(ip), a.Port()^MagicCookie>>16), nil
}
