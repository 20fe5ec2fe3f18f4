package hyperdht

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// dialPunch is the client's side of hole punching (hyperdht lib/connect.js): a probe round, in which both sides learn what
// NAT the other has, and a punch round, after which both send probes. Each is one PEER_HOLEPUNCH message,
// sent and answered from the sockets that are to be connected.
type dialPunch struct {
	machine[punchState]
	p     *peering
	c     *connector
	u     *puncher
	box   *wire.PunchBox
	round uint64
	then  func() // follows a pause
	// refused is the time at which the punch was first refused because of another one, 0 for never.
	refused host.Instant
}

type punchState uint8

const (
	punchThinking punchState = iota
	punchAsking
	punchReserving // asking, and the node's budget for random punching is held
	punchProving
	punchUnknown
	punchLater
	punchPunching
	punchOver
)

var punchTable = &table[punchState]{Name: "punch", States: []rule[punchState]{
	punchThinking: {
		Name: "thinking", Why: "pings and address probes end, by which our NAT is classified",
		Next: []punchState{punchAsking, punchReserving, punchProving, punchUnknown, punchLater, punchPunching, punchOver},
	},
	punchAsking: {
		Name: "asking", Why: "a request ends after its last repetition",
		Next: []punchState{punchThinking, punchOver},
	},
	punchReserving: {
		Name: "reserving", Why: "as for asking",
		Next: []punchState{punchThinking, punchOver},
	},
	punchProving: {Name: "proving", Limit: provePatience, Next: []punchState{punchThinking, punchOver}},
	punchUnknown: {Name: "unknown", Limit: remoteUnknownPause, Next: []punchState{punchThinking, punchOver}},
	punchLater:   {Name: "later", Limit: maxRetryAfter, Next: []punchState{punchThinking, punchOver}},
	punchPunching: {
		Name: "punching", Limit: guessLimit, EndedBy: "the puncher",
		Next: []punchState{punchOver},
	},
	punchOver: {Name: "over"},
}}

// startPunch begins with the probe round.
func (c *connector) startPunch() {
	u, err := newPuncher(c.conn.attemptTrace, c.group, initiator, c.payload.Firewall)
	if err != nil {
		c.fail(err)
		return
	}
	d := &dialPunch{p: c.p, c: c, u: u, box: wire.NewPunchBox(c.result.HolepunchSecret, c.p.host.Rand())}
	d.begin(c.p.account, punchTable, punchThinking, func(punchState) { d.resume() })
	c.punch = d
	u.sample()
	u.onConnect = func(s host.Socket, from netip.AddrPort) { c.answeredOn(way{s, from, PathPunched}) }
	u.onAbort = func() { d.fail(ErrHolepunchAborted) }
	relay := d.serverRelay()
	c.note(AttemptEvent{Step: AttemptProbing, Node: relay.RelayAddr})
	d.probeRound(relay, mayRepeat)
}

// pause calls then after wait, unless the punch is over before.
func (d *dialPunch) pause(s punchState, wait time.Duration, then func()) {
	d.then = then
	d.becomeFor(s, wait)
}

func (d *dialPunch) resume() {
	d.become(punchThinking)
	d.then()
}

// reserve takes the budget for random punching while the next message is under way.
func (d *dialPunch) reserve() {
	d.become(punchReserving)
	d.p.punches.take()
}

// leave changes the state, and returns the budget; the puncher takes it again when it starts.
func (d *dialPunch) leave(next punchState) {
	if d.in(punchReserving) {
		d.p.punches.give()
	}
	d.become(next)
}

// close ends the punch, because there is a path or none will be found.
func (d *dialPunch) close() {
	if d.over() {
		return
	}
	d.leave(punchOver)
	d.p.punchQueue.leave(d)
	d.u.close()
}

// serverRelay returns the relay that the server prefers of those we know: that of the handshake if the server lists it.
func (d *dialPunch) serverRelay() wire.RelayInfo {
	relays := d.c.payload.Holepunch.Relays
	for _, r := range relays {
		if r.RelayAddr == d.c.relay {
			return r
		}
	}
	return relays[0]
}

