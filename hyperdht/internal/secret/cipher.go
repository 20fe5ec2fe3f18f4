package secret

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"

	//lint:ignore SA1019 it is deprecated for new designs; the padding of secretstream needs it
	"golang.org/x/crypto/poly1305"
)

// state is one direction of a crypto_secretstream_xchacha20poly1305. A message is encrypted as
//
//	block 0  Poly1305 key
//	block 1  tag byte and 63 zeros: all 64 bytes are authenticated, the first is sent
//	block 2… message
//
// under a nonce that depends on all messages before.
type state struct {
	key   [keyLen]byte
	nonce [chacha20.NonceSize]byte // counter (4, little endian, from 1) · chained part (8)
	aead  cipher.AEAD              // ChaCha20-Poly1305 under key, nil where it does not pay off
}

// A sealing buffer has room for the tag's block in front of the message and for padding and lengths behind it.
const (
	headroom = blockLen
	tailroom = (macLen - 1) + macLen
)

// newState starts a direction.
func newState(key *[keyLen]byte, header *[nonceLen]byte) state {
	var s state
	sub, err := chacha20.HChaCha20(key[:], header[:16])
	if err != nil {
		panic(err) // lengths are fixed
	}
	copy(s.key[:], sub)
	s.nonce[0] = 1
	copy(s.nonce[4:], header[16:])
	s.newKey()
	return s
}

// newKey takes a changed key into use.
func (s *state) newKey() {
	if !fastAEAD {
		return
	}
	aead, err := chacha20poly1305.New(s.key[:])
	if err != nil {
		panic(err)
	}
	s.aead = aead
}

// aligned returns for which message lengths secretstream pads as ChaCha20-Poly1305 does. It appends
// n mod 16 zeros where n mod 16 are missing from a full block: an old slip that has become the format.
func aligned(n int) bool { return n%8 == 0 }

// seal encrypts the n bytes at buf[headroom:] in place, leaves the encrypted tag in buf[0], and returns the
// authentication tag. buf has headroom+n+tailroom bytes, the rest of which is overwritten.
func (s *state) seal(buf []byte, n int, tag byte) (mac [macLen]byte) {
	clear(buf[:headroom])
	buf[0] = tag
	var polyKey [keyLen]byte
	if s.aead != nil && n >= aeadMin {
		s.aead.Seal(buf[:0], s.nonce[:], buf[:headroom+n], nil)
		if aligned(n) {
			copy(mac[:], buf[headroom+n:])
			s.advance(&mac, tag)
			return mac
		}
		s.xor(polyKey[:], 0)
	} else {
		s.xor(polyKey[:], 0)
		s.xor(buf[:headroom+n], 1)
	}
	authenticate(&mac, buf, n, &polyKey)
	s.advance(&mac, tag)
	return mac
}

// open decrypts what seal made: buf[0] and n bytes at buf[headroom:], in place. When the authentication tag
// is wrong it returns false and changes nothing but the contents of buf.
func (s *state) open(buf []byte, n int, mac *[macLen]byte) bool {
	var first [2 * blockLen]byte // blocks 0 and 1
	s.xor(first[:], 0)
	tag := buf[0] ^ first[blockLen]
	first[blockLen] = buf[0]
	copy(buf[:headroom], first[blockLen:])

	if s.aead != nil && n >= aeadMin && aligned(n) {
		copy(buf[headroom+n:], mac[:])
		if _, err := s.aead.Open(buf[:0], s.nonce[:], buf[:headroom+n+macLen], nil); err != nil {
			return false
		}
		s.advance(mac, tag)
		return true
	}
	var want [macLen]byte
	authenticate(&want, buf, n, (*[keyLen]byte)(first[:keyLen]))
	if subtle.ConstantTimeCompare(want[:], mac[:]) != 1 {
		return false
	}
	if s.aead != nil && n >= aeadMin {
		// Sealing is its own inverse but for the tag, which is ignored: twice as fast as chacha20 alone.
		s.aead.Seal(buf[:0], s.nonce[:], buf[:headroom+n], nil)
	} else {
		s.xor(buf[headroom:headroom+n], 2)
	}
	s.advance(mac, tag)
	return true
}

// xor XORs b with the keystream from a block on. chacha20 has no assembly on amd64, so only short messages go
// this way there.
func (s *state) xor(b []byte, block uint32) {
	c, err := chacha20.NewUnauthenticatedCipher(s.key[:], s.nonce[:])
	if err != nil {
		panic(err)
	}
	c.SetCounter(block)
	c.XORKeyStream(b, b)
}

// authenticate computes the tag over buf[:headroom+n], the padding and the lengths (of nothing, and of the
// tag's block with the message), which it writes behind the message.
func authenticate(mac *[macLen]byte, buf []byte, n int, key *[keyLen]byte) {
	end := headroom + n
	pad := n % macLen
	clear(buf[end : end+pad+8])
	end += pad + 8
	binary.LittleEndian.PutUint64(buf[end:], uint64(blockLen+n))
	poly1305.Sum(mac, buf[:end+8], key)
}

// advance chains the nonce to a message that went through, and changes the key when it is time.
func (s *state) advance(mac *[macLen]byte, tag byte) {
	subtle.XORBytes(s.nonce[4:], s.nonce[4:], mac[:8])
	counter := binary.LittleEndian.Uint32(s.nonce[:]) + 1
	binary.LittleEndian.PutUint32(s.nonce[:], counter)
	if tag&tagRekey == 0 && counter != 0 {
		return
	}
	var block [blockLen]byte
	s.xor(block[:], 0)
	subtle.XORBytes(s.key[:], s.key[:], block[:keyLen])
	subtle.XORBytes(s.nonce[4:], s.nonce[4:], block[keyLen:keyLen+8])
	binary.LittleEndian.PutUint32(s.nonce[:], 1)
	s.newKey()
}
