// Package id holds the 32-byte words of the protocol, one type per role: public keys, secret keys,
// node ids, targets, tokens. They convert to each other only where the protocol demands it:
//
//	Seed ──▶ KeyPair ──▶ PublicKey ──BLAKE2b──▶ Target      a server is announced at its key's target
//	address ──BLAKE2b──▶ NodeID                             a node cannot choose its id
//	secret, host ──keyed BLAKE2b──▶ Token                   proof that a host receives what we send it
//
// All of them are plain arrays: comparable, usable as map keys, zero when unset. Secrets print as
// redacted.
package id

import (
	"encoding/hex"
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
)

// NodeID is a node's place in the routing metric. It follows from the node's public address.
type NodeID [32]byte

// Target is the key of a query or record: the hash of a public key, of a topic or of a value.
type Target [32]byte

// Token is a round trip token: sent with replies, required in requests that store something.
type Token [32]byte

// NodeIDOf is the id of the node at an address (dht-rpc lib/peer.js).
func NodeIDOf(addr netip.AddrPort) NodeID {
	var buf [compact.AddrSize]byte
	return Hash(compact.AppendAddr(buf[:0], addr))
}

// TokenFor is the token of a host under a secret. The port plays no part, so a host may ask from one
// socket and store from another (dht-rpc lib/io.js).
func TokenFor(secret [32]byte, host netip.Addr) Token {
	var buf [48]byte
	return KeyedHash(secret[:], host.Unmap().AppendTo(buf[:0]))
}

// String is the id in hex.
func (n NodeID) String() string { return hex.EncodeToString(n[:]) }

// Short is the beginning of the id, for logs.
func (n NodeID) Short() string { return hex.EncodeToString(n[:4]) }

// String is the target in hex.
func (t Target) String() string { return hex.EncodeToString(t[:]) }

// Short is the beginning of the target, for logs.
func (t Target) Short() string { return hex.EncodeToString(t[:4]) }