// punchAnswer is a decrypted answer to a hole-punch message.
type punchAnswer struct {
	wire.HolepunchPayload
	reply rpc.Reply
	peer  netip.AddrPort // the server's punching socket as the relay sees it
}

// exchange sends one hole-punch message through a relay and passes the answer to next. A failure ends the punch.
func (d *dialPunch) exchange(relay wire.RelayInfo, m wire.HolepunchPayload, next func(punchAnswer)) {
	if !d.in(punchReserving) {
		d.become(punchAsking)
	}
	m.Round, m.FastProbes, m.TakesRetryAfter = d.round, true, m.Punching
	d.round++
	d.p.rpc.Request(rpc.RequestOptions{
		To: relay.RelayAddr, Command: wire.CmdPeerHolepunch, Target: &d.c.target, Value: d.message(relay, m),
		Socket: d.u.socket(), Follows: true, Group: d.c.group,
	}, func(r rpc.Reply, err error) {
		if d.over() {
			return
		}
		d.leave(punchThinking)
		take := func() { d.takeAnswer(relay, m, r, err, next) }
		if race := &d.c.race; d.c.in(dialRacing) && slices.ContainsFunc(race.ways, func(w way) bool { return w.path == PathPunched }) {
			d.pause(punchProving, provePatience, take) // the open way is about to be validated
			return
		}
		take()
	})
}

// message is a hole-punch message for the server.
func (d *dialPunch) message(relay wire.RelayInfo, m wire.HolepunchPayload) []byte {
	return wire.Holepunch{
		Mode: wire.FromClient, ID: d.c.payload.Holepunch.ID, Payload: d.box.Seal(m), PeerAddr: relay.PeerAddr,
	}.Append(nil)
}

// takeAnswer handles the answer to a hole-punch message.
func (d *dialPunch) takeAnswer(relay wire.RelayInfo, m wire.HolepunchPayload, r rpc.Reply, err error, next func(punchAnswer)) {
	if err != nil {
		d.fail(err)
		return
	}
	answer, err := d.readAnswer(relay.RelayAddr, r)
	if err != nil {
		d.fail(err)
		return
	}
	wait := retryAfterOf(answer.HolepunchPayload)
	switch {
	case answer.Error == wire.ErrorNone, answer.Error == wire.ErrorTryLater && m.Punching && d.keptBy(answer) && d.mayWait(wait):
	case answer.Error == wire.ErrorTryLater:
		d.fail(d.busy(ErrRemoteBusy, wait))
		return
	default:
		d.fail(ErrRemoteAborted)
		return
	}
	var verified netip.Addr
	if m.Token != nil && answer.RemoteToken != nil && *answer.RemoteToken == *m.Token {
		verified = relay.PeerAddr.Addr()
	}
	d.u.updateRemote(answer.HolepunchPayload, answer.peer, verified)
	d.c.conn.ways.punched(d.u.kinds(), nil)
	if answer.Error == wire.ErrorNone {
		d.c.note(AttemptEvent{
			Step: AttemptProbed, Node: relay.RelayAddr, Addr: answer.peer,
			Ours: kindOf(d.u.nat.firewall()), Theirs: kindOf(answer.Firewall),
		})
	}
	next(answer)
}

func (d *dialPunch) readAnswer(relay netip.AddrPort, r rpc.Reply) (punchAnswer, error) {
	m, err := wire.ParseHolepunch(r.Value)
	if err != nil || m.Mode != wire.Reply || r.From != relay {
		return punchAnswer{}, errBadHolepunchReply
	}
	payload, ok := d.box.Open(m.Payload)
	if !ok {
		return punchAnswer{}, errHolepunchInvalid
	}
	a := punchAnswer{HolepunchPayload: payload, reply: r, peer: m.PeerAddr}
	if !a.peer.IsValid() {
		a.peer = relay
	}
	return a, nil
}

// repeat allows a round to be followed by another one of its kind.
type repeat bool

const (
	mayRepeat repeat = true
	lastRound repeat = false
)

