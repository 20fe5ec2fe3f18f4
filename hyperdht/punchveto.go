package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// Punch is a hole punch that both sides are ready to begin, for ConnectOptions.AdmitPunch and ListenOptions.AdmitPunch.
type Punch struct {
	// RemoteKey is the key of the other side.
	RemoteKey id.PublicKey
	// LocalNAT and RemoteNAT are the NATs of the two sides; the latter is what the other side claims.
	LocalNAT, RemoteNAT NATKind
	// LocalAddrs and RemoteAddrs are the public addresses of the sockets that punch: one each, unless a NAT gives a socket several. The
	// latter are claimed, eight at most.
	LocalAddrs, RemoteAddrs []netip.AddrPort
}

// plan describes a punch that is about to begin.
func (pu *puncher) plan(remote id.PublicKey) Punch {
	kinds := pu.kinds()
	plan := Punch{RemoteKey: remote, LocalNAT: kinds.ours, RemoteNAT: kinds.theirs, LocalAddrs: pu.nat.addrs()}
	for _, a := range pu.remoteAddrs {
		plan.RemoteAddrs = append(plan.RemoteAddrs, a.addr)
	}
	return plan
}

// vetoed reports whether the application of the dialling side forbids the punch.
func (d *dialPunch) vetoed() bool {
	admit := d.c.opts.AdmitPunch
	return admit != nil && !admit(d.u.plan(d.c.remote))
}

// punchVetoed reports whether the application of the server forbids the punch.
func (ic *incoming) punchVetoed() bool {
	admit := ic.s.cfg.AdmitPunch
	return admit != nil && !admit(ic.puncher.plan(ic.attemptTrace.key))
}
