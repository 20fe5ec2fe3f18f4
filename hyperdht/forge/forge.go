// Package forge makes the datagrams of attackers for tests: valid as far as they go, sent by nothing that follows them up.
package forge

import (
	"io"
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
)

// Handshake is a PEER_HANDSHAKE request with message 1 of a Noise handshake.
type Handshake struct {
	// Server is the public key that is dialled.
	Server id.PublicKey
	// Message is message 1, from NewMessage.
	Message []byte
	// Peer is the address in whose name a relay would forward the request. Where it is invalid the request has the form
	// that a client sends, to the server itself or to a node that forwards it.
	Peer netip.AddrPort
}

// NewMessage returns message 1 of a handshake with a server, under a fresh key, which the server cannot tell from that of an
// honest client behind a NAT with a consistent mapping. It costs the caller about as much as it costs the server to read.
func NewMessage(server id.PublicKey, random io.Reader) ([]byte, error) {
	keys, err := id.NewKeyPair(random)
	if err != nil {
		return nil, err
	}
	var stream [4]byte
	if _, err := io.ReadFull(random, stream[:]); err != nil {
		return nil, err
	}
	payload := wire.NoisePayload{
		Version:      1,
		Firewall:     wire.FirewallConsistent,
		Holepunch:    &wire.HolepunchInfo{},
		UDX:          &wire.UDXInfo{ID: uint32(stream[0]) | uint32(stream[1])<<8 | uint32(stream[2])<<16 | uint32(stream[3])<<24},
		SecretStream: &wire.SecretStreamInfo{},
	}
	return noise.NewInitiator(keys, server, random).WriteMessage(payload.Append(nil))
}

// Append appends the datagram for a node at to. The transaction id tells requests of one sender apart.
func (h Handshake) Append(dst []byte, to netip.AddrPort, transaction uint16) []byte {
	m := wire.Handshake{Mode: wire.FromClient, Noise: h.Message}
	if h.Peer.IsValid() {
		m.Mode, m.PeerAddr = wire.FromRelay, h.Peer
	}
	target := h.Server.Target()
	return wire.Request{
		TID: transaction, To: to, Command: wire.CmdPeerHandshake, Target: &target, Value: m.Append(nil),
	}.Append(dst)
}
