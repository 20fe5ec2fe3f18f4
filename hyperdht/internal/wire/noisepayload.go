package wire

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

const (
	payloadFlagHolepunch    = 1
	payloadFlagAddrs4       = 2
	payloadFlagAddrs6       = 4
	payloadFlagUDX          = 8
	payloadFlagSecretStream = 16
	payloadFlagRelayThrough = 32
	payloadFlagRelayAddrs   = 64

	udxFeatureReusableSocket = 1
)

// NoisePayload is the payload of both messages of the Noise handshake:
//
//	uint version (1) · uint flags · uint error · uint firewall · the flagged parts:
//	  1 holepunch       uint id · array of {ipv4Address relay · ipv4Address peer}
//	  2 addresses4      array(ipv4Address), left out when empty
//	  4 addresses6      array(ipv6Address), left out when empty
//	  8 udx             uint version (1) · uint features (1 reusable socket) · uint id · uint seq
//	 16 secretStream    uint version (1)
//	 32 relayThrough    uint version (1) · uint flags (0) · fixed32 key · fixed32 token
//	 64 relayAddresses  array(ipv4Address), may be present and empty
//
// The versions are always written as 1, whatever the Version fields say; those hold what was parsed.
// A payload of another version parses to its Version and nothing else, so that it can be refused
// politely.
type NoisePayload struct {
	Version  uint64
	Error    PayloadError
	Firewall Firewall
	// Holepunch describes the way to the sender for hole punching.
	Holepunch *HolepunchInfo
	Addrs4    []netip.AddrPort
	Addrs6    []netip.AddrPort
	// UDX names the sender's end of the transport stream.
	UDX          *UDXInfo
	SecretStream *SecretStreamInfo
	RelayThrough *RelayThrough
	// RelayAddrs are nodes that know the way to the sender. Nil if absent.
	RelayAddrs []netip.AddrPort
}

// HolepunchInfo is a server's number for a session and the relays that it can be reached through.
type HolepunchInfo struct {
	ID     uint64
	Relays []RelayInfo
}

// RelayInfo is one relay and the server's address as that relay sees it.
type RelayInfo struct {
	RelayAddr netip.AddrPort
	PeerAddr  netip.AddrPort
}

const relayInfoSize = 2 * compact.AddrSize

// UDXInfo describes one end of a transport stream.
type UDXInfo struct {
	Version        uint64
	ReusableSocket bool
	ID             uint32
	Seq            uint64
}

// SecretStreamInfo is present if the sender speaks the encrypted stream.
type SecretStreamInfo struct {
	Version uint64
}

// RelayThrough names a blind relay that the sender wants to meet at, and the token to pair by.
type RelayThrough struct {
	Version uint64
	Key     id.PublicKey
	Token   [32]byte
}

// Size is the number of bytes Append appends.
func (m NoisePayload) Size() int {
	n := 2 + compact.UintSize(uint64(m.Error)) + compact.UintSize(uint64(m.Firewall))
	if h := m.Holepunch; h != nil {
		n += compact.UintSize(h.ID) + compact.UintSize(uint64(len(h.Relays))) + len(h.Relays)*relayInfoSize
	}
	if len(m.Addrs4) > 0 {
		n += compact.AddrsSize(len(m.Addrs4))
	}
	if len(m.Addrs6) > 0 {
		n += compact.Addr6sSize(len(m.Addrs6))
	}
	if u := m.UDX; u != nil {
		n += 2 + compact.UintSize(uint64(u.ID)) + compact.UintSize(u.Seq)
	}
	if m.SecretStream != nil {
		n++
	}
	if m.RelayThrough != nil {
		n += 2 + 32 + 32
	}
	if m.RelayAddrs != nil {
		n += compact.AddrsSize(len(m.RelayAddrs))
	}
	return n
}

