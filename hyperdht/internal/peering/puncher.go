package peering

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// puncher opens a path between two NATs from a pool socket of its own (hyperdht lib/holepuncher.js). It
// classifies our NAT on that socket, keeps what the remote said of its NAT, and sends the probes. The
// initiator tries each way on which a probe or an echo arrives, and wins with the one that proves itself; the other side
// echoes every probe and wins with the first stream packet. Neither is the puncher's to see.
//
//	sampling ──analyze──▶ stable ──punch──▶ punching ──won──▶ connected
//	    └── reopen, 3 times ──┘                 └── strategy at its end ──▶ destroyed (onAbort)
type puncher struct {
	p         *Peering
	trail     trail
	session   *rpc.Session
	initiator bool

	holder   *poolSocket   // the socket that is classified, announced and punched from
	birthday []*poolSocket // more sockets, where our NAT maps each to a random port
	nat      *natProbe
	random   bool // holds the node's budget for random punching

	remoteFirewall wire.Firewall
	remoteAddrs    []remoteAddr
	remotePunching bool

	punching  bool
	counted   bool // as a punch that was started
	settled   bool // and as one that was won or lost
	costly    bool // it was one of the random ones
	connected bool // on a way that has proven itself
	strangers int  // ways to hosts that the remote has not named
	destroyed bool
	reopened  bool
	reopening []func(stable bool) // waiters of a running reopen
	timer     host.Timer

	onConnect func(s host.Socket, from netip.AddrPort)
	onAbort   func()
}

// remoteAddr is an address the remote says it has. It is verified once the remote has echoed a token that
// only its host could have got.
type remoteAddr struct {
	addr     netip.AddrPort
	verified bool
}

// newPuncher acquires a socket, which is classified once sample or analyze is called. It fails only when no socket can be opened.
func newPuncher(t trail, session *rpc.Session, initiator bool, remote wire.Firewall) (*puncher, error) {
	u := &puncher{p: t.p, trail: t, session: session, initiator: initiator, remoteFirewall: remote}
	if err := u.reset(); err != nil {
		return nil, err
	}
	return u, nil
}

// reset moves to a fresh socket with an unknown mapping.
func (u *puncher) reset() error {
	holder, err := u.p.pool.acquire()
	if err != nil {
		return err
	}
	if u.holder != nil {
		u.holder.onProbe = nil
		u.holder.release()
		u.nat.close()
	}
	u.holder = holder
	holder.onProbe = u.receiveProbe
	u.nat = newNATProbe(u.p, u.session, holder.sock)
	return nil
}

// sample begins to classify our NAT, so that analyze need not wait for it.
func (u *puncher) sample() { u.nat.sample() }

func (u *puncher) socket() host.Socket { return u.holder.sock }

func (u *puncher) done() bool { return u.destroyed || u.connected }

// probe sends the datagram that is meant to arrive.
func (u *puncher) probe(to netip.AddrPort) {
	u.holder.sock.Send(to, host.DefaultTTL, probeDatagram)
}

// openSession sends the datagram that opens our NAT for to and dies on the way.
func (u *puncher) openSession(to netip.AddrPort) {
	u.holder.sock.Send(to, lowTTL, probeDatagram)
}

var probeDatagram = []byte{0}

func (u *puncher) receiveProbe(ps *poolSocket, from netip.AddrPort) {
	if u.done() {
		return
	}
	if !u.initiator {
		ps.sock.Send(from, host.DefaultTTL, probeDatagram)
		return
	}
	if known := slices.ContainsFunc(u.remoteAddrs, func(r remoteAddr) bool { return r.addr.Addr() == from.Addr() }); !known {
		if u.strangers == maxStrangeWays {
			return
		}
		u.strangers++
	}
	u.onConnect(ps.sock, from) // anybody can send a byte, so punching goes on until the way has proven itself
}

