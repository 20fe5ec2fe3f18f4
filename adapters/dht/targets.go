package dht

import (
	"fmt"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/compact"
	"github.com/dhtprom/dhtprom/ports"
)

// TargetsRequest is the value of the method targets, the registration of a set without its content:
//
//	uint major (1) · uint minor (1) · fixed32 secret · fixed32 key · fixed32 revision · fixed32 base (zero for none) · uint number of targets
//
// An Offer may follow; other bytes after the last field are ignored.
type TargetsRequest struct {
	Major, Minor   uint64 // 0 is encoded as the current version
	Secret         domain.Secret
	Key            domain.PublicKey
	Revision, Base domain.Revision
	Count          uint64
	Offer          *Offer // nil for none
}

// Size is the length of the encoding.
func (m TargetsRequest) Size() int {
	n := 0
	if m.Offer != nil {
		n = m.Offer.size()
	}
	return n + compact.UintSize(orVersion(m.Major, majorVersion)) + compact.UintSize(orVersion(m.Minor, minorVersion)) +
		2*domain.KeySize + len(m.Revision) + len(m.Base) + compact.UintSize(m.Count)
}

// Append appends the encoding.
func (m TargetsRequest) Append(dst []byte) []byte {
	dst = appendVersion(dst, m.Major, m.Minor)
	secret := m.Secret.Reveal()
	dst = append(dst, secret[:]...)
	dst = append(dst, m.Key[:]...)
	dst = append(dst, m.Revision[:]...)
	dst = append(dst, m.Base[:]...)
	dst = compact.AppendUint(dst, m.Count)
	if m.Offer != nil {
		dst = m.Offer.Append(dst)
	}
	return dst
}

// ParseTargetsRequest parses a request. The error is a *VersionError or describes the malformed field.
func ParseTargetsRequest(b []byte) (TargetsRequest, error) {
	r := compact.NewReader(b)
	major, minor, err := readVersion(&r)
	if err != nil {
		return TargetsRequest{}, err
	}
	m := TargetsRequest{Major: major, Minor: minor, Secret: domain.SecretFrom(r.Key())}
	m.Key = domain.PublicKey(r.Key())
	m.Revision, m.Base = domain.Revision(r.Key()), domain.Revision(r.Key())
	m.Count = r.Uint()
	if err := r.Err(); err != nil {
		return TargetsRequest{}, fmt.Errorf("targets request: %w", err)
	}
	m.Offer = ParseOffer(r.Rest())
	return m, nil
}

// TargetsReply is the result of the methods targets and targets-commit:
//
//	uint major (1) · uint minor (1) · bool success (1) · uint need (0 nothing, 1 all, 2 changes) · uint flags (1 accepted, 2 shared, 4 updated, 8 elsewhere) ·
//	  uint n · n × (string alias · uint reason)
//	uint major (1) · uint minor (1) · bool success (0) · string message
//
// Only the major version is checked. Bytes after the last field are ignored. The aliases are those that the scraper did not take.
type TargetsReply struct {
	Major, Minor              uint64 // 0 is encoded as the current version
	Success                   bool
	Need                      ports.Need // on success. If anything, the rest is not meaningful.
	Accepted, Shared, Updated bool
	Elsewhere                 bool // see AliasReply
	Rejected                  []domain.RejectedTarget
	Message                   string // on failure
}

const flagUpdated = 4 // of a reply to targets, beside flagAccept and flagShared

// rejectionReasons are the reasons of rejected targets by their codes. Code 0 is any other.
var rejectionReasons = []string{
	"", domain.ReasonBadName, domain.ReasonNoProof, domain.ReasonOverloaded, domain.ReasonPinned, domain.ReasonRateLimit, domain.ReasonStore,
	domain.ReasonTableFull, domain.ReasonUnauthorised, domain.ReasonNotAllowed, domain.ReasonIdentity,
}

// rejectionCode returns the code of a reason.
func rejectionCode(reason string) uint64 {
	return uint64(max(slices.Index(rejectionReasons, reason), 0))
}

// rejectionReason is the inverse of rejectionCode; "" for a code that this version does not know.
func rejectionReason(code uint64) string {
	if code >= uint64(len(rejectionReasons)) {
		return ""
	}
	return rejectionReasons[code]
}

func (m TargetsReply) flags() (f uint64) {
	for flag, set := range map[uint64]bool{flagAccept: m.Accepted, flagShared: m.Shared, flagUpdated: m.Updated, flagElsewhere: m.Elsewhere} {
		if set {
			f |= flag
		}
	}
	return f
}

