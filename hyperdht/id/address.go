package id

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
)

// Address is a public key with nodes that may know the way to it (hyperdht-address):
//
//	fixed32 key · uint flags (1 nodes) · nodes: array of ipv4Address
//
// A bare key is an address too.
type Address struct {
	Key PublicKey
	// Nodes are DHT nodes to ask first. Nil means that the address lists none at all, which is
	// written differently from an empty list.
	Nodes []netip.AddrPort
}

const addressFlagNodes = 1

// Size is the number of bytes Append appends.
func (a Address) Size() int {
	n := len(a.Key) + 1
	if a.Nodes != nil {
		n += compact.AddrsSize(len(a.Nodes))
	}
	return n
}

// Append appends the encoded address.
func (a Address) Append(dst []byte) []byte {
	dst = append(dst, a.Key[:]...)
	if a.Nodes == nil {
		return append(dst, 0)
	}
	return compact.AppendAddrs(append(dst, addressFlagNodes), a.Nodes)
}

// ParseAddress reads an address or a bare key. Unknown flags and trailing bytes are ignored.
func ParseAddress(b []byte) (Address, error) {
	r := compact.NewReader(b)
	a := Address{Key: r.Key()}
	if r.Len() > 0 && r.Uint()&addressFlagNodes != 0 {
		a.Nodes = r.Addrs(compact.MaxArray)
	}
	if err := r.Err(); err != nil {
		return Address{}, err
	}
	return a, nil
}