// Append appends the encoded payload.
func (m NoisePayload) Append(dst []byte) []byte {
	dst = append(dst, payloadVersion, flag(m.Holepunch != nil, payloadFlagHolepunch)|
		flag(len(m.Addrs4) > 0, payloadFlagAddrs4)|
		flag(len(m.Addrs6) > 0, payloadFlagAddrs6)|
		flag(m.UDX != nil, payloadFlagUDX)|
		flag(m.SecretStream != nil, payloadFlagSecretStream)|
		flag(m.RelayThrough != nil, payloadFlagRelayThrough)|
		flag(m.RelayAddrs != nil, payloadFlagRelayAddrs))
	dst = compact.AppendUint(dst, uint64(m.Error))
	dst = compact.AppendUint(dst, uint64(m.Firewall))
	if m.Holepunch != nil {
		dst = m.Holepunch.append(dst)
	}
	if len(m.Addrs4) > 0 {
		dst = compact.AppendAddrs(dst, m.Addrs4)
	}
	if len(m.Addrs6) > 0 {
		dst = compact.AppendAddr6s(dst, m.Addrs6)
	}
	if u := m.UDX; u != nil {
		dst = append(dst, payloadVersion, flag(u.ReusableSocket, udxFeatureReusableSocket))
		dst = compact.AppendUint(dst, uint64(u.ID))
		dst = compact.AppendUint(dst, u.Seq)
	}
	if m.SecretStream != nil {
		dst = append(dst, payloadVersion)
	}
	if t := m.RelayThrough; t != nil {
		dst = append(dst, payloadVersion, 0)
		dst = append(dst, t.Key[:]...)
		dst = append(dst, t.Token[:]...)
	}
	if m.RelayAddrs != nil {
		dst = compact.AppendAddrs(dst, m.RelayAddrs)
	}
	return dst
}

func (h *HolepunchInfo) append(dst []byte) []byte {
	dst = compact.AppendUint(dst, h.ID)
	dst = compact.AppendUint(dst, uint64(len(h.Relays)))
	for _, relay := range h.Relays {
		dst = compact.AppendAddr(dst, relay.RelayAddr)
		dst = compact.AppendAddr(dst, relay.PeerAddr)
	}
	return dst
}

// ParseNoisePayload reads the payload of a Noise message.
func ParseNoisePayload(b []byte) (NoisePayload, error) {
	r := compact.NewReader(b)
	m := NoisePayload{Version: r.Uint()}
	if m.Version != payloadVersion {
		return m, r.Err()
	}
	flags := r.Uint()
	m.Error = PayloadError(r.Uint())
	m.Firewall = Firewall(r.Uint())
	if flags&payloadFlagHolepunch != 0 {
		m.Holepunch = readHolepunchInfo(&r)
	}
	if flags&payloadFlagAddrs4 != 0 {
		m.Addrs4 = r.Addrs(compact.MaxArray)
	}
	if flags&payloadFlagAddrs6 != 0 {
		m.Addrs6 = r.Addr6s(compact.MaxArray)
	}
	if flags&payloadFlagUDX != 0 {
		m.UDX = &UDXInfo{
			Version:        r.Uint(),
			ReusableSocket: r.Uint()&udxFeatureReusableSocket != 0,
			ID:             streamID(&r),
			Seq:            r.Uint(),
		}
	}
	if flags&payloadFlagSecretStream != 0 {
		m.SecretStream = &SecretStreamInfo{Version: r.Uint()}
	}
	if flags&payloadFlagRelayThrough != 0 {
		m.RelayThrough = &RelayThrough{Version: r.Uint()}
		r.Uint() // flags, none of them defined
		m.RelayThrough.Key, m.RelayThrough.Token = r.Key(), r.Key()
	}
	if flags&payloadFlagRelayAddrs != 0 {
		m.RelayAddrs = r.Addrs(compact.MaxArray)
	}
	if err := r.Err(); err != nil {
		return NoisePayload{}, err
	}
	return m, nil
}

func readHolepunchInfo(r *compact.Reader) *HolepunchInfo {
	h := &HolepunchInfo{ID: r.Uint()}
	h.Relays = make([]RelayInfo, r.Count(relayInfoSize, compact.MaxArray))
	for i := range h.Relays {
		h.Relays[i] = RelayInfo{RelayAddr: r.Addr(), PeerAddr: r.Addr()}
	}
	return h
}
