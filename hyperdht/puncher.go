package hyperdht

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// puncher opens a path between two NATs from a pool socket of its own (hyperdht lib/holepuncher.js). It
// classifies our NAT on that socket, keeps the remote's description of its NAT, and sends the probes. The
// initiator tries each way on which a probe or an echo arrives, and wins with the one that is validated; the other side
// echoes every probe and wins with the first stream packet. Neither event reaches the puncher.
type puncher struct {
	machine[puncherState]
	p            *peering
	attemptTrace attemptTrace
	group        *rpc.CallGroup
	initiator    bool
	guarded      bool // answers no probe before it punches

	holder   *poolSocket   // the socket that is classified, announced and punched from
	birthday []*poolSocket // more sockets, where our NAT maps each to a random port
	nat      *natProbe
	waiting  []func(stable bool) // for the end of reopening

	remoteFirewall wire.Firewall
	remoteAddrs    []remoteAddr
	remotePunching bool
	fast           bool // the remote knows fast probes
	strangers      int  // ways to hosts that the remote has not named

	counted bool         // as a punch that was started
	step    host.Timer   // the next probe
	probed  host.Instant // when a guess sent the last one, or started

	onConnect func(s host.Socket, from netip.AddrPort)
	onAbort   func()
}

type puncherState uint8

const (
	puncherReady puncherState = iota
	puncherReopening
	puncherReopened
	puncherPunching
	puncherGuessing // holds the node's budget for random punching
	puncherClosed
)

var puncherTable = &table[puncherState]{Name: "puncher", States: []rule[puncherState]{
	puncherReady: {
		Name: "ready", Why: "the incoming attempt, or the punch of the dialling side, has limits and closes it",
		Next: []puncherState{puncherReopening, puncherPunching, puncherGuessing, puncherClosed},
	},
	puncherReopening: {
		Name: "reopening", Why: "pings and address probes end, and so many sockets are tried",
		Next: []puncherState{puncherReopened, puncherPunching, puncherGuessing, puncherClosed},
	},
	puncherReopened: {
		Name: "reopened", Why: "as for ready", Next: []puncherState{puncherPunching, puncherGuessing, puncherClosed},
	},
	puncherPunching: {Name: "punching", Limit: punchLimit, Next: []puncherState{puncherClosed}},
	puncherGuessing: {Name: "guessing", Limit: guessLimit, Next: []puncherState{puncherClosed}},
	puncherClosed:   {Name: "closed"},
}}

// remoteAddr is an address that the remote claims. It is verified once the remote has echoed a token that
// was sent to its host alone.
type remoteAddr struct {
	addr     netip.AddrPort
	verified bool
}

// newPuncher acquires a socket, which is classified once sample or analyze is called. It fails only when no socket can be opened.
func newPuncher(t attemptTrace, group *rpc.CallGroup, s side, remote wire.Firewall) (*puncher, error) {
	u := &puncher{p: t.p, attemptTrace: t, group: group, initiator: s == initiator, remoteFirewall: remote}
	if err := u.reset(); err != nil {
		return nil, err
	}
	u.begin(t.p.account, puncherTable, puncherReady, func(puncherState) { u.fail() })
	return u, nil
}

// reset moves to a fresh socket with an unknown mapping.
func (pu *puncher) reset() error {
	holder, err := pu.p.pool.acquire()
	if err != nil {
		return err
	}
	if pu.holder != nil {
		pu.holder.onProbe = nil
		pu.holder.release()
		pu.nat.close()
	}
	pu.holder = holder
	holder.onProbe = pu.receiveProbe
	pu.nat = newNATProbe(pu.p, pu.group, holder.sock)
	return nil
}

// sample begins to classify our NAT, so that analyze need not wait for it.
func (pu *puncher) sample() { pu.nat.sample() }

func (pu *puncher) socket() host.Socket { return pu.holder.sock }

// punching reports whether probes are being sent.
func (pu *puncher) punching() bool { return pu.in(puncherPunching, puncherGuessing) }

// probe sends a probe with the full TTL.
func (pu *puncher) probe(to netip.AddrPort) {
	pu.holder.sock.Send(to, host.DefaultTTL, probeDatagram)
}

// openNAT sends a low-TTL datagram that opens our NAT for to and expires before it arrives.
func (pu *puncher) openNAT(to netip.AddrPort) {
	pu.holder.sock.Send(to, lowTTL, probeDatagram)
}

var probeDatagram = []byte{0}

func (pu *puncher) receiveProbe(ps *poolSocket, from netip.AddrPort) {
	if pu.over() {
		return
	}
	if !pu.initiator {
		if pu.guarded && !pu.punching() {
			return
		}
		ps.sock.Send(from, host.DefaultTTL, probeDatagram)
		return
	}
	if known := slices.ContainsFunc(pu.remoteAddrs, func(r remoteAddr) bool { return r.addr.Addr() == from.Addr() }); !known {
		if pu.strangers == maxStrangeWays {
			return
		}
		pu.strangers++
	}
	pu.onConnect(ps.sock, from) // a byte proves nothing, so punching goes on until the way is validated
}

