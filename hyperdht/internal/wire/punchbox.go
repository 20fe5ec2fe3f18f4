package wire

import (
	"fmt"
	"io"
	"net/netip"

	"golang.org/x/crypto/nacl/secretbox"

	"github.com/dhtprom/dhtprom/hyperdht/id"
)

const (
	boxNonceSize = 24
	// boxOverhead is the overhead of sealing: the nonce in front and the tag behind it.
	boxOverhead = boxNonceSize + secretbox.Overhead
)

// PunchBox seals hole punching payloads for the other side of one handshake:
//
//	24 bytes nonce · XSalsa20-Poly1305 secretbox, tag first
//
// It also makes the address tokens of one session, with a secret of its own.
type PunchBox struct {
	shared [32]byte
	local  [32]byte
	rand   io.Reader
}

// NewPunchBox returns a box for the holepunch secret that follows from a handshake. rand must not
// fail: a nonce that is not random would give the payloads away, so failing panics.
func NewPunchBox(secret [32]byte, rand io.Reader) *PunchBox {
	b := &PunchBox{shared: secret, rand: rand}
	b.random(b.local[:])
	return b
}

func (b *PunchBox) random(p []byte) {
	if _, err := io.ReadFull(b.rand, p); err != nil {
		panic(fmt.Sprintf("wire: no randomness: %v", err))
	}
}

// Seal encodes and encrypts a payload.
func (b *PunchBox) Seal(m HolepunchPayload) []byte {
	var nonce [boxNonceSize]byte
	b.random(nonce[:])
	clear := m.Append(make([]byte, 0, m.Size()))
	out := make([]byte, boxNonceSize, boxOverhead+len(clear))
	copy(out, nonce[:])
	return secretbox.Seal(out, clear, &nonce, &b.shared)
}

// Open decrypts and decodes a payload. It reports false for anything that the other side did not
// make. The payload does not borrow sealed.
func (b *PunchBox) Open(sealed []byte) (HolepunchPayload, bool) {
	if len(sealed) <= boxOverhead {
		return HolepunchPayload{}, false
	}
	nonce := [boxNonceSize]byte(sealed)
	clear, ok := secretbox.Open(nil, sealed[boxNonceSize:], &nonce, &b.shared)
	if !ok {
		return HolepunchPayload{}, false
	}
	m, err := ParseHolepunchPayload(clear)
	return m, err == nil
}

// Token is the token that proves, when echoed, that the other side receives at a host.
func (b *PunchBox) Token(host netip.Addr) [32]byte { return id.TokenFor(b.local, host) }