// updateRemote replaces what is known of the remote. peer is where the relay saw it; verified is the host that proved
// itself with this message, invalid for none; a host once verified stays so.
func (u *puncher) updateRemote(m wire.HolepunchPayload, peer netip.AddrPort, verified netip.Addr) {
	if m.Firewall == wire.FirewallOpen && len(m.Addrs) == 0 {
		// The original names no address of a socket that it has found to be open (lib/nat.js).
		m.Addrs = []netip.AddrPort{peer}
	}
	addrs := make([]remoteAddr, 0, min(len(m.Addrs), maxPunchAddrs))
	for _, a := range m.Addrs[:min(len(m.Addrs), maxPunchAddrs)] {
		addrs = append(addrs, remoteAddr{addr: a, verified: a.Addr() == verified || u.isVerified(a.Addr())})
	}
	u.remoteFirewall = m.Firewall
	u.remoteAddrs = addrs
	u.remotePunching = m.Punching
}

func (u *puncher) isVerified(a netip.Addr) bool {
	for _, r := range u.remoteAddrs {
		if r.verified && r.addr.Addr() == a {
			return true
		}
	}
	return false
}

func (u *puncher) unstable() bool {
	ours := u.nat.firewall()
	return ours == wire.FirewallUnknown || (u.remoteFirewall >= wire.FirewallRandom && ours >= wire.FirewallRandom)
}

// analyze calls done once our NAT is classified as well as it can be: true if punching can work with it.
// With allowReopen an unstable socket is exchanged for another one, up to three times, once per puncher.
func (u *puncher) analyze(allowReopen bool, done func(stable bool)) {
	u.nat.analyzed(func() {
		switch {
		case !u.unstable():
			done(true)
		case !allowReopen:
			done(false)
		case u.reopening != nil:
			u.reopening = append(u.reopening, done)
		case u.reopened:
			done(u.consistent())
		default:
			u.reopened = true
			u.reopening = []func(bool){done}
			u.reopen(maxReopens)
		}
	})
}

func (u *puncher) reopen(left int) {
	if left > 0 && u.unstable() && !u.done() && !u.punching && u.reset() == nil {
		u.nat.analyzed(func() { u.reopen(left - 1) })
		return
	}
	waiting := u.reopening
	u.reopening = nil
	for _, f := range waiting {
		f(u.consistent())
	}
}

// consistent reports whether our NAT gives this socket one address to everybody.
func (u *puncher) consistent() bool {
	return coerce(u.nat.firewall()) == wire.FirewallConsistent
}

// coerce treats an open node as one with a consistent NAT, as the original's strategies do.
func coerce(f wire.Firewall) wire.Firewall {
	if f == wire.FirewallOpen {
		return wire.FirewallConsistent
	}
	return f
}

// punch starts the strategy that fits both NATs and reports whether there is one. Starting twice is
// harmless.
//
//	consistent - consistent: both probe the other's address
//	consistent - random:     probe random ports of the other's host
//	random - consistent:     open many sockets towards the other, so that one of its probes hits one of them
//	any - open:              probe its address: what the original does as if it were consistent, we do at once
func (u *puncher) punch() bool {
	if u.punching {
		return true
	}
	if u.done() || len(u.remoteAddrs) == 0 {
		return false
	}
	ours, theirs := coerce(u.nat.firewall()), coerce(u.remoteFirewall)
	verified, ok := u.verifiedAddr()
	switch {
	case u.remoteFirewall == wire.FirewallOpen, ours == wire.FirewallConsistent && theirs == wire.FirewallConsistent:
		u.start(&u.p.stats.PunchesConsistent)
		if u.initiator {
			u.punchRound(1)
		} else {
			// The server has just sent its fast-mode probe, so it waits first.
			u.timer = u.p.host.AfterFunc(punchInterval, func() { u.punchRound(1) })
		}
	case !ok: // what follows costs the other host many datagrams, so it must have asked for them
		return false
	case ours == wire.FirewallConsistent && theirs >= wire.FirewallRandom:
		u.startRandom()
		u.probeRandomPorts(verified.Addr(), randomProbes)
	case ours >= wire.FirewallRandom && theirs == wire.FirewallConsistent:
		u.startRandom()
		u.openBirthdaySockets(verified)
		u.timer = u.p.host.AfterFunc(birthdayPause, func() { u.probeFromAll(verified, 0) })
	default:
		return false
	}
	return true
}

