package wire

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// minPeerSize is the size of a peer record without relay addresses.
const minPeerSize = 32 + 1

// Peer is the record that a node stores for an announced peer:
//
//	fixed32 publicKey · array(ipv4Address) relayAddresses
type Peer struct {
	PublicKey  id.PublicKey
	RelayAddrs []netip.AddrPort
}

// Size is the number of bytes Append appends.
func (m Peer) Size() int { return len(m.PublicKey) + compact.AddrsSize(len(m.RelayAddrs)) }

// Append appends the encoded record.
func (m Peer) Append(dst []byte) []byte {
	return compact.AppendAddrs(append(dst, m.PublicKey[:]...), m.RelayAddrs)
}

// ParsePeer reads a peer record.
func ParsePeer(b []byte) (Peer, error) {
	r := compact.NewReader(b)
	m := readPeer(&r)
	if err := r.Err(); err != nil {
		return Peer{}, err
	}
	return m, nil
}

func readPeer(r *compact.Reader) Peer {
	return Peer{PublicKey: r.Key(), RelayAddrs: r.Addrs(compact.MaxArray)}
}
