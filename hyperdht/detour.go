package hyperdht

import "slices"

// Detour describes the use of a relay by a connection, as far as this side knows the reason.
type Detour struct {
	Reason DetourReason
	// The kinds of NAT in front of both sides, as of the last punch. The peer's is as it claims.
	Ours, Theirs NATKind
	// Err is the error of a failed punch; nil where there was none, or where the peer has its reason.
	Err error
}

// DetourReason is the reason of a detour.
type DetourReason uint8

// The reasons.
const (
	// DetourNone: no relay carries the connection.
	DetourNone DetourReason = iota
	// DetourRule: a path rule of this side excludes all other paths.
	DetourRule
	// DetourSearching: direct paths are still being tried.
	DetourSearching
	// DetourNotFound: all direct paths have failed.
	DetourNotFound
	// DetourTakeover: the direct path was silent, lost much or was slow, and the relay in reserve took over.
	DetourTakeover
)

// natKinds are the kinds of NAT on both sides.
type natKinds struct{ ours, theirs NATKind }

// update replaces the kinds that are known now. An abort names none.
func (k *natKinds) update(now natKinds) {
	if now.ours != NATUnknown {
		k.ours = now.ours
	}
	if now.theirs != NATUnknown {
		k.theirs = now.theirs
	}
}

// kinds returns the kinds of NAT as far as a punch knows them.
func (pu *puncher) kinds() natKinds {
	return natKinds{kindOf(pu.nat.firewall()), kindOf(pu.remoteFirewall)}
}

// Detour returns the reason for which a relay carries the connection.
func (c *Connection) Detour() Detour {
	switch {
	case !c.usable() || c.path != PathRelayed:
		return Detour{}
	case c.second != nil && c.second.rp.in(relayCarrying):
		return Detour{Reason: DetourTakeover}
	case c.caller != nil:
		return c.caller.detour()
	default:
		return c.ways.detour()
	}
}

// detour returns why a relay carries the connection of a dial.
func (l *wayLog) detour() Detour {
	if l == nil {
		return Detour{Reason: DetourNotFound}
	}
	d := Detour{Reason: DetourNotFound, Ours: l.punch.ours, Theirs: l.punch.theirs, Err: l.punch.err}
	i := slices.IndexFunc(l.list, func(r wayRecord) bool { return r.path == PathPunched })
	switch {
	case i < 0:
	case l.list[i].outcome == WayExcluded:
		d.Reason = DetourRule
	case l.list[i].outcome == WayTrying && d.Err == nil:
		d.Reason = DetourSearching
	}
	return d
}

// detour returns why a relay carries the connection of a caller.
func (ic *incoming) detour() Detour {
	nats := ic.nats
	if ic.puncher != nil {
		nats.update(ic.puncher.kinds())
	}
	d := Detour{Reason: DetourNotFound, Ours: nats.ours, Theirs: nats.theirs}
	switch {
	case ic.paths == RelayOnly:
		d.Reason = DetourRule
	case !ic.settled():
		d.Reason = DetourSearching
	}
	return d
}
