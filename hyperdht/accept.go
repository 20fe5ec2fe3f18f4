package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/ports/host"
)

// The paths of an incoming attempt: the first on which a packet of the caller arrives, directly or over a relay, gets the connection.

type openingState uint8

const (
	openingWaiting openingState = iota
	openingOver
)

// openingTable lists the states of incoming connections from their first path until they open.
var openingTable = &table[openingState]{Name: "opening", States: []rule[openingState]{
	openingWaiting: {Name: "waiting", Limit: openTimeout, Next: []openingState{openingOver}},
	openingOver:    {Name: "over"},
}}

// firewall sees the packets of the raw stream on other sockets than its own: the first one decides the path, if it shows that the
// caller has the answer.
func (ic *incoming) firewall(sock host.Socket, from netip.AddrPort) bool {
	if from.Port() == 0 || ic.paths == RelayOnly && !ic.carries(sock, from) {
		return false
	}
	if ic.carries(sock, from) {
		return true
	}
	if ic.raw != nil && ic.conn == nil && !ic.raw.First() {
		return false // it comes again; or the answer, without which none is the first, is not written yet
	}
	path := PathDirect
	switch {
	case ic.s.p.pool.sockets[sock] != nil:
		path = PathPunched
	case kad.IsPrivate(from.Addr()) && from.Addr() != ic.clientAddr.Addr():
		path = PathLAN
	}
	if ic.proven(from.Addr()) {
		ic.allowance.Validate()
	}
	ic.onSocket(sock, from, path)
	return true
}

// startRelay joins our relay, or the caller's if we have none.
func (ic *incoming) startRelay() {
	if key, join := ic.relayOffer(); key != (id.PublicKey{}) {
		join.onPaired, join.onAbort = ic.relayPaired, ic.relayAborted
		ic.relayPath = ic.s.p.joinRelay(key, join)
	}
}

// relayOffer returns the key of the relay, zero for none, and our part in the pairing.
func (ic *incoming) relayOffer() (relay id.PublicKey, join relayPath) {
	if ic.paths == DirectOnly {
		return relay, join
	}
	if r := ic.payload.RelayThrough; r != nil && ic.relayKey == (id.PublicKey{}) {
		return r.Key, relayPath{attemptTrace: ic.attemptTrace, raw: ic.raw, token: r.Token}
	}
	return ic.relayKey, relayPath{attemptTrace: ic.attemptTrace, raw: ic.raw, token: ic.relayToken, initiator: true}
}

// reserveRelay joins the relay, too, if a caller that holds itself for open has not answered soon. It may be open for
// others only. The relay races the way that the connection is on.
func (ic *incoming) reserveRelay(c *Connection, relay id.PublicKey, join relayPath, remoteID uint32) {
	r := race{conn: c, raw: join.raw, remoteID: remoteID}
	join.onPaired = func() { ic.attemptTrace.note(AttemptEvent{Step: AttemptRelayPaired}) }
	join.onAbort = func(err error) {
		ic.attemptTrace.note(AttemptEvent{Step: AttemptRelayFailed, Err: err})
		ic.relayPath = nil
		if c.path == PathRelayed {
			c.close(err)
		}
	}
	rp := ic.s.p.reserveRelay(relay, join)
	ic.relayPath = rp
	c.cancel = rp.close
	c.onProof = func() {
		if rp.over() || r.wonBy(rp) {
			return
		}
		r.end(way{r.raw.Socket(), r.raw.RemoteAddr(), c.path}, remoteID) // on which it is
		rp.keepAsFallback(c)
	}
}

// mayJoinRelay reports whether the relay is joined before the caller has proven itself. To our own relay, and to one in use, there is a
// connection; any other takes a dial, to a key of the caller's choice.
func (ic *incoming) mayJoinRelay() bool {
	relay, _ := ic.relayOffer()
	return ic.eager || relay == ic.relayKey || ic.s.p.linked(relay)
}

// holdRelay leaves the relay until the caller has proven itself on a direct path. It is kept in reserve then.
func (ic *incoming) holdRelay() {
	relay, join := ic.relayOffer()
	ic.heldRelay = func(c *Connection) {
		c.onProof = func() {
			rp := ic.s.p.reserveRelay(relay, join)
			ic.relayPath, c.cancel = rp, rp.close
			rp.keepAsFallback(c)
		}
	}
}

