package peering

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// The client's side of hole punching (hyperdht lib/connect.js): a probe round, in which both sides learn what
// NAT the other has, and a punch round, after which both send probes. Each is one PEER_HOLEPUNCH message,
// sent and answered from the sockets that are to be connected.

func (c *connector) startPunch() {
	u, err := newPuncher(c.conn.trail, c.session, true, c.payload.Firewall)
	if err != nil {
		c.fail(err)
		return
	}
	c.box = wire.NewPunchBox(c.result.HolepunchSecret, c.p.host.Rand())
	c.puncher = u
	u.sample()
	u.onConnect = func(s host.Socket, from netip.AddrPort) { c.found(way{s, from, PathPunched}) }
	u.onAbort = func() { c.failPunch(ErrHolepunchAborted) }
	relay := c.serverRelay()
	c.note(AttemptEvent{Step: AttemptProbing, Node: relay.RelayAddr})
	c.probeRound(relay, true)
}

// serverRelay is the relay the server prefers of those we know: ours if it is among its own.
func (c *connector) serverRelay() wire.RelayInfo {
	relays := c.payload.Holepunch.Relays
	for _, r := range relays {
		if r.RelayAddr == c.relay {
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

// exchange sends one hole-punch message through a relay and hands the answer to next. Failing ends the attempt.
func (c *connector) exchange(relay wire.RelayInfo, m wire.HolepunchPayload, next func(punchAnswer)) {
	m.Round = c.round
	c.round++
	req := wire.Holepunch{
		Mode: wire.FromClient, ID: c.payload.Holepunch.ID, Payload: c.box.Seal(m), PeerAddr: relay.PeerAddr,
	}
	c.p.rpc.Request(rpc.Outgoing{
		To: relay.RelayAddr, Command: wire.CmdPeerHolepunch, Target: &c.target, Value: req.Append(nil),
		Socket: c.puncher.socket(), Follows: true, Session: c.session,
	}, func(r rpc.Reply, err error) {
		if c.reserved {
			c.reserved = false
			c.p.randomPunches-- // the puncher takes it anew when it starts
		}
		take := func() {
			if !c.finished && !c.puncher.over() {
				c.takeAnswer(relay, m, r, err, next)
			}
		}
		if c.race.state == raceRacing && slices.ContainsFunc(c.race.ways, func(w way) bool { return w.path == PathPunched }) {
			c.pause = c.p.host.AfterFunc(provePatience, take) // the way that is open is about to prove itself
			return
		}
		take()
	})
}

// takeAnswer goes on with the answer to a hole-punch message.
func (c *connector) takeAnswer(relay wire.RelayInfo, m wire.HolepunchPayload, r rpc.Reply, err error, next func(punchAnswer)) {
	if err != nil {
		c.failPunch(err)
		return
	}
	answer, err := c.readAnswer(relay.RelayAddr, r)
	if err != nil {
		c.failPunch(err)
		return
	}
	canWait := c.relayPath != nil && m.Punching
	switch {
	case answer.Error == wire.ErrorNone, answer.Error == wire.ErrorTryLater && canWait:
	case answer.Error == wire.ErrorTryLater:
		c.failPunch(ErrRemoteBusy)
		return
	default:
		c.failPunch(ErrRemoteAborted)
		return
	}
	var verified netip.Addr
	if m.Token != nil && answer.RemoteToken != nil && *answer.RemoteToken == *m.Token {
		verified = relay.PeerAddr.Addr()
	}
	c.puncher.updateRemote(answer.HolepunchPayload, answer.peer, verified)
	c.note(AttemptEvent{
		Step: AttemptProbed, Node: relay.RelayAddr, Addr: answer.peer,
		Ours: kindOf(c.puncher.nat.firewall()), Theirs: kindOf(answer.Firewall),
	})
	next(answer)
}

func (c *connector) readAnswer(relay netip.AddrPort, r rpc.Reply) (punchAnswer, error) {
	m, err := wire.ParseHolepunch(r.Value)
	if err != nil || m.Mode != wire.Reply || r.From != relay {
		return punchAnswer{}, ErrBadHolepunchReply
	}
	payload, ok := c.box.Open(m.Payload)
	if !ok {
		return punchAnswer{}, ErrHolepunchInvalid
	}
	a := punchAnswer{HolepunchPayload: payload, reply: r, peer: m.PeerAddr}
	if !a.peer.IsValid() {
		a.peer = relay
	}
	return a, nil
}

// probeRound learns the server's NAT while ours is being classified.
func (c *connector) probeRound(relay wire.RelayInfo, again bool) {
	u := c.puncher
	var opened netip.AddrPort
	if !c.opts.SlowOpen {
		opened = c.serverAddr
		u.openSession(opened)
	}
	c.exchange(relay, wire.HolepunchPayload{
		Firewall: u.nat.firewall(), Addrs: u.nat.addrs(), RemoteAddr: opened,
	}, func(a punchAnswer) {
		u.nat.add(a.reply.To, a.reply.From)
		if u.remoteFirewall != wire.FirewallUnknown {
			c.analyzeProbe(relay, a, again)
			return
		}
		// The server does not know its NAT yet; give it a moment.
		c.pause = c.p.host.AfterFunc(remoteUnknownPause, func() {
			if !c.finished && !u.over() {
				c.analyzeProbe(relay, a, again)
			}
		})
	})
}

func (c *connector) analyzeProbe(relay wire.RelayInfo, a punchAnswer, again bool) {
	u := c.puncher
	u.analyze(false, func(stable bool) {
		if c.finished || u.over() {
			return
		}
		if stable {
			c.endProbe(relay, a, again)
			return
		}
		u.analyze(true, func(stable bool) {
			switch {
			case c.finished || u.over():
			case stable:
				c.probeRound(relay, false) // from a new socket, so the server has to hear of it
			default:
				c.endProbe(relay, a, again)
			}
		})
	})
}

// endProbe goes on to the punch round if both NATs are known and not both random.
func (c *connector) endProbe(relay wire.RelayInfo, a punchAnswer, again bool) {
	u := c.puncher
	ours, theirs := u.nat.firewall(), u.remoteFirewall
	switch {
	case again && (theirs == wire.FirewallUnknown || a.Token == nil):
		c.probeRound(relay, false)
	case theirs == wire.FirewallUnknown || ours == wire.FirewallUnknown:
		c.abortPunch(relay, ErrProbeTimeout)
	case theirs >= wire.FirewallRandom && ours >= wire.FirewallRandom:
		c.abortPunch(relay, ErrDoubleRandom)
	default:
		if relay.RelayAddr == c.relay && a.peer != c.serverAddr {
			// The server has moved to another socket since the handshake; our relay has seen the new one.
			c.serverAddr = a.peer
			u.openSession(c.serverAddr)
		}
		c.punchRound(relay, a.Token, false)
	}
}

// punchRound tells the server our final view, through the relay of the handshake, and starts to punch. Where one of
// the two is busy with another random punch, a connection that has a blind relay can wait; then delayed is true, and
// the message takes the server's preferred relay, where our mapping is open still.
func (c *connector) punchRound(serverRelay wire.RelayInfo, remoteToken *[32]byte, delayed bool) {
	u := c.puncher
	u.nat.freeze()
	token := c.box.Token(c.serverAddr.Addr())
	ours := wire.RelayInfo{RelayAddr: c.relay, PeerAddr: c.serverAddr}
	m := wire.HolepunchPayload{Firewall: u.nat.firewall(), Addrs: u.nat.addrs(), Token: &token, RemoteToken: remoteToken}
	later := func() { c.punchLater(serverRelay, remoteToken) }
	random := u.usesRandom()
	if random && !c.p.mayPunchRandomly() {
		c.p.stats.PunchesLater++
		switch {
		case c.relayPath == nil:
			c.failPunch(ErrPunchesElsewhere)
		case delayed:
			later()
		default:
			// The tokens are exchanged while both sides still talk through this relay.
			c.exchange(ours, m, func(punchAnswer) { later() })
		}
		return
	}
	if random && !c.reserved {
		c.reserved = true
		c.p.randomPunches++
	}
	relay := ours
	if delayed {
		relay, m.Token = serverRelay, nil
	}
	m.Punching = true
	c.exchange(relay, m, func(a punchAnswer) {
		if a.Error == wire.ErrorTryLater {
			later()
			return
		}
		if u.remotePunching {
			c.note(AttemptEvent{Step: AttemptAgreed})
		}
		switch {
		case !u.remotePunching:
			c.failPunch(ErrRemoteNotPunching)
		case !u.punch():
			c.failPunch(ErrRemoteNotPunchable)
		}
	})
}

// punchLater repeats the punch round in a while. The connection is relayed meanwhile.
func (c *connector) punchLater(serverRelay wire.RelayInfo, remoteToken *[32]byte) {
	var b [2]byte
	c.p.random(b[:])
	wait := retryLater + time.Duration(binary.LittleEndian.Uint16(b[:]))*retryLater/(1<<16)
	c.pause = c.p.host.AfterFunc(wait, func() {
		if !c.finished && !c.puncher.over() {
			c.punchRound(serverRelay, remoteToken, true)
		}
	})
}

// abortPunch tells the server that we give up; its answer does not matter.
func (c *connector) abortPunch(relay wire.RelayInfo, reason error) {
	m := wire.HolepunchPayload{Error: wire.ErrorAborted, Round: c.round}
	req := wire.Holepunch{
		Mode: wire.FromClient, ID: c.payload.Holepunch.ID, Payload: c.box.Seal(m), PeerAddr: relay.PeerAddr,
	}
	c.p.rpc.Request(rpc.Outgoing{
		To: relay.RelayAddr, Command: wire.CmdPeerHolepunch, Target: &c.target, Value: req.Append(nil),
		Retries: rpc.NoRetry,
	}, func(rpc.Reply, error) {})
	c.failPunch(reason)
}

// failPunch gives up on punching, and on the connection unless the LAN shortcut may still do it.
func (c *connector) failPunch(err error) {
	c.note(AttemptEvent{Step: AttemptPunchFailed, Err: err})
	c.puncher.close()
	if c.lanPending > 0 {
		c.lanFailure = err
		return
	}
	c.fail(err)
}