// probeRound learns the server's NAT while the local one is being classified.
func (d *dialPunch) probeRound(relay wire.RelayInfo, again repeat) {
	u := d.u
	var opened netip.AddrPort
	if !d.c.opts.SlowOpen && d.c.opts.AdmitPunch == nil { // the server's answer to it would be a punch
		opened = d.c.serverAddr
		u.openNAT(opened)
	}
	d.exchange(relay, wire.HolepunchPayload{
		Firewall: u.nat.firewall(), Addrs: u.nat.addrs(), RemoteAddr: opened,
	}, func(a punchAnswer) {
		u.nat.add(a.reply.To, a.reply.From)
		if u.remoteFirewall != wire.FirewallUnknown {
			d.analyzeProbe(relay, a, again)
			return
		}
		// The server does not know its NAT yet; give it a moment.
		d.pause(punchUnknown, remoteUnknownPause, func() { d.analyzeProbe(relay, a, again) })
	})
}

func (d *dialPunch) analyzeProbe(relay wire.RelayInfo, a punchAnswer, again repeat) {
	u := d.u
	u.analyze(func(stable bool) {
		if d.over() {
			return
		}
		if stable {
			d.endProbe(relay, a, again)
			return
		}
		u.analyzeOrReopen(func(stable bool) {
			switch {
			case d.over():
			case stable:
				d.probeRound(relay, lastRound) // from a new socket, which the server does not know yet
			default:
				d.endProbe(relay, a, again)
			}
		})
	})
}

// endProbe starts the punch round if both NATs are known and not both random.
func (d *dialPunch) endProbe(relay wire.RelayInfo, a punchAnswer, again repeat) {
	u := d.u
	ours, theirs := u.nat.firewall(), u.remoteFirewall
	switch {
	case again == mayRepeat && (theirs == wire.FirewallUnknown || a.Token == nil):
		d.probeRound(relay, lastRound)
	case theirs == wire.FirewallUnknown || ours == wire.FirewallUnknown:
		d.abort(relay, ErrProbeTimeout)
	case theirs >= wire.FirewallRandom && ours >= wire.FirewallRandom:
		d.abort(relay, ErrDoubleRandom)
	case d.vetoed():
		d.abort(relay, ErrHolepunchAborted)
	case d.over(): // the application has ended the dial
	default:
		if relay.RelayAddr == d.c.relay && a.peer != d.c.serverAddr {
			// The server has moved to another socket since the handshake; our relay has seen the new one.
			d.c.serverAddr = a.peer
			u.openNAT(d.c.serverAddr)
		}
		d.punchRound(relay, a.Token, atOnce)
	}
}

type punchTime bool

const (
	atOnce  punchTime = false
	delayed punchTime = true
)

// punchRound sends the server our classified NAT, through the relay of the handshake, and starts to punch. If one of
// the two is busy with another random punch, a connection that has a blind relay can wait; the delayed message takes
// the server's preferred relay, where our mapping is still open.
func (d *dialPunch) punchRound(serverRelay wire.RelayInfo, remoteToken *[32]byte, when punchTime) {
	u := d.u
	u.nat.freeze()
	token := d.box.Token(d.c.serverAddr.Addr())
	ours := wire.RelayInfo{RelayAddr: d.c.relay, PeerAddr: d.c.serverAddr}
	m := wire.HolepunchPayload{Firewall: u.nat.firewall(), Addrs: u.nat.addrs(), Token: &token, RemoteToken: remoteToken}
	later := func(wait time.Duration) { d.punchLater(serverRelay, remoteToken, wait) }
	random := u.usesRandom()
	if wait, free := d.admitPunch(random); !free {
		switch {
		case !d.mayWait(wait):
			d.fail(d.busy(ErrPunchesElsewhere, wait))
		case when == delayed:
			later(wait)
		default:
			// The tokens are exchanged while both sides still talk through this relay.
			d.exchange(ours, m, func(punchAnswer) { later(wait) })
		}
		return
	}
	relay := ours
	if when == delayed {
		relay, m.Token = serverRelay, nil
	}
	m.Punching = true
	if random {
		d.reserve()
	}
	d.exchange(relay, m, func(a punchAnswer) {
		if a.Error == wire.ErrorTryLater {
			later(retryAfterOf(a.HolepunchPayload))
			return
		}
		if u.remotePunching {
			d.c.note(AttemptEvent{Step: AttemptAgreed})
		}
		switch {
		case !u.remotePunching:
			d.fail(ErrRemoteNotPunching)
		case !u.punch():
			d.fail(ErrRemoteNotPunchable)
		default:
			d.become(punchPunching)
		}
	})
}

