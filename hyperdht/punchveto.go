package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// Punch is a hole punch that both sides are ready to begin, for ConnectOptions.AdmitPunch and ListenOptions.AdmitPunch.
type Punch struct {
	// Remote is the key of the other side.
	Remote id.PublicKey
	// Ours and Theirs are the NATs of the two sides. Theirs is what the other side claims.
	Ours, Theirs NATKind
	// OurAddrs and TheirAddrs are the public addresses of the sockets that punch: one each, unless a NAT gives a socket several.
	// Theirs are claimed, eight at most.
	OurAddrs, TheirAddrs []netip.AddrPort
}

// plan describes a punch that is about to begin.
func (pu *puncher) plan(remote id.PublicKey) Punch {
	kinds := pu.kinds()
	plan := Punch{Remote: remote, Ours: kinds.ours, Theirs: kinds.theirs, OurAddrs: pu.nat.addrs()}
	for _, a := range pu.remoteAddrs {
		plan.TheirAddrs = append(plan.TheirAddrs, a.addr)
	}
	return plan
}

// vetoed reports whether the application of the dialling side forbids the punch.
func (d *dialPunch) vetoed() bool {
	admit := d.c.opts.AdmitPunch
	return admit != nil && !admit(d.u.plan(d.c.remote))
}

// punchVetoed reports whether the application of the server forbids the punch. It is not asked while the punch is under way.
func (ic *incoming) punchVetoed() bool {
	admit := ic.s.cfg.AdmitPunch
	return admit != nil && !ic.puncher.punching() && !admit(ic.puncher.plan(ic.attemptTrace.key))
}
