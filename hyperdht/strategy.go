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
//	relayed - random:        probe its address; the TURN server of this side admits the probes from all ports of its host
func (pu *puncher) punch() bool {
	if pu.punching() {
		return true
	}
	if pu.over() || len(pu.remoteAddrs) == 0 {
		return false
	}
	ours, theirs := coerce(pu.nat.firewall()), coerce(pu.remoteFirewall)
	verified, ok := pu.verifiedAddr()
	switch {
	case pu.remoteFirewall == wire.FirewallOpen, ours == wire.FirewallConsistent && theirs == wire.FirewallConsistent:
		pu.start(puncherPunching, &pu.p.stats.PunchesConsistent)
		if pu.initiator {
			pu.punchRound(1)
		} else {
			// The server has just sent its fast-mode probe, so it waits first.
			pu.step = pu.p.host.AfterFunc(punchInterval, func() { pu.punchRound(1) })
		}
	case ours == wire.FirewallConsistent && theirs >= wire.FirewallRandom && pu.p.limits.OneAddress:
		pu.start(puncherPunching, &pu.p.stats.PunchesConsistent)
		pu.probeHost(pu.remoteAddrs[0].addr.Addr(), 1)
	case !ok: // what follows costs the other host many datagrams, so it must have asked for them
		return false
	case ours == wire.FirewallConsistent && theirs >= wire.FirewallRandom:
		pu.startGuessing()
		pu.probeRandomPorts(verified.Addr(), randomProbes)
	case ours >= wire.FirewallRandom && theirs == wire.FirewallConsistent:
		pu.startGuessing()
		pu.openBirthdaySockets(verified)
		pu.step = pu.p.host.AfterFunc(birthdayPause, func() { pu.probeFromAll(verified, 0) })
	default:
		return false
	}
	return true
}

// start begins to punch, which is counted.
func (pu *puncher) start(s puncherState, count *uint64) {
	pu.become(s)
	pu.counted = true
	*count++
	pu.attemptTrace.note(AttemptEvent{Step: AttemptPunching, Ours: kindOf(pu.nat.firewall()), Theirs: kindOf(pu.remoteFirewall)})
}

func (pu *puncher) startGuessing() {
	pu.start(puncherGuessing, &pu.p.stats.PunchesRandom)
	pu.p.punches.take()
	pu.probed = pu.p.host.Now()
}

// guesses notes the next probe of a guess, and reports false if none is to be sent: the guess is over, all its probes are sent, or
// it was interrupted, as by a sleep of the machine, until the peer has sent all of its probes.
func (pu *puncher) guesses(left int) bool {
	if !pu.punching() {
		return false
	}
	now := pu.p.host.Now()
	if interrupted := now.Sub(pu.probed) > guessGap; left == 0 || interrupted && now.Sub(pu.since) > randomProbes*pu.pace(randomInterval) {
		pu.fail()
		return false
	}
	pu.probed = now
	return true
}

// usesRandom reports whether the strategy would be one of the costly ones.
func (pu *puncher) usesRandom() bool {
	if pu.remoteFirewall == wire.FirewallOpen || pu.p.limits.OneAddress {
		return false
	}
	return pu.nat.firewall() >= wire.FirewallRandom || pu.remoteFirewall >= wire.FirewallRandom
}

func (pu *puncher) verifiedAddr() (netip.AddrPort, bool) {
	for _, r := range pu.remoteAddrs {
		if r.verified {
			return r.addr, true
		}
	}
	return netip.AddrPort{}, false
}

func (pu *puncher) punchRound(round int) {
	if !pu.punching() {
		return
	}
	if round > punchRounds {
		pu.fail()
		return
	}
	for _, r := range pu.remoteAddrs {
		// Unverified addresses may belong to another host, so they get only two of the ten rounds.
		if r.verified || round%4 == 0 {
			pu.probe(r.addr)
		}
	}
	pu.step = pu.p.host.AfterFunc(punchInterval, func() { pu.punchRound(round + 1) })
}

// probeHost sends a probe to a host with a random NAT now and then: then its own probes arrive, from whatever port.
func (pu *puncher) probeHost(to netip.Addr, round int) {
	if !pu.punching() {
		return
	}
	if round > punchRounds {
		pu.fail()
		return
	}
	pu.probe(netip.AddrPortFrom(to, pu.p.randomPort()))
	pu.step = pu.p.host.AfterFunc(punchInterval, func() { pu.probeHost(to, round+1) })
}

// probeRandomPorts sends one probe after the other to random ports of a host with a random NAT.
func (pu *puncher) probeRandomPorts(to netip.Addr, left int) {
	if !pu.guesses(left) {
		return
	}
	pu.probe(netip.AddrPortFrom(to, pu.p.randomPort()))
	pu.step = pu.p.host.AfterFunc(pu.pace(guessInterval), func() { pu.probeRandomPorts(to, left-1) })
}

// pace returns the time between two probes if one NAT is random; usual is for peers without fast probes.
func (pu *puncher) pace(usual time.Duration) time.Duration {
	if pu.fast {
		return fastInterval
	}
	return usual
}

// openBirthdaySockets opens our NAT for the other side on many ports, with low-TTL datagrams.
func (pu *puncher) openBirthdaySockets(to netip.AddrPort) {
	for len(pu.birthday) < birthdaySockets-1 {
		ps, err := pu.p.pool.acquire()
		if err != nil {
			return // fewer sockets, fewer chances
		}
		ps.onProbe = pu.receiveProbe
		pu.birthday = append(pu.birthday, ps)
		ps.sock.Send(to, lowTTL, probeDatagram)
	}
}

// probeFromAll keeps the mappings of all sockets open, one after the other: in the first cycle still with
// low-TTL datagrams, then with probes.
func (pu *puncher) probeFromAll(to netip.AddrPort, sent int) {
	if !pu.guesses(randomProbes - sent) {
		return
	}
	n := len(pu.birthday) + 1
	ps := pu.holder
	if i := sent % n; i > 0 {
		ps = pu.birthday[i-1]
	}
	ttl := host.DefaultTTL
	if sent < n {
		ttl = lowTTL
	}
	ps.sock.Send(to, ttl, probeDatagram)
	pu.step = pu.p.host.AfterFunc(pu.pace(randomInterval), func() { pu.probeFromAll(to, sent+1) })
}
