package wire

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/compact"
)

const (
	punchFlagConnected   = 1
	punchFlagPunching    = 2
	punchFlagAddrs       = 4
	punchFlagRemoteAddr  = 8
	punchFlagToken       = 16
	punchFlagRemoteToken = 32
	punchFlagFastProbes  = 64
	punchFlagRetryAfter  = 128
)

// HolepunchPayload is the clear text of a hole punching message:
//
//	uint flags · uint error · uint firewall · uint round · the flagged parts:
//	  1 connected, 2 punching (no bytes) · 4 array(ipv4Address) addresses ·
//	  8 ipv4Address remoteAddress · 16 fixed32 token · 32 fixed32 remoteToken · 64 fast probes (no bytes) ·
//	  128 uint retry after, in milliseconds
//
// The reference implementation ignores the flags 64 and 128 and the bytes after the parts that it knows.
type HolepunchPayload struct {
	Error     PayloadError
	Firewall  Firewall
	Round     uint64
	Connected bool
	Punching  bool
	// Addrs are the sender's public addresses as far as it knows them. Nil if absent.
	Addrs []netip.AddrPort
	// RemoteAddr is the receiver as the sender knows it. Invalid if absent.
	RemoteAddr netip.AddrPort
	// Token is for the receiver to echo, which proves that it is at the address the token is for.
	Token *[32]byte
	// RemoteToken is the receiver's own token, echoed.
	RemoteToken *[32]byte
	// FastProbes reports that the sender supports probes at a pace that the reference implementation does not have.
	FastProbes bool
	// TakesRetryAfter is set by senders that know RetryAfter, and ask again at that time.
	TakesRetryAfter bool
	// RetryAfter is the time after which the receiver is to ask again, in milliseconds, in an answer with ErrorTryLater. Zero
	// is unknown. It is encoded only with TakesRetryAfter.
	RetryAfter uint64
}

// Size is the number of bytes Append appends.
func (m HolepunchPayload) Size() int {
	n := compact.UintSize(m.flags()) + compact.UintSize(uint64(m.Error)) + compact.UintSize(uint64(m.Firewall)) + compact.UintSize(m.Round)
	if m.Addrs != nil {
		n += compact.AddrsSize(len(m.Addrs))
	}
	if m.RemoteAddr.IsValid() {
		n += compact.AddrSize
	}
	if m.Token != nil {
		n += len(m.Token)
	}
	if m.RemoteToken != nil {
		n += len(m.RemoteToken)
	}
	if m.TakesRetryAfter {
		n += compact.UintSize(m.RetryAfter)
	}
	return n
}

func (m HolepunchPayload) flags() uint64 {
	return uint64(flag(m.Connected, punchFlagConnected) |
		flag(m.Punching, punchFlagPunching) |
		flag(m.Addrs != nil, punchFlagAddrs) |
		flag(m.RemoteAddr.IsValid(), punchFlagRemoteAddr) |
		flag(m.Token != nil, punchFlagToken) |
		flag(m.RemoteToken != nil, punchFlagRemoteToken) |
		flag(m.FastProbes, punchFlagFastProbes) |
		flag(m.TakesRetryAfter, punchFlagRetryAfter))
}

// Append appends the encoded payload.
func (m HolepunchPayload) Append(dst []byte) []byte {
	dst = compact.AppendUint(dst, m.flags())
	dst = compact.AppendUint(dst, uint64(m.Error))
	dst = compact.AppendUint(dst, uint64(m.Firewall))
	dst = compact.AppendUint(dst, m.Round)
	if m.Addrs != nil {
		dst = compact.AppendAddrs(dst, m.Addrs)
	}
	dst = appendAddrIf(dst, m.RemoteAddr)
	if m.Token != nil {
		dst = append(dst, m.Token[:]...)
	}
	if m.RemoteToken != nil {
		dst = append(dst, m.RemoteToken[:]...)
	}
	if m.TakesRetryAfter {
		dst = compact.AppendUint(dst, m.RetryAfter)
	}
	return dst
}

// ParseHolepunchPayload reads the clear text of a hole punching message.
func ParseHolepunchPayload(b []byte) (HolepunchPayload, error) {
	r := compact.NewReader(b)
	flags := r.Uint()
	m := HolepunchPayload{
		Error:           PayloadError(r.Uint()),
		Firewall:        Firewall(r.Uint()),
		Round:           r.Uint(),
		Connected:       flags&punchFlagConnected != 0,
		Punching:        flags&punchFlagPunching != 0,
		FastProbes:      flags&punchFlagFastProbes != 0,
		TakesRetryAfter: flags&punchFlagRetryAfter != 0,
	}
	if flags&punchFlagAddrs != 0 {
		m.Addrs = r.Addrs(compact.MaxArray)
	}
	m.RemoteAddr = addrIf(&r, flags&punchFlagRemoteAddr != 0)
	m.Token = keyIf(&r, flags&punchFlagToken != 0)
	m.RemoteToken = keyIf(&r, flags&punchFlagRemoteToken != 0)
	if m.TakesRetryAfter {
		m.RetryAfter = r.Uint()
	}
	if err := r.Err(); err != nil {
		return HolepunchPayload{}, err
	}
	return m, nil
}
