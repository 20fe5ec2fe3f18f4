package secret

import (
	"golang.org/x/crypto/nacl/secretbox"
)

// unordered is the state of messages outside the stream:
//
//	counter (8) · secretbox (authentication tag first)
//
// The nonce is the counter and 16 zeros. Nothing detects replays or gaps: it is UDP with secrecy.
type unordered struct {
	sendKey, recvKey [keyLen]byte
	counter          [counterLen]byte // little endian, starts at random, steps before each use
	first            [counterLen]byte
}

// SealMessage encrypts an unordered message; the result is the caller's. It returns nil when all 2^64 counters
// are used up, after which the connection must be destroyed.
func (s *Stream) SealMessage(plain []byte) []byte {
	u := &s.unordered
	for i := range u.counter {
		if u.counter[i]++; u.counter[i] != 0 {
			break
		}
	}
	if u.counter == u.first {
		return nil
	}
	var nonce [nonceLen]byte
	copy(nonce[:], u.counter[:])
	out := make([]byte, counterLen, UnorderedOverhead+len(plain))
	copy(out, u.counter[:])
	return secretbox.Seal(out, plain, &nonce, &u.sendKey)
}

// OpenMessage decrypts an unordered message of the other side; the result is the caller's. What does not
// authenticate is to be ignored. b is not changed.
func (s *Stream) OpenMessage(b []byte) ([]byte, bool) {
	if len(b) < UnorderedOverhead {
		return nil, false
	}
	var nonce [nonceLen]byte
	copy(nonce[:], b[:counterLen])
	out := make([]byte, 0, len(b)-UnorderedOverhead)
	return secretbox.Open(out, b[counterLen:], &nonce, &s.unordered.recvKey)
}
