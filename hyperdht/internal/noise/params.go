package noise

// Fixed by the protocol.
const (
	// MaxMessage is the largest handshake message in bytes (Noise specification, section 3).
	MaxMessage = 65535

	// keyLen is the length of public keys, seeds, scalars and shared secrets in bytes.
	keyLen = 32
	// tagLen is the length of an authentication tag in bytes.
	tagLen = 16

	// Overhead1 is the overhead of the first message: e, encrypted s, and two tags.
	Overhead1 = keyLen + keyLen + tagLen + tagLen
	// Overhead2 is the overhead of the second message: e and a tag.
	Overhead2 = keyLen + tagLen
)
