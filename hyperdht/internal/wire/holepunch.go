package wire

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
)

// Holepunch is the value of CmdPeerHolepunch on every leg of its way:
//
//	uint flags (1 peerAddress) · uint mode · uint id · buffer payload · [ipv4Address peerAddress]
type Holepunch struct {
	Mode Mode
	// ID is the server's number for the session, from the HolepunchInfo of its handshake.
	ID uint64
	// Payload is a HolepunchPayload in a PunchBox.
	Payload []byte
	// PeerAddr is the client towards the server, the server towards the client. Invalid if absent.
	PeerAddr netip.AddrPort
}

// Size is the number of bytes Append appends.
func (m Holepunch) Size() int {
	n := 1 + compact.UintSize(uint64(m.Mode)) + compact.UintSize(m.ID) + compact.BytesSize(len(m.Payload))
	if m.PeerAddr.IsValid() {
		n += compact.AddrSize
	}
	return n
}

// Append appends the encoded message.
func (m Holepunch) Append(dst []byte) []byte {
	dst = append(dst, flag(m.PeerAddr.IsValid(), routeFlagPeer))
	dst = compact.AppendUint(dst, uint64(m.Mode))
	dst = compact.AppendUint(dst, m.ID)
	dst = compact.AppendBytes(dst, m.Payload)
	return appendAddrIf(dst, m.PeerAddr)
}

// ParseHolepunch reads the value of a CmdPeerHolepunch.
func ParseHolepunch(b []byte) (Holepunch, error) {
	r := compact.NewReader(b)
	flags := r.Uint()
	m := Holepunch{
		Mode:     Mode(r.Uint()),
		ID:       r.Uint(),
		Payload:  r.Bytes(),
		PeerAddr: addrIf(&r, flags&routeFlagPeer != 0),
	}
	if err := r.Err(); err != nil {
		return Holepunch{}, err
	}
	return m, nil
}
