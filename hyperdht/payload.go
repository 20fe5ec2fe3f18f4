package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// HandshakePayload is what a caller says of itself in its first message. All of it is the caller's word, and nothing of it is
// proven.
type HandshakePayload struct {
	// Version is that of the payload; of another one than 1 nothing else is read.
	Version uint64
	// Error is 0; 1 to 3 are answers.
	Error uint64
	// Firewall is the kind of NAT that the caller believes to be behind, as NATKind counts them; it may be any number.
	Firewall uint64
	// Holepunch is for servers; nil if absent, as with all pointers here.
	Holepunch *HolepunchInfo
	// Addrs4 and Addrs6 are addresses at which the caller may be reached directly.
	Addrs4, Addrs6 []netip.AddrPort
	// UDX is the caller's end of the stream.
	UDX *UDXInfo
	// SecretStream says that the caller speaks the encrypted stream.
	SecretStream *SecretStreamInfo
	// RelayThrough is the blind relay at which the caller waits.
	RelayThrough *RelayThrough
	// RelayAddrs are DHT nodes that lead to the sender.
	RelayAddrs []netip.AddrPort
}

// HolepunchInfo is a server's number for a caller, and the nodes through which it is punched.
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

// Append appends the payload as it is sent.
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
