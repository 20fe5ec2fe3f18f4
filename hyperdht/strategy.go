package hyperdht

import (
	"net/netip"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// punch starts the strategy for the two NATs and reports whether there is one. Repeated calls have no
// effect.
//
//	consistent - consistent: both probe the other's address
//	consistent - random:     probe random ports of the other's host
//	random - consistent:     open many sockets towards the other, so that one of its probes hits one of them
//	any - open:              probe its address at once; the reference implementation treats it as consistent
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
	u.attemptTrace.note(AttemptEvent{Step: AttemptPunching, Ours: kindOf(u.nat.firewall()), Theirs: kindOf(u.remoteFirewall)})
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
		// Unverified addresses may belong to another host, so they get only two of the ten rounds.
		if r.verified || round%4 == 0 {
			u.probe(r.addr)
		}
	}
	u.step = u.p.host.AfterFunc(punchInterval, func() { u.punchRound(round + 1) })
}

// probeRandomPorts sends one probe after the other to random ports of a host with a random NAT.
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

// pace returns the time between two probes if one NAT is random; usual is for peers without fast probes.
func (u *puncher) pace(usual time.Duration) time.Duration {
	if u.fast {
		return fastInterval
	}
	return usual
}

// openBirthdaySockets opens our NAT for the other side on many ports, with low-TTL datagrams.
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
// low-TTL datagrams, then with probes.
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
