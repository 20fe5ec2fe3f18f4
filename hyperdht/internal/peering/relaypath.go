package peering

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/hyperdht/mux"
	"github.com/dhtprom/dhtprom/ports/host"
)

// relayProtocol is the channel on which clients and blind relays talk; messages pair and unpair
// (blind-relay index.js).
const relayProtocol = "blind-relay"

// relayPath is one side's way over a blind relay: a connection to the relay, and the pairing of our raw stream
// with the other side's (hyperdht lib/connect.js and lib/server.js, relayConnection; lib/relay-connection.js).
//
// A paired stream moves to a direct path when one is found. The relay stays until something has come from the
// peer over the direct path, since our own change alone proves nothing.
type relayPath struct {
	machine[relayState]
	p         *Peering
	trail     trail
	relay     id.PublicKey
	conn      *Connection
	raw       *stream.Stream
	token     [32]byte
	initiator bool

	answered bool   // the relay has paired us
	remoteID uint32 // of the relay's leg, once paired
	direct   bool   // the last packet from elsewhere than the stream's remote did not come over the relay

	onPaired func()
	onAbort  func(error)
}

type relayState uint8

const (
	relayReserved relayState = iota
	relayJoining
	relayPaired
	relayMoving
	relayMoved
	relayStandingBy
	relayEnded
)

var relayTable = &table[relayState]{name: "relay path", states: []rule[relayState]{
	relayReserved: {name: "reserved", limit: relayReserve, next: []relayState{relayJoining, relayEnded}},
	relayJoining: {
		name: "joining", limit: relayTimeout,
		next: []relayState{relayPaired, relayStandingBy, relayEnded},
	},
	relayPaired: {
		name: "paired", why: "ends with the connection that it carries",
		next: []relayState{relayMoving, relayStandingBy, relayEnded},
	},
	relayMoving: {
		name: "moving", why: "the stream closes if what it sent before is never acknowledged",
		next: []relayState{relayMoved, relayEnded},
	},
	relayMoved: {
		name: "moved", why: "a peer that stays on the relay needs it for as long as the connection lasts",
		next: []relayState{relayEnded},
	},
	relayStandingBy: {name: "standing by", limit: relayStandBy, next: []relayState{relayEnded}},
	relayEnded:      {name: "ended"},
}}

// joinRelay connects to a relay and asks it to pair raw with the stream that shows the same token.
func (p *Peering) joinRelay(relay id.PublicKey, r relayPath) *relayPath {
	rp := p.newRelayPath(relay, r)
	rp.begin(p.account, relayTable, relayJoining, rp.passed)
	rp.join()
	return rp
}

// reserveRelay does so in a while, unless it is closed before.
func (p *Peering) reserveRelay(relay id.PublicKey, r relayPath) *relayPath {
	rp := p.newRelayPath(relay, r)
	rp.begin(p.account, relayTable, relayReserved, rp.passed)
	return rp
}

func (p *Peering) newRelayPath(relay id.PublicKey, r relayPath) *relayPath {
	rp := &r
	rp.p, rp.relay, rp.direct = p, relay, true
	return rp
}

func (rp *relayPath) join() {
	rp.trail.note(AttemptEvent{Step: AttemptRelay, Relay: rp.relay})
	rp.p.stats.RelayAttempts++
	rp.conn = rp.p.Connect(rp.relay, ConnectOptions{})
	rp.conn.unproven = true // the other side may have chosen the relay
	m := mux.New(rp.conn)
	own := rp.conn.PublicKey()
	ch, err := m.Open(mux.ChannelOptions{
		Protocol: relayProtocol, ID: own[:],
		Messages: []func([]byte){rp.receivePair, rp.receiveUnpair},
		OnClose: func(remote bool) {
			if remote {
				rp.abort(ErrRelayAborted)
			}
		},
	})
	m.OnClose(func(error) { rp.abort(ErrRelayAborted) })
	if err != nil {
		rp.p.host.Defer(func() { rp.abort(err) })
		return
	}
	ch.Send(0, wire.RelayPair{Initiator: rp.initiator, Token: rp.token, ID: rp.raw.ID()}.Append(nil))
}

// passed ends a state at its deadline.
func (rp *relayPath) passed(s relayState) {
	switch s {
	case relayReserved:
		rp.raw.WatchRemote()
		rp.become(relayJoining)
		rp.join()
	case relayJoining:
		rp.abort(ErrRelayAborted)
	default:
		rp.leave()
	}
}

