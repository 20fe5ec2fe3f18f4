package secret

import "runtime"

// Fixed by the protocol (@hyperswarm/secret-stream index.js, libsodium).
const (
	// Overhead is the overhead of a frame: length, tag byte and authentication tag.
	Overhead = lengthLen + tagLen + macLen
	// HeaderLen is the length of the framed header message.
	HeaderLen = lengthLen + idLen + nonceLen
	// MaxMessage is the longest message: a frame's length has 24 bits.
	MaxMessage = 1<<24 - 1 - tagLen - macLen
	// Headroom is the number of bytes in front of a frame that Append uses to encrypt, and restores.
	Headroom = headroom - lengthLen - tagLen
	// UnorderedOverhead is the overhead of an unordered message: counter and authentication tag.
	UnorderedOverhead = counterLen + macLen

	lengthLen  = 3
	idLen      = 32
	nonceLen   = 24 // of XChaCha20, which is also the secretstream header
	keyLen     = 32
	tagLen     = 1
	macLen     = 16
	counterLen = 8
	// blockLen is a ChaCha20 block: the tag byte is encrypted as the start of a block of its own.
	blockLen = 64
	// tagRekey is the bit of a tag that makes both sides change keys after the message.
	tagRekey = 2
)

// Chosen by us.
const (
	// aeadMin is the shortest message for which the assembly of chacha20poly1305 pays off, see state.xor.
	aeadMin = 256
	// fastAEAD is set where chacha20poly1305 has assembly and chacha20 alone has none.
	fastAEAD = runtime.GOARCH == "amd64"
	// keepScratch is the largest receive buffer that is kept from one message to the next, so that a rare large message does not hold its
	// memory for the life of the connection: it has room for a piece of a metrics page.
	keepScratch = 20 << 10
	// growScratch is the smallest step by which the buffer of a large incoming frame grows. It follows
	// what has arrived: a length alone allocates no more than this.
	growScratch = 16 << 10
)
