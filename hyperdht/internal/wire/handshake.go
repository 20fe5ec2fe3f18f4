package wire

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
)

const (
	routeFlagPeer  = 1
	routeFlagRelay = 2
)

// Handshake is the value of CmdPeerHandshake on every leg of its way:
//
//	uint flags (1 peerAddress, 2 relayAddress) · uint mode · buffer noise ·
//	[ipv4Address peerAddress] · [ipv4Address relayAddress]
type Handshake struct {
	Mode Mode
	// Noise is one message of the Noise handshake.
	Noise []byte
	// PeerAddr is the client towards the server, the server towards the client. Invalid if absent.
	PeerAddr netip.AddrPort
	// RelayAddr is the relay to go through. Invalid if absent.
	RelayAddr netip.AddrPort
}

// Size is the number of bytes Append appends.
func (m Handshake) Size() int {
	n := 1 + compact.UintSize(uint64(m.Mode)) + compact.BytesSize(len(m.Noise))
	if m.PeerAddr.IsValid() {
		n += compact.AddrSize
	}
	if m.RelayAddr.IsValid() {
		n += compact.AddrSize
	}
	return n
}

// Append appends the encoded message.
func (m Handshake) Append(dst []byte) []byte {
	dst = append(dst, flag(m.PeerAddr.IsValid(), routeFlagPeer)|flag(m.RelayAddr.IsValid(), routeFlagRelay))
	dst = compact.AppendUint(dst, uint64(m.Mode))
	dst = compact.AppendBytes(dst, m.Noise)
	dst = appendAddrIf(dst, m.PeerAddr)
	return appendAddrIf(dst, m.RelayAddr)
}

// ParseHandshake reads the value of a CmdPeerHandshake.
func ParseHandshake(b []byte) (Handshake, error) {
	r := compact.NewReader(b)
	flags := r.Uint()
	m := Handshake{
		Mode:      Mode(r.Uint()),
		Noise:     r.Bytes(),
		PeerAddr:  addrIf(&r, flags&routeFlagPeer != 0),
		RelayAddr: addrIf(&r, flags&routeFlagRelay != 0),
	}
	if err := r.Err(); err != nil {
		return Handshake{}, err
	}
	return m, nil
}
