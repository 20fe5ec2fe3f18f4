package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// HandshakePayload is the payload of a caller's first message. All fields are claims of the caller, and none is
// proven.
type HandshakePayload struct {
	// Version is the version of the payload; if it is not 1, the other fields are not read.
	Version uint64
	// Error is 0 for none; 1 to 3 occur in answers only.
	Error uint64
	// Firewall is the caller's NAT as a NATKind; it may be any number.
	Firewall uint64
	// Holepunch is for servers; nil if absent, as with all pointers here.
	Holepunch *HolepunchInfo
	// Addrs4 and Addrs6 are addresses at which the caller may be reached directly.
	Addrs4, Addrs6 []netip.AddrPort
	// UDX is the caller's end of the stream.
	UDX *UDXInfo
	// SecretStream is present if the caller supports the encrypted stream.
	SecretStream *SecretStreamInfo
	// RelayThrough is the blind relay at which the caller waits.
	RelayThrough *RelayThrough
	// RelayAddrs are DHT nodes that lead to the sender.
	RelayAddrs []netip.AddrPort
}

// HolepunchInfo is a server's number for a caller, and the nodes that forward hole-punch messages.
type HolepunchInfo struct {
	ID     uint64      // the server's number for the caller
	Relays []RelayInfo // through which messages reach the server
}

// RelayInfo is a DHT node that leads to a server, and the server's address as that node sees it.
type RelayInfo struct {
	RelayAddr, PeerAddr netip.AddrPort
}

// UDXInfo is one end of a UDX stream.
type UDXInfo struct {
	Version uint64
	// ReusableSocket offers to connect again over the same socket.
	ReusableSocket bool
	// ID is the stream's number, Seq that of its first packet.
	ID  uint32
	Seq uint64
}

// SecretStreamInfo is the version of the encrypted stream.
type SecretStreamInfo struct {
	Version uint64
}

// RelayThrough is a blind relay and the token by which it pairs the two sides.
type RelayThrough struct {
	Version uint64
	Key     id.PublicKey // the relay's
	Token   [32]byte     // by which it pairs
}

// Size is the number of bytes Append appends.
func (p HandshakePayload) Size() int { return p.message().Size() }

// Append appends the encoded payload.
func (p HandshakePayload) Append(dst []byte) []byte { return p.message().Append(dst) }

func (p *HandshakePayload) message() wire.NoisePayload {
	m := wire.NoisePayload{
		Version: p.Version, Error: wire.PayloadError(p.Error), Firewall: wire.Firewall(p.Firewall),
		Addrs4: p.Addrs4, Addrs6: p.Addrs6,
		UDX: (*wire.UDXInfo)(p.UDX), SecretStream: (*wire.SecretStreamInfo)(p.SecretStream), RelayThrough: (*wire.RelayThrough)(p.RelayThrough),
		RelayAddrs: p.RelayAddrs,
	}
	if h := p.Holepunch; h != nil {
		m.Holepunch = &wire.HolepunchInfo{ID: h.ID}
		for _, r := range h.Relays {
			m.Holepunch.Relays = append(m.Holepunch.Relays, wire.RelayInfo(r))
		}
	}
	return m
}

// publicPayload is a payload as users see it; it shares what m points to.
func publicPayload(m *wire.NoisePayload) *HandshakePayload {
	p := &HandshakePayload{
		Version: m.Version, Error: uint64(m.Error), Firewall: uint64(m.Firewall),
		Addrs4: m.Addrs4, Addrs6: m.Addrs6,
		UDX: (*UDXInfo)(m.UDX), SecretStream: (*SecretStreamInfo)(m.SecretStream), RelayThrough: (*RelayThrough)(m.RelayThrough),
		RelayAddrs: m.RelayAddrs,
	}
	if h := m.Holepunch; h != nil {
		p.Holepunch = &HolepunchInfo{ID: h.ID}
		for _, r := range h.Relays {
			p.Holepunch.Relays = append(p.Holepunch.Relays, RelayInfo(r))
		}
	}
	return p
}