// receivePair takes the relay's answer: the id of its own stream.
func (rp *relayPath) receivePair(b []byte) {
	m, err := wire.ParseRelayPair(b)
	if err != nil || m.Token != rp.token || m.Initiator != rp.initiator || rp.answered || rp.over() {
		return
	}
	if rp.conn.raw == nil {
		rp.abort(ErrRelayAborted)
		return
	}
	if rp.in(relayStandingBy) {
		rp.answered = true
		rp.raw.Touch(rp.conn.raw.Socket(), m.ID, rp.conn.raw.RemoteAddr())
		return
	}
	// The peer's direct packets may come to the socket on which we talk to the relay.
	rp.raw.WatchRemote()
	rp.remoteID = m.ID
	// The relay's other leg may not know its client yet, and drops what comes before.
	rp.raw.GuessRTT(2 * rp.conn.raw.Stats().RTT)
	if rp.raw.Connected() { // on a way that the peer has not answered on yet
		rp.raw.Race(stream.Way{Socket: rp.conn.raw.Socket(), RemoteID: m.ID, Remote: rp.conn.raw.RemoteAddr()})
	} else if err := rp.raw.Connect(rp.conn.raw.Socket(), m.ID, rp.conn.raw.RemoteAddr()); err != nil {
		rp.abort(err)
		return
	}
	rp.answered = true
	rp.become(relayPaired)
	rp.p.stats.RelaySuccesses++
	rp.onPaired()
}

// receiveUnpair takes the relay's refusal, or its end.
func (rp *relayPath) receiveUnpair(b []byte) {
	m, err := wire.ParseRelayUnpair(b)
	if err != nil || m.Token != rp.token || rp.over() {
		return
	}
	rp.p.stats.RelayRefusals++
	err = ErrRelayAborted
	switch m.Reason {
	case wire.RelayFull:
		err = ErrRelayFull
	case wire.RelayKeyFull:
		err = ErrRelayKeyFull
	case wire.RelayExpired:
		err = ErrRelayExpired
	}
	rp.abort(err)
}

// standBy keeps the relay for a while although we found a direct path before it had paired us. The peer may be
// paired already: what it has sent over the relay it goes on retransmitting there, until the relay's leg knows us
// and lets it through.
func (rp *relayPath) standBy(c *Connection) {
	if rp.over() {
		return
	}
	if rp.in(relayReserved) {
		rp.close()
		return
	}
	rp.onAbort = func(error) {}
	rp.become(relayStandingBy)
	c.cancel = rp.close
}

// carries reports whether a packet came over the relay.
func (rp *relayPath) carries(sock host.Socket, from netip.AddrPort) bool {
	if rp.conn == nil {
		return false
	}
	raw := rp.conn.raw
	return raw != nil && raw.Socket() == sock && raw.RemoteAddr() == from
}

// observe is told of each packet that arrives on another socket than the stream's, or from another address than its
// remote's. It reports whether the packet shows a direct path.
func (rp *relayPath) observe(sock host.Socket, from netip.AddrPort) bool {
	rp.direct = !rp.carries(sock, from)
	return rp.direct
}

// upgrade moves the connection from the relay to a direct path.
func (rp *relayPath) upgrade(c *Connection, sock host.Socket, remoteID uint32, to netip.AddrPort, path Path) {
	err := rp.raw.ChangeRemote(sock, remoteID, to, func() {
		if rp.in(relayMoving) {
			rp.become(relayMoved)
		}
		rp.raw.SendMessage(nil) // lets the other side see a packet on the direct path
	})
	if err != nil {
		return // the connection stays on the relay
	}
	rp.become(relayMoving)
	c.moved(sock, path)
	c.onTraffic = func() {
		switch {
		case rp.in(relayMoving):
		case !rp.direct:
			rp.direct = true // that one came over the relay; take the next for direct until told otherwise
		default:
			c.onTraffic = nil
			rp.p.stats.RelayUpgrades++
			rp.leave()
		}
	}
}

// leave closes the relay connection in good order: nothing needs it any more.
func (rp *relayPath) leave() {
	rp.become(relayEnded)
	rp.conn.Close()
}

// close gives the relay up, whatever state it is in.
func (rp *relayPath) close() {
	if rp.over() {
		return
	}
	rp.become(relayEnded)
	if rp.conn != nil {
		rp.conn.Destroy(nil)
	}
}

func (rp *relayPath) abort(err error) {
	if rp.over() {
		return
	}
	if !rp.answered {
		rp.p.stats.RelayAborts++
	}
	rp.close()
	rp.onAbort(err)
}

// newRelayToken is what both sides of a pairing show to the relay.
func (p *Peering) newRelayToken() [32]byte {
	var t [32]byte
	p.random(t[:])
	return t
}

// pickRelay chooses one of several relays at random, as the original does.
func (p *Peering) pickRelay(relays []id.PublicKey) id.PublicKey {
	var b [1]byte
	p.random(b[:])
	return relays[int(b[0])%len(relays)]
}