// usesRandom reports whether the strategy would be one of the costly ones.
func (u *puncher) usesRandom() bool {
	if u.remoteFirewall == wire.FirewallOpen {
		return false
	}
	return u.nat.firewall() >= wire.FirewallRandom || u.remoteFirewall >= wire.FirewallRandom
}

// start begins to punch, which is counted.
func (u *puncher) start(count *uint64) {
	u.punching, u.counted = true, true
	*count++
	u.trail.note(AttemptEvent{Step: AttemptPunching, Ours: kindOf(u.nat.firewall()), Theirs: kindOf(u.remoteFirewall)})
}

func (u *puncher) startRandom() {
	u.start(&u.p.stats.PunchesRandom)
	u.random, u.costly = true, true
	u.p.randomPunches++
}

// won counts a punch that led to a path, lost one that led nowhere. Neither counts one that another path has made
// needless.
func (u *puncher) won() {
	u.connected, u.punching = true, false
	u.stopTimer()
	u.endRandom(false)
	s := &u.p.stats
	if !u.counted {
		u.counted = true
		s.PunchesConsistent++ // fast mode: the probe round alone did it
	}
	u.settle(&s.PunchesConsistentWon, &s.PunchesRandomWon)
}

func (u *puncher) lost() {
	if s := &u.p.stats; u.counted {
		u.settle(&s.PunchesConsistentLost, &s.PunchesRandomLost)
	}
}

func (u *puncher) settle(consistent, random *uint64) {
	switch {
	case u.settled:
	case u.costly:
		*random++
	default:
		*consistent++
	}
	u.settled = true
}

// endRandom gives the budget for random punching back. After a punch that was lost the node rests.
func (u *puncher) endRandom(lost bool) {
	if !u.random {
		return
	}
	u.random = false
	u.p.randomPunches--
	if lost {
		u.p.lastRandomPunch = u.p.host.Now()
		u.p.punchedRandomly = true
	}
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
	if !u.punching {
		return
	}
	if round > punchRounds {
		u.destroy()
		return
	}
	for _, r := range u.remoteAddrs {
		// Unverified addresses may belong to somebody else, so they get only two of the ten rounds.
		if r.verified || round%4 == 0 {
			u.probe(r.addr)
		}
	}
	u.timer = u.p.host.AfterFunc(punchInterval, func() { u.punchRound(round + 1) })
}

// probeRandomPorts sends one probe after the other to ports of a host whose NAT maps every socket anew.
func (u *puncher) probeRandomPorts(to netip.Addr, left int) {
	if !u.punching {
		return
	}
	if left == 0 {
		u.destroy()
		return
	}
	u.probe(netip.AddrPortFrom(to, u.p.randomPort()))
	u.timer = u.p.host.AfterFunc(randomInterval, func() { u.probeRandomPorts(to, left-1) })
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
	if !u.punching {
		return
	}
	if sent == randomProbes {
		u.destroy()
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
	u.timer = u.p.host.AfterFunc(randomInterval, func() { u.probeFromAll(to, sent+1) })
}

// destroy gives the socket back. If nothing has connected, onAbort hears of it, unless silence was called.
func (u *puncher) destroy() {
	if u.destroyed {
		return
	}
	u.destroyed = true
	u.punching = false
	u.stopTimer()
	u.endRandom(!u.connected)
	for _, ps := range append(u.birthday, u.holder) {
		ps.onProbe = nil
		ps.release()
	}
	u.birthday = nil
	u.nat.close()
	if !u.connected && u.onAbort != nil {
		u.lost()
		u.onAbort()
	}
}

// silence makes the coming destroy tell nobody, because a path was found by other means.
func (u *puncher) silence() { u.onAbort = nil }

func (u *puncher) stopTimer() {
	if u.timer != nil {
		u.timer.Stop()
		u.timer = nil
	}
}
