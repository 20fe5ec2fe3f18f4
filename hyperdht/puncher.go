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

	holder   *poolSocket   // the socket that is classified, announced and punched from
	birthday []*poolSocket // more sockets, where our NAT maps each to a random port
	nat      *natProbe
	waiting  []func(stable bool) // for the end of reopening

	remoteFirewall wire.Firewall
	remoteAddrs    []remoteAddr
	remotePunching bool
	fast           bool // the remote knows fast probes
	strangers      int  // ways to hosts that the remote has not named

	counted bool       // as a punch that was started
	step    host.Timer // the next probe

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
func newPuncher(t attemptTrace, group *rpc.CallGroup, initiator bool, remote wire.Firewall) (*puncher, error) {
	u := &puncher{p: t.p, attemptTrace: t, group: group, initiator: initiator, remoteFirewall: remote}
	if err := u.reset(); err != nil {
		return nil, err
	}
	u.begin(t.p.account, puncherTable, puncherReady, func(puncherState) { u.fail() })
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
	u.nat = newNATProbe(u.p, u.group, holder.sock)
	return nil
}

// sample begins to classify our NAT, so that analyze need not wait for it.
func (u *puncher) sample() { u.nat.sample() }

func (u *puncher) socket() host.Socket { return u.holder.sock }

// punching reports whether probes are being sent.
func (u *puncher) punching() bool { return u.in(puncherPunching, puncherGuessing) }

// probe sends a probe with the full TTL.
func (u *puncher) probe(to netip.AddrPort) {
	u.holder.sock.Send(to, host.DefaultTTL, probeDatagram)
}

// openNAT sends a low-TTL datagram that opens our NAT for to and expires before it arrives.
func (u *puncher) openNAT(to netip.AddrPort) {
	u.holder.sock.Send(to, lowTTL, probeDatagram)
}

var probeDatagram = []byte{0}

func (u *puncher) receiveProbe(ps *poolSocket, from netip.AddrPort) {
	if u.over() {
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
	u.onConnect(ps.sock, from) // a byte proves nothing, so punching goes on until the way is validated
}

// updateRemote replaces the description of the remote. peer is its address as the relay sees it; verified is the host that
// echoed a token in this message, invalid for none; a host once verified stays so.
func (u *puncher) updateRemote(m wire.HolepunchPayload, peer netip.AddrPort, verified netip.Addr) {
	if m.Firewall == wire.FirewallOpen && len(m.Addrs) == 0 {
		// The reference implementation sends no address of a socket that it has found to be open (lib/nat.js).
		m.Addrs = []netip.AddrPort{peer}
	}
	addrs := make([]remoteAddr, 0, min(len(m.Addrs), maxPunchAddrs))
	for _, a := range m.Addrs[:min(len(m.Addrs), maxPunchAddrs)] {
		addrs = append(addrs, remoteAddr{addr: a, verified: a.Addr() == verified || u.isVerified(a.Addr())})
	}
	u.remoteFirewall = m.Firewall
	u.remoteAddrs = addrs
	u.remotePunching = m.Punching
	u.fast = m.FastProbes
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

// analyze calls done when the classification of our NAT has ended: true if punching can work with it.
// With allowReopen an unstable socket is exchanged for another one, up to three times, once per puncher.
func (u *puncher) analyze(allowReopen bool, done func(stable bool)) {
	u.nat.analyzed(func() {
		switch {
		case !u.unstable():
			done(true)
		case !allowReopen:
			done(false)
		case u.in(puncherReopening):
			u.waiting = append(u.waiting, done)
		case u.in(puncherReady):
			u.become(puncherReopening)
			u.waiting = []func(bool){done}
			u.reopen(maxReopens)
		default:
			done(u.consistent())
		}
	})
}

func (u *puncher) reopen(left int) {
	if left > 0 && u.unstable() && u.in(puncherReopening) && u.reset() == nil {
		u.nat.analyzed(func() { u.reopen(left - 1) })
		return
	}
	if u.in(puncherReopening) {
		u.become(puncherReopened)
	}
	waiting := u.waiting
	u.waiting = nil
	for _, f := range waiting {
		f(u.consistent())
	}
}

// renewed calls done with a verdict that is no older than verdictAge. Until it is called, the puncher punches with none.
func (u *puncher) renewed(done func()) {
	if u.p.host.Now().Sub(u.nat.began) < verdictAge {
		done()
		return
	}
	u.nat.close()
	u.nat = newNATProbe(u.p, u.group, u.holder.sock)
	u.nat.analyzed(done)
}

// consistent reports whether our NAT maps this socket to the same address for all remotes.
func (u *puncher) consistent() bool {
	return coerce(u.nat.firewall()) == wire.FirewallConsistent
}

// coerce treats an open node as one with a consistent NAT, as the strategies of the reference implementation do.
func coerce(f wire.Firewall) wire.Firewall {
	if f == wire.FirewallOpen {
		return wire.FirewallConsistent
	}
	return f
}

// win ends a punch that led to a path.
func (u *puncher) win() {
	s := &u.p.stats
	switch {
	case u.in(puncherGuessing):
		s.PunchesRandomWon++
	case u.in(puncherPunching):
		s.PunchesConsistentWon++
	case !u.counted: // fast mode: the probe round alone did it
		s.PunchesConsistent++
		s.PunchesConsistentWon++
	}
	u.counted = true
	u.end(false)
}

// fail ends a punch that led nowhere.
func (u *puncher) fail() {
	if u.over() {
		return
	}
	s := &u.p.stats
	switch {
	case u.in(puncherGuessing):
		s.PunchesRandomLost++
	case u.in(puncherPunching):
		s.PunchesConsistentLost++
		if told := u.nat.addrs(); len(told) > 0 && u.nat.firewall() == wire.FirewallConsistent {
			u.p.checkDrift(u.holder, told[0], u.nat.asked)
		}
	}
	u.end(true)
	u.onAbort()
}

// close ends a punch that is no longer needed. It counts neither as won nor as lost.
func (u *puncher) close() { u.end(true) }

// end releases the sockets and the budget for random punching. The node rests after a random punch that was not won.
func (u *puncher) end(rest bool) {
	if u.over() {
		return
	}
	if u.in(puncherGuessing) {
		u.p.punches.give()
		took := u.p.host.Now().Sub(u.since)
		if rest {
			u.p.punches.pause(u.p.host.Now())
			took += randomPunchPause
		}
		u.p.punchQueue.ended(took)
	}
	u.become(puncherClosed)
	if u.step != nil {
		u.step.Stop()
	}
	for _, ps := range append(u.birthday, u.holder) {
		ps.onProbe = nil
		ps.release()
	}
	u.birthday = nil
	u.nat.close()
}
