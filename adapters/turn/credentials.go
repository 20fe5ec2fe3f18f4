package turn

import (
	"crypto/hmac"
	"crypto/md5"  // of the protocol
	"crypto/sha1" // likewise
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"slices"
	"strings"

	"github.com/pion/stun/v2"
)

// Attributes and values of RFC 8489 that pion has not.
const (
	attrIntegritySHA256    stun.AttrType = 0x001c
	attrPasswordAlgorithm  stun.AttrType = 0x001d
	attrPasswordAlgorithms stun.AttrType = 0x8002
	algorithmSHA256                      = 2
	// nonceCookie begins nonces of servers with security features: 24 bits in base64, whose least one is that of password algorithms.
	nonceCookie       = "obMatJos2"
	nonceFeatures     = 4
	featureAlgorithms = 1
)

// credentials sign requests and check answers: the long-term mechanism of RFC 8489, section 9.2. The zero credentials sign nothing.
type credentials struct {
	username   string
	realm      string
	nonce      []byte
	key        []byte // nil until the realm is known
	sha256     bool   // the algorithm of key and signatures, where the server offers it; otherwise MD5 and SHA-1
	algorithms []byte // that the server offers, as it has sent them
}

// challenged takes realm, nonce and algorithms of an answer.
func (c *credentials) challenged(m *message, username, password string) {
	c.username, c.nonce = username, append(c.nonce[:0], m.nonce...)
	if len(m.realm) > 0 {
		c.realm = string(m.realm)
	}
	c.algorithms, c.sha256 = append(c.algorithms[:0], m.algorithms...), offersSHA256(m.nonce, m.algorithms)
	text := []byte(strings.Join([]string{username, c.realm, password}, ":"))
	if c.sha256 {
		sum := sha256.Sum256(text)
		c.key = sum[:]
		return
	}
	sum := md5.Sum(text)
	c.key = sum[:]
}

// offersSHA256 reports whether a server offers SHA-256, which the nonce confirms.
func offersSHA256(nonce, algorithms []byte) bool {
	features, found := strings.CutPrefix(string(nonce), nonceCookie)
	if !found || len(features) < nonceFeatures {
		return false
	}
	bits, err := base64.StdEncoding.DecodeString(features[:nonceFeatures])
	if err != nil || len(bits) != 3 || bits[2]&featureAlgorithms == 0 {
		return false
	}
	for len(algorithms) >= 4 {
		if binary.BigEndian.Uint16(algorithms) == algorithmSHA256 {
			return true
		}
		parameters := (int(binary.BigEndian.Uint16(algorithms[2:])) + 3) &^ 3
		algorithms = algorithms[min(len(algorithms), 4+parameters):]
	}
	return false
}

// known reports whether requests are signed.
func (c *credentials) known() bool { return c.key != nil }

// sign adds the credentials to a request, after all else.
func (c *credentials) sign(m *stun.Message) {
	m.Add(stun.AttrUsername, []byte(c.username))
	m.Add(stun.AttrRealm, []byte(c.realm))
	m.Add(stun.AttrNonce, c.nonce)
	kind, size := stun.AttrMessageIntegrity, sha1.Size
	if c.sha256 {
		m.Add(attrPasswordAlgorithms, c.algorithms)
		m.Add(attrPasswordAlgorithm, []byte{0, algorithmSHA256, 0, 0})
		kind, size = attrIntegritySHA256, sha256.Size
	}
	m.Add(kind, c.mac(m.Raw, len(m.Raw), size))
}

// mac computes the signature of a message that ends at a place with an attribute of a size.
func (c *credentials) mac(raw []byte, at, size int) []byte {
	sum := func() hash.Hash { return sha1.New() }
	if c.sha256 {
		sum = sha256.New
	}
	header := slices.Clone(raw[:headerSize])
	binary.BigEndian.PutUint16(header[2:], uint16(at-headerSize+attrHeader+size))
	h := hmac.New(sum, c.key)
	h.Write(header)
	h.Write(raw[headerSize:at])
	return h.Sum(nil)
}

// check reports whether an answer has the signature of the server.
func (c *credentials) check(m *stun.Message) bool {
	kind, size := stun.AttrMessageIntegrity, sha1.Size
	if c.sha256 {
		kind, size = attrIntegritySHA256, sha256.Size
	}
	at := headerSize
	for _, a := range m.Attributes {
		if a.Type == kind {
			return len(a.Value) == size && hmac.Equal(a.Value, c.mac(m.Raw, at, size))
		}
		at += attrHeader + (len(a.Value)+3)&^3
	}
	return false
}
