package wire

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
)

// PingNAT is the value of CmdPingNAT, uint16 port: the answer is to be sent to that port of the
// sender's host. A node answers no port 0.
type PingNAT struct {
	Port uint16
}

// Size is the number of bytes Append appends.
func (m PingNAT) Size() int { return 2 }

// Append appends the encoded message.
func (m PingNAT) Append(dst []byte) []byte { return compact.AppendUint16(dst, m.Port) }

// ParsePingNAT reads the value of a CmdPingNAT.
func ParsePingNAT(b []byte) (PingNAT, error) {
	r := compact.NewReader(b)
	m := PingNAT{Port: r.Uint16()}
	return m, r.Err()
}

// DownHint is the value of CmdDownHint, ipv4Address node: the sender could not reach that node.
type DownHint struct {
	Node netip.AddrPort
}

// Size is the number of bytes Append appends.
func (m DownHint) Size() int { return compact.AddrSize }

// Append appends the encoded message.
func (m DownHint) Append(dst []byte) []byte { return compact.AppendAddr(dst, m.Node) }

// ParseDownHint reads the value of a CmdDownHint.
func ParseDownHint(b []byte) (DownHint, error) {
	r := compact.NewReader(b)
	m := DownHint{Node: r.Addr()}
	return m, r.Err()
}

// DelayedPing is the value of CmdDelayedPing, uint32 milliseconds: the answer is to be sent after the
// delay. Delays above MaxDelayedPing parse, but are not answered.
type DelayedPing struct {
	Delay time.Duration
}

// Size is the number of bytes Append appends.
func (m DelayedPing) Size() int { return 4 }

// Append appends the encoded message.
func (m DelayedPing) Append(dst []byte) []byte {
	return compact.AppendUint32(dst, uint32(m.Delay/time.Millisecond))
}

// ParseDelayedPing reads the value of a CmdDelayedPing.
func ParseDelayedPing(b []byte) (DelayedPing, error) {
	r := compact.NewReader(b)
	m := DelayedPing{Delay: time.Duration(r.Uint32()) * time.Millisecond}
	return m, r.Err()
}