// Size is the length of the encoding.
func (m TargetsReply) Size() int {
	n := compact.UintSize(orVersion(m.Major, majorVersion)) + compact.UintSize(orVersion(m.Minor, minorVersion)) + 1
	if !m.Success {
		return n + compact.BytesSize(len(m.Message))
	}
	n += compact.UintSize(uint64(m.Need)) + compact.UintSize(m.flags()) + compact.UintSize(uint64(len(m.Rejected)))
	for _, t := range m.Rejected {
		n += compact.BytesSize(len(t.Alias)) + compact.UintSize(rejectionCode(t.Reason))
	}
	return n
}

// Append appends the encoding.
func (m TargetsReply) Append(dst []byte) []byte {
	dst = compact.AppendBool(appendVersion(dst, m.Major, m.Minor), m.Success)
	if !m.Success {
		return compact.AppendString(dst, m.Message)
	}
	dst = compact.AppendUint(compact.AppendUint(dst, uint64(m.Need)), m.flags())
	dst = compact.AppendUint(dst, uint64(len(m.Rejected)))
	for _, t := range m.Rejected {
		dst = compact.AppendUint(compact.AppendString(dst, string(t.Alias)), rejectionCode(t.Reason))
	}
	return dst
}

// ParseTargetsReply parses a reply. The error is a *VersionError or describes the malformed field.
func ParseTargetsReply(b []byte) (TargetsReply, error) {
	r := compact.NewReader(b)
	m := TargetsReply{Major: r.Uint(), Minor: r.Uint()}
	if r.Err() == nil && m.Major != majorVersion {
		return TargetsReply{}, &VersionError{fmt.Sprintf("reply of major version %d, want %d", m.Major, majorVersion)}
	}
	m.Success = r.Bool()
	if m.Success {
		m.Need = readNeed(&r)
		flags := r.Uint()
		m.Accepted, m.Shared, m.Updated = flags&flagAccept != 0, flags&flagShared != 0, flags&flagUpdated != 0
		m.Elsewhere = flags&flagElsewhere != 0
		for range r.Count(2, domain.MaxTargets) {
			alias, code := r.Bytes(), r.Uint()
			if r.Err() != nil {
				break
			}
			m.Rejected = append(m.Rejected, domain.RejectedTarget{Alias: clipAlias(alias), Reason: rejectionReason(code)})
		}
	} else {
		m.Message = r.String()
	}
	if err := r.Err(); err != nil {
		return TargetsReply{}, fmt.Errorf("targets reply: %w", err)
	}
	return m, nil
}

// readNeed reads what a scraper needs. A need of a later version is the one for all targets.
func readNeed(r *compact.Reader) ports.Need {
	switch n := r.Uint(); n {
	case uint64(ports.NeedNothing), uint64(ports.NeedChanges):
		return ports.Need(n)
	}
	return ports.NeedAll
}

// TargetsCommit is the value of the method targets-commit, which ends the content of a set:
//
//	uint content (1 all targets, 2 changes since the base) · uint bytes of the content
//
// Bytes after the last field are ignored.
type TargetsCommit struct {
	Need  ports.Need // NeedAll or NeedChanges
	Bytes uint64
}

// Size is the length of the encoding.
func (m TargetsCommit) Size() int {
	return compact.UintSize(uint64(m.Need)) + compact.UintSize(m.Bytes)
}

// Append appends the encoding.
func (m TargetsCommit) Append(dst []byte) []byte {
	return compact.AppendUint(compact.AppendUint(dst, uint64(m.Need)), m.Bytes)
}

// ParseTargetsCommit parses a commit. The error describes the malformed field.
func ParseTargetsCommit(b []byte) (TargetsCommit, error) {
	r := compact.NewReader(b)
	need, size := r.Uint(), r.Uint()
	switch {
	case r.Err() != nil:
		return TargetsCommit{}, fmt.Errorf("targets commit: %w", r.Err())
	case need != uint64(ports.NeedAll) && need != uint64(ports.NeedChanges):
		return TargetsCommit{}, fmt.Errorf("targets commit: content of kind %d, want 1 or 2", need)
	}
	return TargetsCommit{Need: ports.Need(need), Bytes: size}, nil
}

// clipAlias returns an alias from the network, truncated where it is longer than any valid one.
func clipAlias(b []byte) domain.Alias { return domain.Alias(b[:min(len(b), domain.MaxAlias)]) }
