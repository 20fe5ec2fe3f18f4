package id

import (
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"slices"
)

// PublicKey is an Ed25519 public key: the name under which a peer is known.
type PublicKey [32]byte

// Seed makes a key pair. It is as secret as the secret key.
type Seed [32]byte

// SecretKey is an Ed25519 secret key as libsodium keeps it: seed, then public key.
type SecretKey [64]byte

// KeyPair is a public key and its secret.
type KeyPair struct {
	Public PublicKey
	Secret SecretKey
}

// NewKeyPair returns a key pair from 32 random bytes. The only error is the reader's.
func NewKeyPair(rand io.Reader) (KeyPair, error) {
	var seed Seed
	if _, err := io.ReadFull(rand, seed[:]); err != nil {
		return KeyPair{}, fmt.Errorf("new key pair: %w", err)
	}
	return KeyPairFromSeed(seed), nil
}

// KeyPairFromSeed is the key pair of a seed, always the same one.
func KeyPairFromSeed(seed Seed) KeyPair {
	secret := SecretKey(ed25519.NewKeyFromSeed(seed[:]))
	return KeyPair{Public: secret.Public(), Secret: secret}
}

// Public is the public half that the secret key carries.
func (s SecretKey) Public() PublicKey { return PublicKey(s[32:]) }

// Seed is the seed that the secret key was made from.
func (s SecretKey) Seed() Seed { return Seed(s[:32]) }

// IsZero reports whether the key pair is unset.
func (k KeyPair) IsZero() bool { return k.Public == PublicKey{} }

// Sign signs a message.
func (k KeyPair) Sign(msg []byte) [64]byte {
	return [64]byte(ed25519.Sign(ed25519.PrivateKey(k.Secret[:]), msg))
}

// Verify reports whether sig is a signature of msg under pk. It is as strict as libsodium: keys and
// commitments of small order are rejected, for which a signature of any message can be forged.
func Verify(pk PublicKey, msg, sig []byte) bool {
	if len(sig) != ed25519.SignatureSize || !pk.Canonical() || pk.smallOrder() || PublicKey(sig[:32]).smallOrder() {
		return false
	}
	return ed25519.Verify(pk[:], msg, sig) // which compares the commitment with a canonical one
}

// Canonical reports whether the coordinate y is less than the prime of the field, 2²⁵⁵-19. Every point but those of small order then
// has one encoding only.
func (k PublicKey) Canonical() bool {
	if k[0] < 0xed || k[31]&0x7f != 0x7f {
		return true
	}
	for _, b := range k[1:31] {
		if b != 0xff {
			return true
		}
	}
	return false
}

// smallOrder reports whether a canonical encoding is one of a point of small order. Neither it nor Canonical decodes the point.
func (k PublicKey) smallOrder() bool {
	k[31] &= 0x7f // the sign of x
	return slices.Contains(smallOrders[:], k)
}

// smallOrders are the coordinates y of the points of order 4, 1, 2 and 8, as in libsodium's has_small_order.
var smallOrders = [...]PublicKey{
	{},
	{1},
	unhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
	unhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
	unhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
}

func unhex(s string) (k PublicKey) {
	if _, err := hex.Decode(k[:], []byte(s)); err != nil {
		panic(err)
	}
	return k
}

// Target returns the target at which a server with this key is announced.
func (k PublicKey) Target() Target { return Hash(k[:]) }

// Equal compares two secret keys in constant time.
func (s SecretKey) Equal(o SecretKey) bool { return subtle.ConstantTimeCompare(s[:], o[:]) == 1 }

// Equal compares two seeds in constant time.
func (s Seed) Equal(o Seed) bool { return subtle.ConstantTimeCompare(s[:], o[:]) == 1 }

const redacted = "[redacted]"

// String hides the key.
func (SecretKey) String() string { return redacted }

// GoString hides the key.
func (SecretKey) GoString() string { return redacted }

// Format hides the key from every verb.
func (SecretKey) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue hides the key.
func (SecretKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the key from JSON and its like.
func (SecretKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// String hides the seed.
func (Seed) String() string { return redacted }

// GoString hides the seed.
func (Seed) GoString() string { return redacted }

// Format hides the seed from every verb.
func (Seed) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue hides the seed.
func (Seed) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the seed from JSON and its like.
func (Seed) MarshalText() ([]byte, error) { return []byte(redacted), nil }
