package hyperdht

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// punch starts the strategy that fits both NATs and reports whether there is one. Starting twice is
// harmless.
//
//	consistent - consistent: both probe the other's address
//	consistent - random:     probe random ports of the other's host
//	random - consistent:     open many sockets towards the other, so that one of its probes hits one of them
//	any - open:              probe its address: what the original does as if it were consistent, we do at once
func (u *puncher) punch() bool {
	if u.punching() {
		return true
	}
	if u.over() || len(u.remoteAddrs) == 0 {
		return false
	}
	ours, theirs := coerce(u.nat.firewall()), coerce(u.remoteFirewall)
	verified, ok := u.verifiedAddr()
	switch {
	case u.remoteFirewall == wire.FirewallOpen, ours == wire.FirewallConsistent && theirs == wire.FirewallConsistent:
		u.start(puncherPunching, &u.p.stats.PunchesConsistent)
		if u.initiator {
			u.punchRound(1)
		} else {
			// The server has just sent its fast-mode probe, so it waits first.
			u.step = u.p.host.AfterFunc(punchInterval, func() { u.punchRound(1) })
		}
	case !ok: // what follows costs the other host many datagrams, so it must have asked for them
		return false
	case ours == wire.FirewallConsistent && theirs >= wire.FirewallRandom:
		u.startGuessing()
		u.probeRandomPorts(verified.Addr(), randomProbes)
	case ours >= wire.FirewallRandom && theirs == wire.FirewallConsistent:
		u.startGuessing()
		u.openBirthdaySockets(verified)
		u.step = u.p.host.AfterFunc(birthdayPause, func() { u.probeFromAll(verified, 0) })
	default:
		return false
	}
	return true
}

// start begins to punch, which is counted.
func (u *puncher) start(s puncherState, count *uint64) {
	u.become(s)
	u.counted = true
	*count++
	u.trail.note(AttemptEvent{Step: AttemptPunching, Ours: kindOf(u.nat.firewall()), Theirs: kindOf(u.remoteFirewall)})
}

func (u *puncher) startGuessing() {
	u.start(puncherGuessing, &u.p.stats.PunchesRandom)
	u.p.punches.take()
}

// usesRandom reports whether the strategy would be one of the costly ones.
func (u *puncher) usesRandom() bool {
	if u.remoteFirewall == wire.FirewallOpen {
		return false
	}
	return u.nat.firewall() >= wire.FirewallRandom || u.remoteFirewall >= wire.FirewallRandom
}

func (u *puncher) verifiedAddr() (netip.AddrPort, bool) {
	for _, r := range u.remoteAddrs {
		if r.verified {
			return r.addr, true
		}
	}
	return netip.AddrPort{}, false
}

func (u *puncher) punchRound(round int) {
	if !u.punching() {
		return
	}
	if round > punchRounds {
		u.fail()
		return
	}
	for _, r := range u.remoteAddrs {
		// Unverified addresses may belong to somebody else, so they get only two of the ten rounds.
		if r.verified || round%4 == 0 {
			u.probe(r.addr)
		}
	}
	u.step = u.p.host.AfterFunc(punchInterval, func() { u.punchRound(round + 1) })
}

// probeRandomPorts sends one probe after the other to ports of a host whose NAT maps every socket anew.
func (u *puncher) probeRandomPorts(to netip.Addr, left int) {
	if !u.punching() {
		return
	}
	if left == 0 {
		u.fail()
		return
	}
	u.probe(netip.AddrPortFrom(to, u.p.randomPort()))
	u.step = u.p.host.AfterFunc(u.pace(guessInterval), func() { u.probeRandomPorts(to, left-1) })
}

// pace is the time between two probes where one NAT is random, which is usual for peers that know no other.
func (u *puncher) pace(usual time.Duration) time.Duration {
	if u.fast {
		return fastInterval
	}
	return usual
}

// openBirthdaySockets opens our NAT for the other side on many ports, with datagrams that die on the way.
func (u *puncher) openBirthdaySockets(to netip.AddrPort) {
	for len(u.birthday) < birthdaySockets-1 {
		ps, err := u.p.pool.acquire()
		if err != nil {
			return // fewer sockets, fewer chances
		}
		ps.onProbe = u.receiveProbe
		u.birthday = append(u.birthday, ps)
		ps.sock.Send(to, lowTTL, probeDatagram)
	}
}

// probeFromAll keeps the mappings of all sockets open, one after the other: in the first cycle still with
// datagrams that die on the way, then with ones that arrive.
func (u *puncher) probeFromAll(to netip.AddrPort, sent int) {
	if !u.punching() {
		return
	}
	if sent == randomProbes {
		u.fail()
		return
	}
	n := len(u.birthday) + 1
	ps := u.holder
	if i := sent % n; i > 0 {
		ps = u.birthday[i-1]
	}
	ttl := host.DefaultTTL
	if sent < n {
		ttl = lowTTL
	}
	ps.sock.Send(to, ttl, probeDatagram)
	u.step = u.p.host.AfterFunc(u.pace(randomInterval), func() { u.probeFromAll(to, sent+1) })
}