func (ic *incoming) relayPaired() {
	ic.attemptTrace.note(AttemptEvent{Step: AttemptRelayPaired})
	ic.connect(ic.raw, PathRelayed)
	switch {
	case ic.in(incomingJoining), ic.paths == RelayOnly: // no better path is looked for
		ic.settle()
	case ic.in(incomingWaiting, incomingBusy):
		ic.become(incomingRelayed)
	}
}

func (ic *incoming) relayAborted(err error) {
	ic.attemptTrace.note(AttemptEvent{Step: AttemptRelayFailed, Err: err})
	ic.relayPath = nil
	switch {
	case ic.conn != nil:
		ic.conn.close(err)
	case ic.in(incomingJoining):
		ic.raw.Destroy(nil)
	case ic.in(incomingBusy): // the caller gives up as well, and keeps its place in the queue
		ic.s.p.punchQueue.keep(ic)
		ic.puncher.fail()
	}
}

// onSocket takes a direct path; only the first call counts.
func (ic *incoming) onSocket(sock host.Socket, from netip.AddrPort, path Path) {
	if ic.raw == nil {
		return
	}
	p := ic.s.p
	raw := ic.raw
	ic.raw = nil
	defer ic.settle()
	if ic.conn != nil { // over the relay
		ic.relayPath.upgrade(ic.conn, sock, ic.payload.UDX.ID, from, path)
		if raw.RemoteAddr() == from {
			ic.allowance.Receive(min(int(raw.Stats().BytesReceived), maxMigrationCredit))
			raw.Limit(&ic.allowance)
		}
		ic.leavePuncher(path == PathPunched)
		return
	}
	if err := raw.Connect(sock, ic.payload.UDX.ID, from); err != nil {
		raw.Destroy(nil)
		ic.leavePuncher(path == PathPunched)
		return
	}
	raw.Limit(&ic.allowance)
	if ic.s.cfg.ReusableSocket && ic.payload.UDX.ReusableSocket {
		p.routes.add(ic.keys.RemotePublicKey, raw)
	}
	c := ic.connect(raw, path)
	ic.leavePuncher(path == PathPunched)
	switch {
	case ic.relayPath != nil:
		ic.relayPath.keepAsFallback(c)
		c.cancel = ic.relayPath.close
	case ic.heldRelay != nil:
		ic.heldRelay(c)
	}
}

// connect creates the connection and delivers it to the application.
func (ic *incoming) connect(raw *stream.Stream, path Path) *Connection {
	c := ic.s.p.newConnection(ic.attemptTrace, ic.s.cfg.Keys.Public, ic.keys.RemotePublicKey, responder)
	c.unproven = ic.s.cfg.KeepLimited
	c.deliverLater(ic.s.cfg.OnConnection)
	c.caller = ic
	ic.accepted = c
	ic.opening.begin(ic.s.p.account, openingTable, openingWaiting, func(openingState) { ic.accepted.Destroy(ErrUnopened) })
	c.start(raw, *ic.keys, path)
	if path == PathRelayed {
		ic.conn = c
		c.cancel = ic.connectionClosed
	}
	return c
}

// connectionOpened records that the caller has proven itself.
func (ic *incoming) connectionOpened() {
	ic.opening.become(openingOver)
	ic.tokens.give()
	if ic.settled() {
		ic.s.p.intake.release(ic)
	} else {
		ic.s.p.intake.answered(ic) // it counts until no better path than the relay's is looked for
	}
}

// connectionOver stops counting a caller whose connection has ended, and releases everything that retransmissions of its
// handshake do not need: in a flood, these are most of the memory of a node.
func (ic *incoming) connectionOver() {
	if !ic.opening.over() {
		ic.opening.become(openingOver)
	}
	ic.accepted, ic.conn, ic.relayPath, ic.box = nil, nil, nil, nil
	if ic.settled() {
		ic.s.p.intake.release(ic)
	}
	if ic.in(incomingRemembered) && ic.s.p.host.Now().Sub(ic.since) >= sessionClearWait {
		ic.s.forget(ic)
	}
}

// connectionClosed is called at the end of a connection that was made over a relay.
func (ic *incoming) connectionClosed() {
	ic.raw = nil
	ic.endPuncher()
	if ic.relayPath != nil {
		ic.relayPath.close()
	}
	ic.settle()
}
