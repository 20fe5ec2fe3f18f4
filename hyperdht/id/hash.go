package id

import (
	"hash"

	"golang.org/x/crypto/blake2b"
)

// Namespaces keep a signature or a derived key that was made for one purpose from being used for
// another (hyperdht lib/constants.js, @hyperswarm/secret-stream).
var (
	NSPeerHandshake = Namespace("hyperswarm/dht", 0)
	NSPeerHolepunch = Namespace("hyperswarm/dht", 1)
	NSAnnounce      = Namespace("hyperswarm/dht", 4)
	NSUnannounce    = Namespace("hyperswarm/dht", 5)
	NSMutablePut    = Namespace("hyperswarm/dht", 6)
	NSPlugin        = Namespace("hyperswarm/dht", 10)

	NSInitiator = Namespace("hyperswarm/secret-stream", 0)
	NSResponder = Namespace("hyperswarm/secret-stream", 1)
	NSSend      = Namespace("hyperswarm/secret-stream", 2)
)

// Namespace is namespace n of a family (hypercore-crypto's namespace).
func Namespace(family string, n byte) [32]byte {
	name := Hash([]byte(family))
	return Hash(name[:], []byte{n})
}

// Hash is BLAKE2b-256 over the parts, one after the other.
func Hash(parts ...[]byte) [32]byte {
	if len(parts) == 1 {
		return blake2b.Sum256(parts[0])
	}
	return sum(nil, parts)
}

// KeyedHash is BLAKE2b-256 with the key as BLAKE2b's key input, which is not the same as hashing key
// and parts. The key has at most 64 bytes; a longer one is a bug and panics.
func KeyedHash(key []byte, parts ...[]byte) [32]byte { return sum(key, parts) }

func sum(key []byte, parts [][]byte) (out [32]byte) {
	var h hash.Hash
	h, err := blake2b.New256(key)
	if err != nil {
		panic("id: hash key longer than 64 bytes")
	}
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(out[:0])
	return out
}
