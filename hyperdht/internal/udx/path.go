package udx

import "net/netip"

// path is the way of the packets to the peer: the remote, the limit on what an unvalidated address is sent, and a change of remote
// in progress.
type path struct {
	remote *Remote // nil until connected
	// allowance limits what is sent to the remote until it has acknowledged something; nil does not.
	allowance *Allowance
	fromThere bool // the packet being received came from the remote's address
	// A change of remote is complete when everything before changeAt is acknowledged.
	changing bool
	changeAt Seq
}

// check returns why the remote cannot be replaced by r, or nil.
func (p *path) check(r Remote) error {
	switch {
	case p.remote == nil:
		return ErrNotConnected
	case p.changing:
		return ErrChanging
	case !r.isValid():
		return ErrBadRemote
	}
	return nil
}

// set replaces the remote. The new one has no allowance.
func (p *path) set(r Remote) { p.remote, p.allowance = &r, nil }

// beginChange starts a change of remote, which is complete once everything before next is acknowledged.
func (p *path) beginChange(next Seq) { p.changing, p.changeAt = true, next }

// endChange completes a change of remote if everything before it is acknowledged, and reports whether it did.
func (p *path) endChange(acked Seq) bool {
	if !p.changing || acked.Before(p.changeAt) {
		return false
	}
	p.changing = false
	return true
}

// arrive begins to receive a datagram of n bytes.
func (p *path) arrive(from netip.AddrPort, n int) {
	if p.fromThere = p.remote != nil && p.remote.Addr == from; p.fromThere {
		p.allowance.Receive(n)
	}
}

// acked ends the limit on the remote if the packet being received came from there and acknowledges something sent there.
func (p *path) acked(to *Remote) {
	if p.fromThere && to == p.remote {
		p.allowance.Validate()
	}
}

// allows reports whether packet pk may leave: an address that has not answered gets a few bytes only. No timer waits for that to
// change, since only a packet from there changes it.
func (p *path) allows(pk *packet) bool {
	return pk.remote != p.remote || p.allowance.Allows(len(pk.buf))
}

// sent counts n bytes that leave to a remote.
func (p *path) sent(to *Remote, n int) {
	if to == p.remote {
		p.allowance.Send(n)
	}
}

// Remote is the destination of packets of a stream. It is never changed once made: packets keep the one they were
// begun with, so that after a change of remote the old ones still travel the old way (§14); retransmissions
// take both ways.
type Remote struct {
	ID   uint32
	Addr netip.AddrPort
}

func (r *Remote) overhead() int {
	if r != nil && r.Addr.Addr().Is4() {
		return overheadIPv4
	}
	return overheadIPv6
}

// isValid reports whether packets can be sent to r.
func (r *Remote) isValid() bool { return r.Addr.IsValid() && r.Addr.Port() != 0 }
