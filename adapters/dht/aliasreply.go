package dht

import (
	"fmt"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
)

// AliasReply is the result of the methods alias and leave:
//
//	uint major (1) · uint minor (1) · bool success (1) · bool updated
//	uint major (1) · uint minor (1) · bool success (0) · string message
//
// Only the major version is checked. On success uint version (1) · uint flags (1 accepted, 2 shared, 8 elsewhere) may follow, where the
// JavaScript decoders stop reading; other bytes after the last field are ignored.
type AliasReply struct {
	Major, Minor uint64 // 0 is encoded as the current version
	Success      bool
	Updated      bool   // on success
	Message      string // on failure
	Accepted     bool   // on success: the scraper opens its metrics channel on this connection
	Shared       bool   // on success: another running client has the same key
	Elsewhere    bool   // on success: another member of the scraper's group connects to the client
}

// flags returns the flags of the tail.
func (m AliasReply) flags() (f uint64) {
	if m.Accepted {
		f |= flagAccept
	}
	if m.Shared {
		f |= flagShared
	}
	if m.Elsewhere {
		f |= flagElsewhere
	}
	return f
}

// Size is the length of the encoding.
func (m AliasReply) Size() int {
	n := compact.UintSize(orVersion(m.Major, majorVersion)) + compact.UintSize(orVersion(m.Minor, minorVersion)) + 1
	if m.Success && m.flags() != 0 {
		return n + 3
	}
	if m.Success {
		return n + 1
	}
	return n + compact.BytesSize(len(m.Message))
}

// Append appends the encoding.
func (m AliasReply) Append(dst []byte) []byte {
	dst = compact.AppendBool(appendVersion(dst, m.Major, m.Minor), m.Success)
	if m.Success {
		dst = compact.AppendBool(dst, m.Updated)
		if f := m.flags(); f != 0 {
			dst = compact.AppendUint(compact.AppendUint(dst, tailVersion), f)
		}
		return dst
	}
	return compact.AppendString(dst, m.Message)
}

// ParseAliasReply parses a reply. The error is a *VersionError or describes the malformed field.
func ParseAliasReply(b []byte) (AliasReply, error) {
	r := compact.NewReader(b)
	m := AliasReply{Major: r.Uint(), Minor: r.Uint()}
	if r.Err() == nil && m.Major != majorVersion {
		// The reference implementation's text, which lacks the closing bracket.
		return AliasReply{}, &VersionError{fmt.Sprintf("Cannot decode AliasResp of different major version %d (own version: %d", m.Major, majorVersion)}
	}
	m.Success = r.Bool()
	if m.Success {
		m.Updated = r.Bool()
	} else {
		m.Message = r.String()
	}
	if err := r.Err(); err != nil {
		return AliasReply{}, fmt.Errorf("alias reply: %w", err)
	}
	if version, flags := r.Uint(), r.Uint(); m.Success && r.Err() == nil && version == tailVersion {
		m.Accepted, m.Shared, m.Elsewhere = flags&flagAccept != 0, flags&flagShared != 0, flags&flagElsewhere != 0
	}
	return m, nil
}
