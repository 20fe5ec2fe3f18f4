package kad

import (
	"crypto/subtle"
	"io"
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Tokens issues and checks round trip tokens: proof that a sender receives packets at the
// address that it claims (dht-rpc lib/io.js). A token is valid for between one and two rotations. The zero
// Tokens is ready; its secrets are drawn when the first token is issued.
type Tokens struct {
	secrets *[2][32]byte // previous, current
	rotates host.Instant // when they rotate next
}

// TokensOf are tokens under given secrets, as if they had just been drawn at instant 0.
func TokensOf(previous, current [32]byte) Tokens {
	return Tokens{secrets: &[2][32]byte{previous, current}, rotates: host.Instant(TokenRotation)}
}

// Issue makes the token of a host. Ports do not matter.
func (t *Tokens) Issue(now host.Instant, rand io.Reader, addr netip.Addr) (id.Token, error) {
	t.advance(now)
	if t.secrets == nil {
		var s [2][32]byte
		for i := range s {
			if _, err := io.ReadFull(rand, s[i][:]); err != nil {
				return id.Token{}, err
			}
		}
		t.secrets, t.rotates = &s, now.Add(TokenRotation)
	}
	return t.token(1, addr), nil
}

// Valid reports whether token was issued to that host under the current or the previous secret.
func (t *Tokens) Valid(now host.Instant, addr netip.Addr, token id.Token) bool {
	t.advance(now)
	if t.secrets == nil {
		return false
	}
	current, previous := t.token(1, addr), t.token(0, addr)
	return subtle.ConstantTimeCompare(current[:], token[:])|subtle.ConstantTimeCompare(previous[:], token[:]) == 1
}

// advance catches up with the rotations that are due. A timer would do the same work, but most nodes
// of a large simulation issue no tokens for long times.
func (t *Tokens) advance(now host.Instant) {
	if t.secrets == nil || now.Before(t.rotates) {
		return
	}
	missed := int64(now.Sub(t.rotates)/TokenRotation) + 1
	t.rotates = t.rotates.Add(TokenRotation * (1 + now.Sub(t.rotates)/TokenRotation))
	for range min(missed, 2) { // after two no token is valid any more
		t.rotate()
	}
}

func (t *Tokens) rotate() {
	s := t.secrets
	s[0], s[1] = s[1], id.Hash(s[0][:])
}

func (t *Tokens) token(secret int, addr netip.Addr) id.Token {
	return id.TokenFor(t.secrets[secret], addr)
}
