package id

import (
	"crypto/ed25519"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"

	"filippo.io/edwards25519"
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
	if len(sig) != ed25519.SignatureSize || !fullOrder(pk[:]) || !fullOrder(sig[:32]) {
		return false
	}
	return ed25519.Verify(pk[:], msg, sig)
}

// fullOrder reports whether b is the canonical form of a point that is not of small order.
func fullOrder(b []byte) bool {
	p, err := new(edwards25519.Point).SetBytes(b)
	if err != nil || subtle.ConstantTimeCompare(p.Bytes(), b) == 0 {
		return false
	}
	return new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 0
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
