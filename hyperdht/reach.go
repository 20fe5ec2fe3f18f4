package hyperdht

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/ports/host"
)

// A dial's paths, once the server has answered.

// firewall sees the packets of the raw stream before it is connected: the server's first one is a path.
func (c *connector) firewall(sock host.Socket, from netip.AddrPort) bool {
	if from.Port() == 0 || c.opts.Paths == RelayOnly && (c.relayPath == nil || !c.relayPath.carries(sock, from)) {
		return false
	}
	if c.relayPath != nil && c.relayPath.carries(sock, from) {
		return true
	}
	w := way{sock, from, c.pathOf(sock, from)}
	switch {
	case c.in(dialRelayed, dialCarried):
		c.upgrade(w)
	case c.in(dialRacing, dialOver): // what it brings decrypts, or does not
	case c.in(dialSearching, dialPassive):
		if !c.raw.First() {
			return false // it comes again
		}
		c.answeredOn(w)
	case c.early == nil:
		c.early = &w
	}
	return true
}

// findPath chooses how to reach a server that answered through a relay (spec 14.4).
func (c *connector) findPath() {
	ways := c.conn.ways
	if c.opts.Paths == RelayOnly {
		ways.leave(WayExcluded, PathLAN, PathDirect, PathPunched)
		if c.startRelay(); c.relayPath == nil {
			c.fail(ErrNoRelay)
		}
		return
	}
	relayed, punchable := c.relayed(), c.punchable()
	if c.isOpen() || (relayed && !punchable) {
		c.p.stats.PunchesOpen++
		ways.leave(WayUnneeded, PathLAN, PathPunched)
		if c.isOpen() {
			c.relayLater()
		} else {
			c.startRelay() // the server offers nothing else
		}
		c.found(way{c.p.rpc.Socket(), c.publicAddr(), PathDirect})
		return
	}
	c.startRelay()
	if c.public {
		ways.try(PathDirect, netip.AddrPort{})
		ways.leave(WayUnneeded, PathLAN, PathPunched)
		c.note(AttemptEvent{Step: AttemptWaiting})
		c.become(dialPassive)
		return
	}
	trying := c.tryLAN(relayed, punchable)
	ways.leave(WayUnavailable, PathLAN, PathDirect)
	switch {
	case punchable:
		ways.try(PathPunched, netip.AddrPort{})
		c.startPunch()
	case !trying:
		ways.leave(WayUnavailable, PathPunched)
		c.fail(ErrCannotHolepunch)
	default:
		ways.leave(WayUnavailable, PathPunched)
	}
}

// tryLAN pings private addresses of the server if both sides have the same public address. An answer may come from another
// host with that address, so it only adds a way.
func (c *connector) tryLAN(relayed, punchable bool) bool {
	if c.opts.NoLocal {
		c.conn.ways.leave(WayExcluded, PathLAN)
	}
	if c.opts.NoLocal || !relayed || !c.behindOneAddress() {
		return false
	}
	local := c.p.localAddrs()
	usable := c.lanAddrs(local)
	if near, ok := kad.MatchLAN(local, usable); ok {
		usable = slices.Insert(slices.DeleteFunc(usable, func(a netip.AddrPort) bool { return a == near }), 0, near)
	}
	usable = usable[:min(len(usable), maxLANTries)]
	c.lan.pending = len(usable)
	for _, addr := range usable {
		c.pingLAN(addr, punchable)
	}
	return len(usable) > 0
}

func (c *connector) pingLAN(addr netip.AddrPort, punchable bool) {
	c.note(AttemptEvent{Step: AttemptLAN, Addr: addr})
	c.conn.ways.try(PathLAN, addr)
	c.p.rpc.Ping(addr, nil, c.group, func(_ rpc.Reply, err error) {
		c.lan.pending--
		switch {
		case c.over():
			return
		case err == nil:
			c.answeredOn(way{c.p.rpc.ServerSocket(), addr, PathLAN})
		default:
			c.conn.ways.fail(PathLAN, addr, nil)
			c.note(AttemptEvent{Step: AttemptLANFailed, Addr: addr, Err: err})
		}
		switch {
		case c.over() || c.lan.running():
		case c.lan.failure != nil:
			c.fail(c.lan.failure)
		case !punchable:
			c.fail(ErrHolepunchAborted)
		default:
			c.persist()
		}
	})
}

// relayLater joins the relay after relayReserve, unless a direct way is validated before.
func (c *connector) relayLater() {
	if key, part := c.relayPart(); key != (id.PublicKey{}) {
		c.conn.ways.leave(WayUnneeded, PathRelayed) // until it is joined
		c.relayPath = c.p.reserveRelay(key, part)
	}
}

// startRelay joins the relay now.
func (c *connector) startRelay() {
	if key, part := c.relayPart(); key != (id.PublicKey{}) {
		c.relayPath = c.p.joinRelay(key, part)
	}
}