// admitPunch reports whether the node may punch now, which for a punch that guesses ports depends on other punches. If not, it may
// be called again after retryAfter.
func (d *dialPunch) admitPunch(random bool) (retryAfter time.Duration, ok bool) {
	if !random {
		return 0, true
	}
	return d.p.punchQueue.admit(punchWaiter{
		peer: d.c.remote, dial: true, timed: true, known: true, relayed: d.c.relayPath != nil, attempt: d,
	})
}

// keptBy reports whether a busy server keeps the attempt: a relay carries the connection meanwhile, or the answer is not an abort, which
// names no firewall.
func (d *dialPunch) keptBy(a punchAnswer) bool {
	return d.c.relayPath != nil || a.Firewall != wire.FirewallUnknown
}

// waited is the time since the punch was refused for the first time.
func (d *dialPunch) waited() time.Duration {
	now := d.p.host.Now()
	if d.refused == 0 {
		d.refused = now
	}
	return now.Sub(d.refused)
}

// mayWait reports whether the attempt may wait for that time: without a limit while a relay carries the connection, else for
// queuePatience in all.
func (d *dialPunch) mayWait(wait time.Duration) bool {
	return d.c.relayPath != nil || wait > 0 && d.waited()+wait <= queuePatience
}

// relayEnded ends an attempt that waits for its turn: without the relay no path carries the connection meanwhile. The place
// in the queue is kept for the next attempt, which may find the relay again.
func (d *dialPunch) relayEnded(err error) {
	d.p.punchQueue.keep(d)
	d.fail(err)
}

// busy returns the error of an attempt that cannot wait. The next dial comes minRedial after the first at the earliest: a server must
// not trigger dials in quick succession.
func (d *dialPunch) busy(err error, retryAfter time.Duration) error {
	if retryAfter > 0 {
		retryAfter = max(retryAfter, minRedial-d.waited())
	}
	return &BusyError{err, retryAfter}
}

// punchLater repeats the punch round after a wait, zero for the default.
func (d *dialPunch) punchLater(serverRelay wire.RelayInfo, remoteToken *[32]byte, wait time.Duration) {
	switch {
	case wait == 0:
		wait = retryLater + d.p.someOf(retryLater)
	case d.c.relayPath != nil:
		wait = max(wait, minRelayedRetry)
	default:
		wait = max(wait, minRetryAfter)
	}
	d.pause(punchLater, wait, func() {
		d.u.renewed(func() {
			if !d.over() {
				d.punchRound(serverRelay, remoteToken, delayed)
			}
		})
	})
}

// abort sends the server an abort; its answer is ignored.
func (d *dialPunch) abort(relay wire.RelayInfo, reason error) {
	d.p.rpc.Request(rpc.RequestOptions{
		To: relay.RelayAddr, Command: wire.CmdPeerHolepunch, Target: &d.c.target, Retries: rpc.NoRetry,
		Value: d.message(relay, wire.HolepunchPayload{Error: wire.ErrorAborted, Round: d.round}),
	}, func(rpc.Reply, error) {})
	d.fail(reason)
}

// fail ends punching, and the connection unless the LAN shortcut may still succeed.
func (d *dialPunch) fail(err error) {
	c := d.c
	c.note(AttemptEvent{Step: AttemptPunchFailed, Err: err})
	c.conn.ways.punched(d.u.kinds(), err)
	c.conn.ways.fail(PathPunched, netip.AddrPort{}, err)
	if _, busy := errors.AsType[*BusyError](err); busy {
		d.p.punchQueue.keep(d)
	}
	d.close()
	if c.lan.running() {
		c.lan.failure = err
		return
	}
	c.fail(err)
}
