package dht

import "github.com/dhtprom/dhtprom/hyperdht/compact"

// MetricsRequest is the value of the method metrics:
//
//	uint major (1) · uint minor (1)
//
// Bytes after the last field are ignored.
type MetricsRequest struct {
	Major, Minor uint64 // 0 is written as the version that is spoken
}

// Size is the length of the encoding.
func (m MetricsRequest) Size() int {
	return compact.UintSize(orVersion(m.Major, majorVersion)) + compact.UintSize(orVersion(m.Minor, minorVersion))
}

// Append appends the encoding.
func (m MetricsRequest) Append(dst []byte) []byte { return appendVersion(dst, m.Major, m.Minor) }

// ParseMetricsRequest reads a request. It fails with a *VersionError or with the reason why it is malformed.
func ParseMetricsRequest(b []byte) (MetricsRequest, error) {
	r := compact.NewReader(b)
	major, minor, err := readVersion(&r)
	return MetricsRequest{Major: major, Minor: minor}, err
}