// relayPart returns the relay that the server names, or the one of this side if it names none, zero for none, and our part in the
// pairing.
func (c *connector) relayPart() (relay id.PublicKey, part relayPath) {
	if c.opts.Paths == DirectOnly {
		c.conn.ways.leave(WayExcluded, PathRelayed)
		return relay, part
	}
	part = relayPath{
		attemptTrace: c.conn.attemptTrace, raw: c.raw, token: c.relayToken, initiator: true, onPaired: c.relayPaired, onAbort: c.relayAborted,
		onJoin: func() { c.conn.ways.try(PathRelayed, netip.AddrPort{}) },
	}
	relay = c.relayKey
	if r := c.payload.RelayThrough; r != nil {
		relay, part.token, part.initiator = r.Key, r.Token, false
	}
	if relay == (id.PublicKey{}) {
		c.conn.ways.leave(WayUnavailable, PathRelayed)
	}
	return relay, part
}

// relayPaired starts the connection over the relay, unless it has started on a direct way: then the relay joins the race. A
// relay alone has the time that the peer takes to open the connection: it may have paired us with a leg of the peer that is dead.
func (c *connector) relayPaired() {
	c.note(AttemptEvent{Step: AttemptRelayPaired})
	c.conn.ways.answer(PathRelayed, c.relayPath.way().Remote)
	if c.in(dialSearching, dialPassive) {
		c.becomeFor(dialRacing, openTimeout)
		c.conn.start(c.raw, c.result, PathRelayed)
	}
	c.persist()
}

func (c *connector) relayAborted(err error) {
	c.note(AttemptEvent{Step: AttemptRelayFailed, Err: err})
	c.conn.ways.fail(PathRelayed, netip.AddrPort{}, err)
	c.relayPath = nil
	switch {
	case c.in(dialRacing) && c.race.leave():
		c.persist()
	case c.conn.started:
		c.conn.close(err) // the relay was lost before there was a direct path
	case c.punch != nil && c.punch.in(punchLater):
		c.punch.relayEnded(err)
	case c.failure != nil:
		c.fail(c.failure)
	case !c.searching():
		c.fail(err)
	}
}

// searching reports whether more ways may show up.
func (c *connector) searching() bool {
	return c.punch != nil && !c.punch.over() || c.in(dialPassive) || c.lan.running() ||
		c.relayPath != nil && c.relayPath.in(relayReserved, relayJoining)
}

// persist disables the retransmission limit of the stream while the search for more ways goes on.
func (c *connector) persist() {
	if c.in(dialRacing) {
		c.raw.SetPersistent(c.searching())
	}
}

// pathOf names the path on which a packet came in.
func (c *connector) pathOf(sock host.Socket, from netip.AddrPort) Path {
	switch {
	case c.p.pool.sockets[sock] != nil:
		return PathPunched
	case kad.IsPrivate(from.Addr()) && from.Addr() != c.serverAddr.Addr():
		return PathLAN
	}
	return PathDirect
}

// answeredOn adds a direct way on which a packet has arrived.
func (c *connector) answeredOn(w way) {
	c.conn.ways.answer(w.path, w.to)
	c.found(w)
}

// found adds a direct way that is not validated yet.
func (c *connector) found(w way) {
	switch c.state {
	case dialSearching, dialPassive:
		c.become(dialRacing)
		if err := c.race.begin(w, c.result); err != nil {
			c.conn.close(err)
			return
		}
	case dialRacing:
		c.race.join(w)
	case dialRelayed:
		c.heartbeats.add(w)
	}
	c.persist()
}

// proven selects the way on which the first packet arrived that decrypts.
func (c *connector) proven() {
	c.p.hints.acquit(c.remote, c.relay)
	if c.race.wonBy(c.relayPath) {
		c.become(dialRelayed)
		c.conn.ways.won(PathRelayed, c.raw.RemoteAddr())
		c.heartbeats = heartbeats{host: c.p.host, raw: c.raw, remoteID: c.payload.UDX.ID}
		c.heartbeats.add(c.race.ways...) // they may only be slower than the relay
		return
	}
	won := c.race.win(c.pathOf)
	c.endWays(won)
	raw := c.raw
	c.raw = nil
	switch {
	case won.path == PathLAN:
		c.p.stats.PathsLAN++
	case won.path == PathPunched && c.punch != nil:
		c.punch.u.win()
	}
	switch {
	case len(c.payload.RelayAddrs) > 0:
		c.p.hints.known.put(c.remote, c.payload.RelayAddrs)
	case len(c.tried) > 0:
		c.p.hints.known.put(c.remote, c.tried)
	}
	if c.opts.ReusableSocket && c.payload.UDX.ReusableSocket {
		c.p.routes.add(c.remote, raw)
	}
	c.conn.cancel = nil
	if c.relayPath != nil {
		c.relayPath.keepAsFallback(c.conn)
		c.conn.cancel = c.relayPath.close
		c.relayPath = nil
	}
	c.stop()
}

// endWays reports the ways, one of which carries the connection for good.
func (c *connector) endWays(won way) {
	c.conn.ways.won(won.path, won.to)
	c.conn.ways = nil
}

// upgrade moves a relayed connection to a direct way on which a packet arrived.
func (c *connector) upgrade(w way) {
	if c.relayPath == nil {
		return
	}
	c.raw = nil
	c.endWays(w)
	c.relayPath.upgrade(c.conn, w.sock, c.payload.UDX.ID, w.to, w.path)
	if w.path == PathPunched && c.punch != nil {
		c.punch.u.win()
	}
	c.conn.cancel = c.relayPath.close
	c.relayPath = nil
	c.stop()
}
