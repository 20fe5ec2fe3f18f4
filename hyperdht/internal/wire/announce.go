package wire

import (
	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

const (
	announceFlagPeer      = 1
	announceFlagRefresh   = 2
	announceFlagSignature = 4
	announceFlagBump      = 8
)

// Announce is the value of CmdAnnounce and CmdUnannounce:
//
//	uint flags (1 peer, 2 refresh, 4 signature, 8 bump) ·
//	[peer] · [fixed32 refresh] · [fixed64 signature] · [uint bump]
//
// With a refresh and no peer it asks to keep an earlier record alive.
type Announce struct {
	Peer      *Peer
	Refresh   *[32]byte
	Signature *[64]byte
	// Bump is in milliseconds of wall time since 1970; never written when 0.
	Bump uint64
}

// Size is the number of bytes Append appends.
func (m Announce) Size() int {
	n := 1
	if m.Peer != nil {
		n += m.Peer.Size()
	}
	if m.Refresh != nil {
		n += len(m.Refresh)
	}
	if m.Signature != nil {
		n += len(m.Signature)
	}
	if m.Bump != 0 {
		n += compact.UintSize(m.Bump)
	}
	return n
}

// Append appends the encoded message.
func (m Announce) Append(dst []byte) []byte {
	dst = append(dst, flag(m.Peer != nil, announceFlagPeer)|
		flag(m.Refresh != nil, announceFlagRefresh)|
		flag(m.Signature != nil, announceFlagSignature)|
		flag(m.Bump != 0, announceFlagBump))
	if m.Peer != nil {
		dst = m.Peer.Append(dst)
	}
	if m.Refresh != nil {
		dst = append(dst, m.Refresh[:]...)
	}
	if m.Signature != nil {
		dst = append(dst, m.Signature[:]...)
	}
	if m.Bump != 0 {
		dst = compact.AppendUint(dst, m.Bump)
	}
	return dst
}

// ParseAnnounce reads the value of a CmdAnnounce or CmdUnannounce.
func ParseAnnounce(b []byte) (Announce, error) {
	r := compact.NewReader(b)
	flags := r.Uint()
	var m Announce
	if flags&announceFlagPeer != 0 {
		p := readPeer(&r)
		m.Peer = &p
	}
	m.Refresh = keyIf(&r, flags&announceFlagRefresh != 0)
	if flags&announceFlagSignature != 0 {
		if b := r.Fixed(64); b != nil {
			m.Signature = (*[64]byte)(b)
		}
	}
	if flags&announceFlagBump != 0 {
		m.Bump = r.Uint()
	}
	if err := r.Err(); err != nil {
		return Announce{}, err
	}
	return m, nil
}

// Grant ties an announce signature to one node at one time: the target of the record, the node that stores
// it and the token that this node issued. A signature made for one node is invalid at another.
type Grant struct {
	Target id.Target
	Node   id.NodeID
	Token  id.Token
}

// signable returns the signed bytes: the namespace of the command, then
// H(target · node id · token · peer record · refresh if present). Flags and bump are not covered.
func (g Grant) signable(ns [32]byte, peer Peer, refresh *[32]byte) []byte {
	var tail []byte
	if refresh != nil {
		tail = refresh[:]
	}
	record := peer.Append(make([]byte, 0, peer.Size()))
	hash := id.Hash(g.Target[:], g.Node[:], g.Token[:], record, tail)
	return append(ns[:], hash[:]...)
}

// SignAnnounce signs a record for storing. refresh is nil if the message carries none.
func SignAnnounce(kp id.KeyPair, g Grant, peer Peer, refresh *[32]byte) [64]byte {
	return kp.Sign(g.signable(id.NSAnnounce, peer, refresh))
}

// SignUnannounce signs a record for removal. refresh is nil if the message carries none.
func SignUnannounce(kp id.KeyPair, g Grant, peer Peer, refresh *[32]byte) [64]byte {
	return kp.Sign(g.signable(id.NSUnannounce, peer, refresh))
}

// VerifyAnnounce reports whether the announced key signed m for storing under g.
func (m Announce) VerifyAnnounce(g Grant) bool { return m.verify(id.NSAnnounce, g) }

// VerifyUnannounce reports whether the announced key signed m for removal under g.
func (m Announce) VerifyUnannounce(g Grant) bool { return m.verify(id.NSUnannounce, g) }

func (m Announce) verify(ns [32]byte, g Grant) bool {
	return m.Peer != nil && m.Signature != nil &&
		id.Verify(m.Peer.PublicKey, g.signable(ns, *m.Peer, m.Refresh), m.Signature[:])
}
