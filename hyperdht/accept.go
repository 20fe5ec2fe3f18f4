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
func (h *incoming) firewall(sock host.Socket, from netip.AddrPort) bool {
	if from.Port() == 0 || h.paths == RelayOnly && !h.carries(sock, from) {
		return false
	}
	if h.carries(sock, from) {
		return true
	}
	if h.raw != nil && h.conn == nil && !h.raw.First() {
		return false // it comes again
	}
	path := PathDirect
	switch {
	case h.s.p.pool.sockets[sock] != nil:
		path = PathPunched
	case kad.IsPrivate(from.Addr()) && from.Addr() != h.clientAddr.Addr():
		path = PathLAN
	}
	if h.proven(from.Addr()) {
		h.allowance.Validate()
	}
	h.onSocket(sock, from, path)
	return true
}

// startRelay joins our relay, or the caller's if we have none.
func (h *incoming) startRelay() {
	if key, join := h.relayOffer(); key != (id.PublicKey{}) {
		join.onPaired, join.onAbort = h.relayPaired, h.relayAborted
		h.relayPath = h.s.p.joinRelay(key, join)
	}
}

// relayOffer returns the key of the relay, zero for none, and our part in the pairing.
func (h *incoming) relayOffer() (relay id.PublicKey, join relayPath) {
	if h.paths == DirectOnly {
		return relay, join
	}
	if r := h.payload.RelayThrough; r != nil && h.relayKey == (id.PublicKey{}) {
		return r.Key, relayPath{attemptTrace: h.attemptTrace, raw: h.raw, token: r.Token}
	}
	return h.relayKey, relayPath{attemptTrace: h.attemptTrace, raw: h.raw, token: h.relayToken, initiator: true}
}

// reserveRelay joins the relay, too, if a caller that holds itself for open has not answered soon. It may be open for
// others only. The relay races the way that the connection is on.
func (h *incoming) reserveRelay(c *Connection, relay id.PublicKey, join relayPath, remoteID uint32) {
	r := race{conn: c, raw: join.raw, remoteID: remoteID}
	join.onPaired = func() { h.attemptTrace.note(AttemptEvent{Step: AttemptRelayPaired}) }
	join.onAbort = func(err error) {
		h.attemptTrace.note(AttemptEvent{Step: AttemptRelayFailed, Err: err})
		h.relayPath = nil
		if c.path == PathRelayed {
			c.close(err)
		}
	}
	rp := h.s.p.reserveRelay(relay, join)
	h.relayPath = rp
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
func (h *incoming) mayJoinRelay() bool {
	relay, _ := h.relayOffer()
	return h.eager || relay == h.relayKey || h.s.p.linked(relay)
}

// holdRelay leaves the relay until the caller has proven itself on a direct path. It is kept in reserve then.
func (h *incoming) holdRelay() {
	relay, join := h.relayOffer()
	h.heldRelay = func(c *Connection) {
		c.onProof = func() {
			rp := h.s.p.reserveRelay(relay, join)
			h.relayPath, c.cancel = rp, rp.close
			rp.keepAsFallback(c)
		}
	}
}

func (h *incoming) relayPaired() {
	h.attemptTrace.note(AttemptEvent{Step: AttemptRelayPaired})
	h.connect(h.raw, PathRelayed)
	switch {
	case h.in(incomingJoining), h.paths == RelayOnly: // no better path is looked for
		h.settle()
	case h.in(incomingWaiting, incomingBusy):
		h.become(incomingRelayed)
	}
}

func (h *incoming) relayAborted(err error) {
	h.attemptTrace.note(AttemptEvent{Step: AttemptRelayFailed, Err: err})
	h.relayPath = nil
	switch {
	case h.conn != nil:
		h.conn.close(err)
	case h.in(incomingJoining):
		h.raw.Destroy(nil)
	case h.in(incomingBusy): // the caller gives up as well, and keeps its place in the queue
		h.s.p.punchQueue.keep(h)
		h.puncher.fail()
	}
}

// onSocket takes a direct path; only the first call counts.
func (h *incoming) onSocket(sock host.Socket, from netip.AddrPort, path Path) {
	if h.raw == nil {
		return
	}
	p := h.s.p
	raw := h.raw
	h.raw = nil
	defer h.settle()
	if h.conn != nil { // over the relay
		h.relayPath.upgrade(h.conn, sock, h.payload.UDX.ID, from, path)
		if raw.RemoteAddr() == from {
			h.allowance.Receive(min(int(raw.Stats().BytesReceived), maxMigrationCredit))
			raw.Limit(&h.allowance)
		}
		h.leavePuncher(path == PathPunched)
		return
	}
	if err := raw.Connect(sock, h.payload.UDX.ID, from); err != nil {
		raw.Destroy(nil)
		h.leavePuncher(path == PathPunched)
		return
	}
	raw.Limit(&h.allowance)
	if h.s.cfg.ReusableSocket && h.payload.UDX.ReusableSocket {
		p.routes.add(h.keys.RemotePublicKey, raw)
	}
	c := h.connect(raw, path)
	h.leavePuncher(path == PathPunched)
	switch {
	case h.relayPath != nil:
		h.relayPath.keepAsFallback(c)
		c.cancel = h.relayPath.close
	case h.heldRelay != nil:
		h.heldRelay(c)
	}
}

// connect creates the connection and delivers it to the application.
func (h *incoming) connect(raw *stream.Stream, path Path) *Connection {
	c := h.s.p.newConnection(h.attemptTrace, h.s.cfg.Keys.Public, h.keys.RemotePublicKey, false)
	c.unproven = h.s.cfg.KeepLimited
	c.deliverLater(h.s.cfg.OnConnection)
	c.caller = h
	h.accepted = c
	h.opening.begin(h.s.p.account, openingTable, openingWaiting, func(openingState) { h.accepted.Destroy(ErrUnopened) })
	c.start(raw, *h.keys, path)
	if path == PathRelayed {
		h.conn = c
		c.cancel = h.connectionClosed
	}
	return c
}

// connectionOpened records that the caller has proven itself.
func (h *incoming) connectionOpened() {
	h.opening.become(openingOver)
	h.tokens.give()
	if h.settled() {
		h.s.p.intake.release(h)
	} else {
		h.s.p.intake.answered(h) // it counts until no better path than the relay's is looked for
	}
}

// connectionOver stops counting a caller whose connection has ended, and releases everything that retransmissions of its
// handshake do not need: in a flood, ten seconds of these are most of the memory of a node.
func (h *incoming) connectionOver() {
	if !h.opening.over() {
		h.opening.become(openingOver)
	}
	h.accepted, h.conn, h.relayPath, h.box = nil, nil, nil, nil
	if h.settled() {
		h.s.p.intake.release(h)
	}
}

// connectionClosed is called at the end of a connection that was made over a relay.
func (h *incoming) connectionClosed() {
	h.raw = nil
	h.endPuncher()
	if h.relayPath != nil {
		h.relayPath.close()
	}
	h.settle()
}
