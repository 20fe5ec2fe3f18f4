package stream

import (
	"bytes"
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/ports/host"
)

// admission decides which packets of a stream are received: the first one must begin as expected, and those that do not come from
// the remote must pass the firewall.
type admission struct {
	firewall Firewall
	opening  []byte // see Expect
	first    bool   // the packet being received begins with it
	watching bool   // the firewall is asked about foreign addresses, too
}

// begins reports whether a packet is not the first one, or begins as expected.
func (a *admission) begins(b []byte) bool {
	if a.opening == nil {
		return true
	}
	p := udx.First(b)
	a.first = bytes.HasPrefix(p, a.opening)
	return p == nil || a.first
}

// begun ends the expectation: the peer's first bytes have arrived.
func (a *admission) begun() { a.opening, a.first = nil, false }

// admits asks the firewall about a packet.
func (a *admission) admits(k host.Socket, from netip.AddrPort) bool {
	return a.firewall != nil && a.firewall(k, from)
}
