package id

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrKeyText means that a text does not name a 32-byte key.
var ErrKeyText = errors.New("id: not a key")

const (
	scheme = "pear://"
	// alphabet of z-base-32, most significant bits first.
	alphabet = "ybndrfg8ejkmcpqxot1uwisza345h769"
	// z32Len is the number of digits that 32 bytes take; the last one carries a single bit.
	z32Len = 52
)

// digits maps a character to its value, 0xff for those outside the alphabet.
var digits = func() (d [256]byte) {
	for i := range d {
		d[i] = 0xff
	}
	for i := range len(alphabet) {
		d[alphabet[i]] = byte(i)
	}
	return d
}()

// ParsePublicKey reads a public key in any form that ParseKey32 accepts. It does not check that the
// bytes are a point of the curve; connecting to something that is not fails later.
func ParsePublicKey(text string) (PublicKey, error) {
	k, err := ParseKey32(text)
	return k, err
}

// ParseKey32 reads 32 bytes of text: 64 hex digits in either case, 52 characters of lower case
// z-base-32, or one of the two behind pear:// with or without a path after it
// (hypercore-id-encoding). Every other text is an ErrKeyText. Several texts can name one key, because
// the last z32 digit has four bits to spare: compare the bytes.
func ParseKey32(text string) (key [32]byte, err error) {
	if rest, ok := strings.CutPrefix(text, scheme); ok {
		text, _, _ = strings.Cut(rest, "/")
	}
	switch len(text) {
	case hex.EncodedLen(len(key)):
		if _, err := hex.Decode(key[:], []byte(text)); err != nil {
			return [32]byte{}, fmt.Errorf("%w: %w", ErrKeyText, err)
		}
		return key, nil
	case z32Len:
		return decodeZ32(text)
	}
	return key, fmt.Errorf("%w: %d characters, want 64 of hex or %d of z32", ErrKeyText, len(text), z32Len)
}

func decodeZ32(text string) (key [32]byte, err error) {
	var acc, bits uint
	n := 0
	for i := range len(text) {
		d := digits[text[i]]
		if d == 0xff {
			return [32]byte{}, fmt.Errorf("%w: character %d is not z32", ErrKeyText, i+1)
		}
		acc = acc<<5 | uint(d)
		bits += 5
		if bits >= 8 && n < len(key) {
			bits -= 8
			key[n] = byte(acc >> bits)
			n++
		}
	}
	return key, nil
}

// appendZ32 appends b in z-base-32, the last digit padded with zero bits.
func appendZ32(dst, b []byte) []byte {
	var acc, bits uint
	for _, c := range b {
		acc = acc<<8 | uint(c)
		bits += 8
		for bits >= 5 {
			bits -= 5
			dst = append(dst, alphabet[acc>>bits&31])
		}
	}
	if bits > 0 {
		dst = append(dst, alphabet[acc<<(5-bits)&31])
	}
	return dst
}

// FormatKey32 is the canonical text of 32 bytes: 52 characters of z-base-32.
func FormatKey32(key [32]byte) string {
	var buf [z32Len]byte
	return string(appendZ32(buf[:0], key[:]))
}

// String is the canonical text of the key: z-base-32.
func (k PublicKey) String() string { return FormatKey32(k) }

// Short is the beginning of the canonical text, for logs.
func (k PublicKey) Short() string { return FormatKey32(k)[:8] }

// Hex is the key in hex.
func (k PublicKey) Hex() string { return hex.EncodeToString(k[:]) }

// IsZero reports whether the key is unset.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// MarshalText is the canonical text of the key.
func (k PublicKey) MarshalText() ([]byte, error) { return appendZ32(nil, k[:]), nil }

// UnmarshalText reads what ParsePublicKey reads.
func (k *PublicKey) UnmarshalText(text []byte) error {
	v, err := ParsePublicKey(string(text))
	if err == nil {
		*k = v
	}
	return err
}
