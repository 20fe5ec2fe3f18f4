package domain

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// z32 is the z-base-32 text form that HyperDHT's tools print keys in. 32 bytes become 52 characters; the four bits left over in
// the last one are ignored, as by the z32 package.
var z32 = base32.NewEncoding(z32Alphabet).WithPadding(base32.NoPadding)

const (
	z32Alphabet = "ybndrfg8ejkmcpqxot1uwisza345h769"

	hexLen = 2 * KeySize
	z32Len = (8*KeySize + 4) / 5
)

// errKeyText quotes nothing: the text may have been meant as a secret.
var errKeyText = errors.New("want 32 bytes as 64 hex digits or 52 z32 characters")

// parse32 parses 32 bytes as hex, z32 or, for keys, pear:// followed by either (hypercore-id-encoding 1.3.0).
func parse32(text string) (out [KeySize]byte, err error) {
	text = strings.TrimSpace(text)
	if rest, ok := strings.CutPrefix(text, "pear://"); ok {
		text, _, _ = strings.Cut(rest, "/")
	}
	switch len(text) {
	case hexLen:
		if _, err := hex.Decode(out[:], []byte(text)); err != nil {
			return [KeySize]byte{}, errKeyText
		}
	case z32Len:
		// base32 skips line breaks, which are not part of a key.
		if strings.ContainsAny(text, "\r\n") {
			return out, errKeyText
		}
		b, err := z32.DecodeString(text)
		if err != nil || len(b) != KeySize {
			return out, errKeyText
		}
		copy(out[:], b)
	default:
		return out, errKeyText
	}
	return out, nil
}

func fromBytes(b []byte) (out [KeySize]byte, err error) {
	if len(b) != KeySize {
		return out, fmt.Errorf("want %d bytes, got %d", KeySize, len(b))
	}
	copy(out[:], b)
	return out, nil
}

// PublicKey identifies a client or a scraper on the DHT: an Ed25519 public key.
type PublicKey [KeySize]byte

// ParsePublicKey parses a public key as hex, z32 or pear:// address.
func ParsePublicKey(text string) (PublicKey, error) {
	k, err := parse32(text)
	return PublicKey(k), err
}

// PublicKeyFromBytes returns a public key from its 32 bytes.
func PublicKeyFromBytes(b []byte) (PublicKey, error) {
	k, err := fromBytes(b)
	return PublicKey(k), err
}

// String returns the key as z32, the form used in all output.
func (k PublicKey) String() string { return z32.EncodeToString(k[:]) }

// Short returns the beginning of the key, for people to distinguish keys.
func (k PublicKey) Short() string { return k.String()[:8] }

// Hex returns the key as 64 hex digits.
func (k PublicKey) Hex() string { return hex.EncodeToString(k[:]) }

// IsZero reports whether the key was never set.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// MarshalText makes JSON use the key as z32.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText parses the forms of ParsePublicKey.
func (k *PublicKey) UnmarshalText(b []byte) error {
	p, err := ParsePublicKey(string(b))
	if err == nil {
		*k = p
	}
	return err
}

// redacted is the output of every secret value, under every verb and in every log.
const redacted = "[redacted]"

// hidden holds 32 secret bytes. It prints as redacted and does not compare with ==, which would take a time that depends on the
// bytes. They are in a closure because fmt ignores methods on unexported fields and would print an array there, and under a wrong
// verb even the target of a pointer.
type hidden struct {
	plain func() [KeySize]byte // nil: never set
}

func hide(b [KeySize]byte) hidden { return hidden{plain: func() [KeySize]byte { return b }} }

func (hidden) String() string               { return redacted }
func (hidden) GoString() string             { return redacted }
func (hidden) Format(s fmt.State, _ rune)   { _, _ = s.Write([]byte(redacted)) }
func (hidden) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (hidden) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func (h hidden) reveal() [KeySize]byte {
	if h.plain == nil {
		return [KeySize]byte{}
	}
	return h.plain()
}

func (h hidden) isZero() bool { return h.reveal() == [KeySize]byte{} }

