package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// relayPath is one side's way over a blind relay: a connection to the relay, and the pairing of our raw stream
// with the other side's (hyperdht lib/connect.js and lib/server.js, relayConnection; lib/relay-connection.js).
//
// A paired stream moves to a direct path when one is found. The relay carries what the peer sends until something has come from it
// over the direct path, since our own change alone proves nothing. Then it is kept as a second way if the peer keeps it, too:
// JavaScript peers leave the relay, and so did our first releases.
type relayPath struct {
	machine[relayState]
	p            *peering
	attemptTrace attemptTrace
	relay        id.PublicKey
	link         *relayLink // from joining on
	raw          *stream.Stream
	token        [32]byte
	initiator    bool

	answered bool       // the relay has paired us
	remoteID uint32     // of the relay's leg, once paired
	second   *secondWay // once there is a direct path
	full     bool       // it had no room when it was left

	onJoin   func() // may be nil
	onPaired func()
	onAbort  func(error)
}

type relayState uint8

const (
	relayReserved relayState = iota
	relayDeferred
	relayJoining
	relayPaired
	relayMoving
	relayMoved
	relayStandingBy
	relayWarm
	relayCarrying
	relayEnded
)

var relayTable = &table[relayState]{Name: "relay path", States: []rule[relayState]{
	relayReserved: {Name: "reserved", Limit: relayReserve, Next: []relayState{relayDeferred, relayJoining, relayEnded}},
	relayDeferred: {Name: "deferred", Limit: maxDefer, Next: []relayState{relayStandingBy, relayEnded}},
	relayJoining: {
		Name: "joining", Limit: relayTimeout,
		Next: []relayState{relayPaired, relayStandingBy, relayEnded},
	},
	relayPaired: {
		Name: "paired", Why: "ends with the connection that it carries",
		Next: []relayState{relayMoving, relayStandingBy, relayEnded},
	},
	relayMoving: {
		Name: "moving", Why: "the stream closes if what it sent before is never acknowledged",
		Next: []relayState{relayMoved, relayEnded},
	},
	relayMoved: {
		Name: "moved", Why: "a peer that stays on the relay needs it for as long as the connection lasts",
		Next: []relayState{relayWarm, relayStandingBy, relayEnded},
	},
	relayStandingBy: {
		Name: "standing by", Limit: relayStandBy,
		Next: []relayState{relayWarm, relayDeferred, relayEnded},
	},
	relayWarm: {
		Name: "warm", Limit: relayWarmLimit,
		Next: []relayState{relayWarm, relayCarrying, relayDeferred, relayEnded},
	},
	relayCarrying: {
		Name: "carrying", Why: "ends with the connection that it carries",
		Next: []relayState{relayWarm, relayDeferred, relayEnded},
	},
	relayEnded: {Name: "ended"},
}}

// joinRelay connects to a relay and asks it to pair raw with the stream that shows the same token.
func (p *peering) joinRelay(relay id.PublicKey, r relayPath) *relayPath {
	rp := p.newRelayPath(relay, r)
	rp.begin(p.account, relayTable, relayJoining, rp.passed)
	rp.join()
	return rp
}

// reserveRelay does so after relayReserve, unless it is closed before.
func (p *peering) reserveRelay(relay id.PublicKey, r relayPath) *relayPath {
	rp := p.newRelayPath(relay, r)
	rp.begin(p.account, relayTable, relayReserved, rp.passed)
	return rp
}

func (p *peering) newRelayPath(relay id.PublicKey, r relayPath) *relayPath {
	rp := &r
	rp.p, rp.relay = p, relay
	return rp
}

func (rp *relayPath) join() {
	rp.attemptTrace.note(AttemptEvent{Step: AttemptRelay, Relay: rp.relay})
	rp.p.stats.RelayAttempts++
	if rp.onJoin != nil {
		rp.onJoin()
	}
	rp.link = rp.p.linkTo(rp.relay)
	rp.link.add(rp)
}

// passed ends a state at its deadline.
func (rp *relayPath) passed(s relayState) {
	switch s {
	case relayReserved:
		rp.raw.WatchRemote()
		rp.become(relayJoining)
		rp.join()
	case relayDeferred:
		rp.joinLate()
	case relayJoining:
		rp.abort(ErrRelayAborted)
	default:
		if !rp.again(nil) {
			rp.leave()
		}
	}
}

// joinLate joins the relay when a direct path has been found. If it is not the first time, the peer is asked to join at the same
// time: each side tries at times of its own, and waits for a part of a minute.
func (rp *relayPath) joinLate() {
	rp.become(relayStandingBy)
	rp.join()
	if rp.second.worked {
		rp.raw.SendMessage(nil)
	}
}

// called handles the message of a peer that joins the relay again. A question on a relay in reserve tests whether it still leads to
// the peer: the relay does not report that a peer has left.
func (rp *relayPath) called() {
	if rp.p.host.Now().Sub(rp.since) < relayDefer {
		return
	}
	switch {
	case rp.in(relayDeferred) && !rp.full:
		rp.joinLate()
	case rp.in(relayWarm):
		rp.becomeFor(relayWarm, relayDoubt)
		rp.second.askNow()
	}
}

