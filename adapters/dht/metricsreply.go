package dht

import (
	"fmt"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
)

// MetricsReply is the result of the method metrics:
//
//	uint version (0) · bool success (1) · string metrics
//	uint version (0) · bool success (0) · string message
//
// Bytes after the last field are ignored.
type MetricsReply struct {
	Success bool
	Body    []byte // on success; borrows the input when parsed
	Message string // on failure
}

// Size is the length of the encoding.
func (m MetricsReply) Size() int {
	if m.Success {
		return 2 + compact.BytesSize(len(m.Body))
	}
	return 2 + compact.BytesSize(len(m.Message))
}

// Append appends the encoding.
func (m MetricsReply) Append(dst []byte) []byte {
	dst = compact.AppendBool(compact.AppendUint(dst, metricsReplyVersion), m.Success)
	if m.Success {
		return compact.AppendBytes(dst, m.Body)
	}
	return compact.AppendString(dst, m.Message)
}

// ParseMetricsReply parses a reply. The error is a *VersionError or describes the malformed field.
func ParseMetricsReply(b []byte) (MetricsReply, error) {
	r := compact.NewReader(b)
	if v := r.Uint(); v > metricsReplyVersion {
		return MetricsReply{}, &VersionError{fmt.Sprintf("Cannot decode MetricsReply of future version %d (own version: %d)", v, metricsReplyVersion)}
	}
	m := MetricsReply{Success: r.Bool()}
	if m.Success {
		m.Body = r.Bytes()
	} else {
		m.Message = r.String()
	}
	if err := r.Err(); err != nil {
		return MetricsReply{}, fmt.Errorf("metrics reply: %w", err)
	}
	return m, nil
}