// updateRemote replaces the description of the remote. peer is its address as the relay sees it; verified is the host that
// echoed a token in this message, invalid for none; a host once verified stays so.
func (pu *puncher) updateRemote(m wire.HolepunchPayload, peer netip.AddrPort, verified netip.Addr) {
	if m.Firewall == wire.FirewallOpen && len(m.Addrs) == 0 {
		// The reference implementation sends no address of a socket that it has found to be open (lib/nat.js).
		m.Addrs = []netip.AddrPort{peer}
	}
	addrs := make([]remoteAddr, 0, min(len(m.Addrs), maxPunchAddrs))
	for _, a := range m.Addrs[:min(len(m.Addrs), maxPunchAddrs)] {
		addrs = append(addrs, remoteAddr{addr: a, verified: a.Addr() == verified || pu.isVerified(a.Addr())})
	}
	pu.remoteFirewall = m.Firewall
	pu.remoteAddrs = addrs
	pu.remotePunching = m.Punching
	pu.fast = m.FastProbes
}

func (pu *puncher) isVerified(a netip.Addr) bool {
	for _, r := range pu.remoteAddrs {
		if r.verified && r.addr.Addr() == a {
			return true
		}
	}
	return false
}

func (pu *puncher) unstable() bool {
	ours := pu.nat.firewall()
	return ours == wire.FirewallUnknown || (pu.remoteFirewall >= wire.FirewallRandom && ours >= wire.FirewallRandom)
}

// analyze calls done when the classification of our NAT has ended: true if punching can work with it.
func (pu *puncher) analyze(done func(stable bool)) {
	pu.nat.analyzed(func() { done(!pu.unstable()) })
}

// analyzeOrReopen does so, but exchanges an unstable socket for another one, up to three times, once per puncher.
func (pu *puncher) analyzeOrReopen(done func(stable bool)) {
	pu.nat.analyzed(func() {
		switch {
		case !pu.unstable():
			done(true)
		case pu.in(puncherReopening):
			pu.waiting = append(pu.waiting, done)
		case pu.in(puncherReady):
			pu.become(puncherReopening)
			pu.waiting = []func(bool){done}
			pu.reopen(maxReopens)
		default:
			done(pu.consistent())
		}
	})
}

func (pu *puncher) reopen(left int) {
	if left > 0 && pu.unstable() && pu.in(puncherReopening) && pu.reset() == nil {
		pu.nat.analyzed(func() { pu.reopen(left - 1) })
		return
	}
	if pu.in(puncherReopening) {
		pu.become(puncherReopened)
	}
	waiting := pu.waiting
	pu.waiting = nil
	for _, f := range waiting {
		f(pu.consistent())
	}
}

// renewed calls done with a verdict that is no older than verdictAge. Until it is called, the puncher punches with none.
func (pu *puncher) renewed(done func()) {
	if pu.p.host.Now().Sub(pu.nat.began) < verdictAge {
		done()
		return
	}
	pu.nat.close()
	pu.nat = newNATProbe(pu.p, pu.group, pu.holder.sock)
	pu.nat.analyzed(done)
}

// consistent reports whether our NAT maps this socket to the same address for all remotes.
func (pu *puncher) consistent() bool {
	return coerce(pu.nat.firewall()) == wire.FirewallConsistent
}

// coerce treats an open node as one with a consistent NAT, as the strategies of the reference implementation do.
func coerce(f wire.Firewall) wire.Firewall {
	if f == wire.FirewallOpen {
		return wire.FirewallConsistent
	}
	return f
}

// win ends a punch that led to a path.
func (pu *puncher) win() {
	s := &pu.p.stats
	switch {
	case pu.in(puncherGuessing):
		s.PunchesRandomWon++
	case pu.in(puncherPunching):
		s.PunchesConsistentWon++
	case !pu.counted: // fast mode: the probe round alone did it
		s.PunchesConsistent++
		s.PunchesConsistentWon++
	}
	pu.counted = true
	pu.end(withoutRest)
}

// fail ends a punch that led nowhere.
func (pu *puncher) fail() {
	if pu.over() {
		return
	}
	s := &pu.p.stats
	switch {
	case pu.in(puncherGuessing):
		s.PunchesRandomLost++
	case pu.in(puncherPunching):
		s.PunchesConsistentLost++
		if told := pu.nat.addrs(); len(told) > 0 && pu.nat.firewall() == wire.FirewallConsistent {
			pu.p.checkDrift(pu.holder, told[0], pu.nat.asked)
		}
	}
	pu.end(withRest)
	pu.onAbort()
}

// close ends a punch that is no longer needed. It counts neither as won nor as lost.
func (pu *puncher) close() { pu.end(withRest) }

// rest decides about the pause after a random punch: there is one unless the punch was won.
type rest bool

const (
	withRest    rest = true
	withoutRest rest = false
)

// end releases the sockets and the budget for random punching. The rest and the duration of the punch count from its last probe, which may
// be long ago: the machine may have slept.
func (pu *puncher) end(r rest) {
	if pu.over() {
		return
	}
	if pu.in(puncherGuessing) {
		pu.p.punches.give()
		took := pu.probed.Sub(pu.since)
		if r == withRest {
			pu.p.punches.pause(pu.probed)
			took += randomPunchPause
		}
		pu.p.punchQueue.ended(took)
	}
	pu.become(puncherClosed)
	if pu.step != nil {
		pu.step.Stop()
	}
	for _, ps := range append(pu.birthday, pu.holder) {
		ps.onProbe = nil
		ps.release()
	}
	pu.birthday = nil
	pu.nat.close()
}
