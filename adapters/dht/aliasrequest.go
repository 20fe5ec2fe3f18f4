package dht

import (
	"fmt"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht/compact"
)

// AliasRequest is the value of the methods alias and leave:
//
//	uint major (1) · uint minor (1) · fixed32 secret · string alias · fixed32 key · string hostname · string service
//
// An Offer may follow, which carries the Instance; other bytes after the last field are ignored. The length of names is
// not limited here, see CheckNames; they need not be UTF-8.
type AliasRequest struct {
	Major, Minor uint64 // 0 is encoded as the current version
	Secret       domain.Secret
	domain.Register
	Offer *Offer // nil for none
}

// Size is the length of the encoding.
func (m AliasRequest) Size() int {
	n := 0
	if m.Offer != nil {
		n = m.Offer.size()
	}
	return n + compact.UintSize(orVersion(m.Major, majorVersion)) + compact.UintSize(orVersion(m.Minor, minorVersion)) +
		2*domain.KeySize +
		compact.BytesSize(len(m.Alias)) + compact.BytesSize(len(m.Hostname)) + compact.BytesSize(len(m.Service))
}

// Append appends the encoding.
func (m AliasRequest) Append(dst []byte) []byte {
	dst = appendVersion(dst, m.Major, m.Minor)
	secret := m.Secret.Reveal()
	dst = append(dst, secret[:]...)
	dst = compact.AppendString(dst, string(m.Alias))
	dst = append(dst, m.Key[:]...)
	dst = compact.AppendString(dst, m.Hostname)
	dst = compact.AppendString(dst, m.Service)
	if m.Offer != nil {
		dst = m.Offer.Append(dst)
	}
	return dst
}

// ParseAliasRequest parses a request. The error is a *VersionError or describes the malformed field.
func ParseAliasRequest(b []byte) (AliasRequest, error) {
	r := compact.NewReader(b)
	major, minor, err := readVersion(&r)
	if err != nil {
		return AliasRequest{}, err
	}
	m := AliasRequest{Major: major, Minor: minor, Secret: domain.SecretFrom(r.Key())}
	m.Alias = domain.Alias(r.String())
	m.Key = domain.PublicKey(r.Key())
	m.Hostname, m.Service = r.String(), r.String()
	if err := r.Err(); err != nil {
		return AliasRequest{}, fmt.Errorf("alias request: %w", err)
	}
	m.Offer = ParseOffer(r.Rest())
	return m, nil
}

// CheckNames returns a *NameError for a name longer than max bytes. A request with such a name has a valid encoding, so it
// is answered with that error.
func (m AliasRequest) CheckNames(max int) error {
	for _, f := range []struct {
		name string
		len  int
	}{{"alias", len(m.Alias)}, {"hostname", len(m.Hostname)}, {"service", len(m.Service)}} {
		if f.len > max {
			return &NameError{Field: f.name, Len: f.len, Max: max}
		}
	}
	return nil
}

func orVersion(v, spoken uint64) uint64 {
	if v == 0 {
		return spoken
	}
	return v
}

// appendVersion writes the versions of a request or alias reply.
func appendVersion(dst []byte, major, minor uint64) []byte {
	dst = compact.AppendUint(dst, orVersion(major, majorVersion))
	return compact.AppendUint(dst, orVersion(minor, minorVersion))
}

// readVersion reads and checks the versions of a request. The error texts are the same for both kinds of request.
func readVersion(r *compact.Reader) (major, minor uint64, err error) {
	major, minor = r.Uint(), r.Uint()
	switch {
	case r.Err() != nil:
		return 0, 0, fmt.Errorf("version: %w", r.Err())
	case major != majorVersion:
		return 0, 0, &VersionError{fmt.Sprintf("Cannot decode RegisterRequest of other major version %d (own major: %d)", major, majorVersion)}
	case minor > minorVersion:
		return 0, 0, &VersionError{fmt.Sprintf("Cannot decode RegisterRequest of higher minor version %d (own minor: %d)", minor, minorVersion)}
	}
	return major, minor, nil
}