func (h hidden) equal(o hidden) bool {
	a, b := h.reveal(), o.reveal()
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Secret is shared by a scraper and its clients: it authorizes registrations. ParseSecret reads one as dhtprom-scraper keygen prints it;
// SecretFrom takes 32 random bytes.
type Secret struct{ hidden }

// ParseSecret parses a secret as hex or z32, as keygen prints it. Its error never quotes the text.
func ParseSecret(text string) (Secret, error) {
	b, err := parse32(text)
	return SecretFrom(b), err
}

// SecretFromBytes returns a secret from its 32 bytes.
func SecretFromBytes(b []byte) (Secret, error) {
	s, err := fromBytes(b)
	return SecretFrom(s), err
}

// SecretFrom returns the secret of 32 bytes, which must be random.
func SecretFrom(b [KeySize]byte) Secret { return Secret{hide(b)} }

// IsZero reports whether the secret was never set. 32 zero bytes are not a secret.
func (s Secret) IsZero() bool { return s.isZero() }

// Equal compares in constant time.
func (s Secret) Equal(o Secret) bool { return s.equal(o.hidden) }

// Weak reports whether all bytes are the same, as in keys typed for a trial.
func (s Secret) Weak() bool {
	plain := s.reveal()
	for _, b := range plain {
		if b != plain[0] {
			return false
		}
	}
	return true
}

// Fingerprint identifies a secret without revealing it: 32 bits of a hash.
func (s Secret) Fingerprint() string {
	plain := s.reveal()
	sum := sha256.Sum256(append([]byte("dhtprom secret "), plain[:]...))
	return hex.EncodeToString(sum[:4])
}

// Reveal returns the secret itself, for the wire and for files that only their owner reads.
func (s Secret) Reveal() [KeySize]byte { return s.reveal() }

// RevealText returns the secret as z32, for files and for keygen's output.
func (s Secret) RevealText() string { return revealText(s.hidden) }

// Accepts reports whether s is one of the valid secrets. The time it takes does not depend on which, nor on how much of one is
// correct.
func Accepts(valid []Secret, s Secret) bool {
	found := 0
	given := s.reveal()
	for _, v := range valid {
		plain := v.reveal()
		found |= subtle.ConstantTimeCompare(plain[:], given[:])
	}
	return found == 1
}

// Seed is the seed of a key pair, and as secret as the pair. ParseSeed reads one as dhtprom-scraper keygen prints it; SeedFrom takes 32
// random bytes.
type Seed struct{ hidden }

// ParseSeed parses a seed as hex or z32, as keygen prints it. Its error never quotes the text.
func ParseSeed(text string) (Seed, error) {
	b, err := parse32(text)
	return SeedFrom(b), err
}

// SeedFrom returns the seed of 32 bytes, which must be random.
func SeedFrom(b [KeySize]byte) Seed { return Seed{hide(b)} }

// IsZero reports whether the seed was never set.
func (s Seed) IsZero() bool { return s.isZero() }

// Reveal returns the seed itself.
func (s Seed) Reveal() [KeySize]byte { return s.reveal() }

// RevealText returns the seed as z32, for files and for keygen's output.
func (s Seed) RevealText() string { return revealText(s.hidden) }

func revealText(h hidden) string {
	plain := h.reveal()
	return z32.EncodeToString(plain[:])
}

// KeyPair is an identity on the DHT.
type KeyPair struct {
	Public PublicKey
	Seed   Seed
}

// KeyPairFromSeed derives the pair as HyperDHT.keyPair(seed) does.
func KeyPairFromSeed(seed Seed) KeyPair {
	plain := seed.reveal()
	private := ed25519.NewKeyFromSeed(plain[:])
	return KeyPair{Public: PublicKey(private[ed25519.SeedSize:]), Seed: seed}
}

// IsZero reports whether the pair was never set.
func (k KeyPair) IsZero() bool { return k.Public.IsZero() }

// UID identifies one connection or one attempt in events, logs and error texts: a random UUID.
type UID [16]byte

// UIDFrom returns a version 4 UUID of 16 random bytes.
func UIDFrom(random [16]byte) UID {
	random[6] = random[6]&0x0f | 0x40
	random[8] = random[8]&0x3f | 0x80
	return UID(random)
}

// String returns the UUID's usual text form.
func (u UID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// MarshalText makes JSON use the text form.
func (u UID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }
