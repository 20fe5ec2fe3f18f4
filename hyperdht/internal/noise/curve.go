package noise

import (
	"bytes"
	"crypto/sha512"
	"errors"
	"io"

	"filippo.io/edwards25519"
	"github.com/flynn/noise"

	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// ErrInvalidKey is returned for public keys that libsodium's crypto_scalarmult_ed25519 refuses: not
// canonical, not on the curve, of small order, or outside the prime order subgroup.
var ErrInvalidKey = errors.New("noise: invalid public key")

// curve is the Diffie-Hellman function of noise-curve-ed. It remembers the last two keys it has checked: a
// handshake uses the other side's static and ephemeral keys twice each, and a check costs nearly half of what a
// multiplication does.
type curve struct {
	checked [2]checkedKey // the latest first
}

type checkedKey struct {
	key   [keyLen]byte
	point *edwards25519.Point // nil: no key
}

var _ noise.DHFunc = (*curve)(nil)

// scalarOf turns an Ed25519 seed into the clamped scalar it stands for (RFC 8032, section 5.1.5).
// Clamping sets bit 254, so the product with a point of prime order is never the identity.
func scalarOf(seed []byte) []byte {
	h := sha512.Sum512(seed)
	s := h[:keyLen:keyLen]
	s[0] &= 248
	s[31] &= 127
	s[31] |= 64
	return s
}

// check decodes a public key, or refuses it with ErrInvalidKey.
func (c *curve) check(public []byte) (*edwards25519.Point, error) {
	for i := range c.checked {
		if k := &c.checked[i]; k.point != nil && bytes.Equal(k.key[:], public) {
			return k.point, nil
		}
	}
	p, err := edwards25519.NewIdentityPoint().SetBytes(public)
	if err != nil || !id.PublicKey(public).Canonical() || !inPrimeSubgroup(p) {
		return nil, ErrInvalidKey
	}
	c.checked[1] = c.checked[0]
	c.checked[0] = checkedKey{key: [keyLen]byte(public), point: p}
	return p, nil
}

// DH multiplies a public key with a clamped scalar, see scalarOf.
func (c *curve) DH(scalar, public []byte) ([]byte, error) {
	p, err := c.check(public)
	if err != nil {
		return nil, err
	}
	s, err := edwards25519.NewScalar().SetBytesWithClamping(scalar)
	if err != nil {
		return nil, err
	}
	return edwards25519.NewIdentityPoint().ScalarMult(s, p).Bytes(), nil
}

// GenerateKeypair draws an ephemeral key pair: an Ed25519 key pair of a random seed.
func (c *curve) GenerateKeypair(random io.Reader) (noise.DHKey, error) {
	var seed [keyLen]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return noise.DHKey{}, err
	}
	scalar := scalarOf(seed[:])
	s, err := edwards25519.NewScalar().SetBytesWithClamping(scalar)
	if err != nil {
		return noise.DHKey{}, err
	}
	public := edwards25519.NewIdentityPoint().ScalarBaseMult(s).Bytes()
	return noise.DHKey{Private: scalar, Public: public}, nil
}

func (c *curve) DHLen() int { return keyLen }

func (c *curve) DHName() string { return "Ed25519" }