// paired handles the relay's answer: the id of its own stream.
func (rp *relayPath) paired(remoteID uint32) {
	if rp.answered {
		return
	}
	raw := rp.link.conn.raw
	rp.answered, rp.remoteID = true, remoteID
	if rp.in(relayStandingBy) {
		rp.keepSecond()
		return
	}
	// The peer's direct packets may come to the socket on which we talk to the relay.
	rp.raw.WatchRemote()
	// The relay's other leg may not know its client yet, and drops what comes before.
	rp.raw.GuessRTT(2 * raw.Stats().RTT)
	if rp.raw.Connected() { // on a way that the peer has not answered on yet
		rp.raw.Race(rp.way())
	} else if err := rp.raw.Connect(raw.Socket(), remoteID, raw.RemoteAddr()); err != nil {
		rp.abort(err)
		return
	}
	rp.become(relayPaired)
	rp.p.stats.RelaySuccesses++
	rp.onPaired()
}

// refused handles the relay's refusal, or the end of the pairing.
func (rp *relayPath) refused(reason wire.RelayReason) {
	rp.p.stats.RelayRefusals++
	err := ErrRelayAborted
	switch reason {
	case wire.RelayFull:
		err = ErrRelayFull
	case wire.RelayKeyFull:
		err = ErrRelayKeyFull
	case wire.RelayExpired:
		err = ErrRelayExpired
	}
	rp.abort(err)
}

// keepAsFallback keeps the relay beside a direct path: for a while, since the peer may be paired already, and retransmits over the relay
// what it has sent there until the relay's leg knows us and lets it through; and for as long as the peer keeps it, too.
func (rp *relayPath) keepAsFallback(c *Connection) {
	if rp.over() {
		return
	}
	rp.onAbort = func(error) {}
	if rp.in(relayReserved) {
		rp.becomeFor(relayDeferred, relayDefer)
	} else {
		rp.become(relayStandingBy)
	}
	rp.reserve(c)
}

// reserve asks on the relay, and answers, if it has paired us or as soon as it does.
func (rp *relayPath) reserve(c *Connection) {
	if rp.second != nil {
		return
	}
	rp.second = &secondWay{rp: rp, c: c}
	c.second = rp.second
	if rp.answered {
		rp.keepSecond()
	}
}

// carries reports whether a packet came over the relay.
func (rp *relayPath) carries(sock host.Socket, from netip.AddrPort) bool {
	if rp.link == nil {
		return false
	}
	raw := rp.link.conn.raw
	return raw != nil && raw.Socket() == sock && raw.RemoteAddr() == from
}

// upgrade moves the connection from the relay to a direct path.
func (rp *relayPath) upgrade(c *Connection, sock host.Socket, remoteID uint32, to netip.AddrPort, path Path) {
	err := rp.raw.ChangeRemote(sock, remoteID, to, func() {
		if rp.in(relayMoving) {
			rp.become(relayMoved)
			rp.reserve(c)
		}
		rp.raw.SendMessage(nil) // lets the other side see a packet on the direct path
	})
	if err != nil {
		return // the connection stays on the relay
	}
	rp.become(relayMoving)
	c.moved(sock, path)
	c.onTraffic = func() {
		if rp.in(relayMoving) || rp.raw.ViaSpare() {
			return
		}
		c.onTraffic = nil
		rp.p.stats.RelayUpgrades++
		if rp.in(relayMoved) {
			rp.keepAsFallback(c)
		}
	}
}

// leave leaves the relay in good order, when it is no longer needed.
func (rp *relayPath) leave() { rp.end(inOrder) }

// close leaves the relay in any state.
func (rp *relayPath) close() {
	if !rp.over() {
		rp.end(abruptly)
	}
}

// manner selects between closing the connection to a relay and destroying it.
type manner bool

const (
	inOrder  manner = true
	abruptly manner = false
)

func (rp *relayPath) end(how manner) {
	rp.become(relayEnded)
	rp.detach(how)
}

// detach ends the second way and releases the link to the relay.
func (rp *relayPath) detach(how manner) {
	if rp.second != nil {
		rp.second.end()
	}
	if link := rp.link; link != nil {
		rp.link = nil
		link.remove(rp, how)
	}
}

func (rp *relayPath) abort(err error) {
	if rp.over() {
		return
	}
	if !rp.answered {
		rp.p.stats.RelayAborts++
	}
	if !rp.again(err) {
		rp.close()
		rp.onAbort(err)
	}
}

// again schedules another join of a lost relay if the peer has kept it, too, and reports whether it did. err is the reason for the
// loss.
func (rp *relayPath) again(err error) bool {
	if rp.second == nil || !rp.second.worked {
		return false
	}
	rp.detach(abruptly)
	rp.answered = false
	wait := rp.second.nextTry()
	if rp.full = err == ErrRelayFull || err == ErrRelayKeyFull; rp.full {
		wait = maxDefer // it has no room for paths in reserve
	}
	rp.becomeFor(relayDeferred, wait)
	return true
}
