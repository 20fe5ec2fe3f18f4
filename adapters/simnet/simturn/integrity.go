package simturn

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"

	"github.com/pion/stun/v2"
)

// Of RFC 8489, which pion has not.
const (
	attrIntegritySHA256    stun.AttrType = 0x001c
	attrPasswordAlgorithm  stun.AttrType = 0x001d
	attrPasswordAlgorithms stun.AttrType = 0x8002
	// nonceCookie announces password algorithms: the least of 24 bits.
	nonceCookie   = "obMatJos2AAAB"
	messageHeader = 20
	attrHeader    = 4
)

// algorithms are MD5 and SHA-256, as PASSWORD-ALGORITHMS has them.
var algorithms = []byte{0, 1, 0, 0, 0, 2, 0, 0}

// signature returns the kind of signatures that the server demands.
func (s *Server) signature() stun.AttrType {
	if s.cfg.SHA256 {
		return attrIntegritySHA256
	}
	return stun.AttrMessageIntegrity
}

// integrity signs and checks messages.
type integrity interface {
	stun.Setter
	signs(m *stun.Message) bool
}

// integrity1 is pion's, with MD5 and SHA-1.
type integrity1 struct{ stun.MessageIntegrity }

func (i integrity1) signs(m *stun.Message) bool { return i.Check(m) == nil }

// integrity256 has the key and the signatures of SHA-256.
type integrity256 []byte

func newIntegrity256(user, password string) integrity256 {
	key := sha256.Sum256([]byte(user + ":" + realm + ":" + password))
	return key[:]
}

// AddTo implements stun.Setter.
func (i integrity256) AddTo(m *stun.Message) error {
	m.Add(attrIntegritySHA256, make([]byte, sha256.Size))
	copy(m.Raw[len(m.Raw)-sha256.Size:], i.mac(m.Raw))
	return nil
}

// mac returns the signature of a message that ends with one.
func (i integrity256) mac(raw []byte) []byte {
	h := hmac.New(sha256.New, i)
	h.Write(raw[:len(raw)-sha256.Size-attrHeader])
	return h.Sum(nil)
}

// signs is strict: the signature comes last, and the algorithms are those that were offered.
func (i integrity256) signs(m *stun.Message) bool {
	offered, err := m.Get(attrPasswordAlgorithms)
	chosen, err2 := m.Get(attrPasswordAlgorithm)
	if err != nil || err2 != nil || string(offered) != string(algorithms) || len(chosen) != 4 || chosen[1] != 2 {
		return false
	}
	last := m.Attributes[len(m.Attributes)-1]
	return last.Type == attrIntegritySHA256 && hmac.Equal(last.Value, i.mac(m.Raw))
}

// alternate is the attribute ALTERNATE-SERVER.
type alternate netip.AddrPort

// AddTo implements stun.Setter.
func (a alternate) AddTo(m *stun.Message) error {
	at := netip.AddrPort(a)
	ip := at.Addr().As4()
	m.Add(stun.AttrAlternateServer, append(binary.BigEndian.AppendUint16([]byte{0, 1}, at.Port()), ip[:]...))
	return nil
}
