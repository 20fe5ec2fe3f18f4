package peering

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// ConnectOptions are a caller's wishes; the zero value is right for most.
type ConnectOptions struct {
	// Keys is who we are to the server; nil means the node's default key pair.
	Keys *id.KeyPair
	// RelayAddrs are nodes the server is thought to have announced to.
	RelayAddrs []netip.AddrPort
	// NoLocal keeps our own addresses from the server and does not try its.
	NoLocal bool
	// ReusableSocket offers the server to dial again over the same socket, and tries a stored one first.
	ReusableSocket bool
	// RelayThrough are blind relays, one of which carries the connection while there is no direct path.
	RelayThrough []id.PublicKey
	// SlowOpen leaves out the low-TTL datagram that opens our NAT before the first hole-punch message.
	SlowOpen bool
}

// connector finds a path to a server for one Connection (hyperdht lib/connect.js).
type connector struct {
	p      *Peering
	conn   *Connection
	opts   ConnectOptions
	keys   id.KeyPair
	remote id.PublicKey
	target id.Target

	session *rpc.Session
	noise   *noise.Handshake
	message []byte // message 1, the same for all attempts
	open    bool   // we told the server that we are reachable
	raw     *stream.Stream

	// finding
	relays     []netip.AddrPort // known or guessed before the query
	tried      []netip.AddrPort
	candidates []netip.AddrPort
	slots      int // attempts that may still start
	running    int
	query      *rpc.Query
	passes     int // left after the current one
	queried    bool
	answered   bool // by any DHT node
	attempts   int

	// after a handshake
	shaken      bool
	result      noise.Result
	payload     wire.NoisePayload
	relay       netip.AddrPort
	serverAddr  netip.AddrPort
	clientAddr  netip.AddrPort
	early       *way // of a stream packet that came before the handshake's answer
	relayPath   *relayPath
	relayToken  [32]byte
	relayKey    id.PublicKey // our choice; zero for none
	failure     error        // why no more ways are looked for, while those that were found may still do it
	race        race
	reserve     host.Timer // until the relay is joined because no direct way has been proven
	unproven    []way      // direct ways of a relayed connection that are being validated
	validating  host.Timer
	validations int // since the last of them was found
	box         *wire.PunchBox
	puncher     *puncher
	round       uint64
	reserved    bool  // holds the node's budget for random punching while the server is asked
	lanPending  int   // pings under way
	lanFailure  error // why punching failed while they were
	passive     host.Timer
	pause       host.Timer

	finished bool
}

// Connect starts connecting to a key. The connection reports by its handlers, never from within this call.
func (p *Peering) Connect(remote id.PublicKey, opts ConnectOptions) *Connection {
	keys := p.cfg.Keys
	if opts.Keys != nil {
		keys = *opts.Keys
	}
	conn := p.newConnection(p.newTrail(remote), keys.Public, remote, true)
	if p.closed || p.suspended {
		err := ErrSuspended
		if p.closed {
			err = ErrClosed
		}
		conn.close(err)
		return conn
	}
	c := &connector{
		p: p, conn: conn, opts: opts, keys: keys, remote: remote, target: remote.Target(),
		session: p.rpc.NewSession(),
		noise:   noise.NewInitiator(keys, remote, p.host.Rand()),
	}
	c.raw = p.streams.New(c.firewall)
	c.raw.Confine(nil)
	c.raw.OnClose(func(err error) {
		if c.raw != nil && err != nil {
			c.fail(err)
		}
	})
	conn.cancel = c.stop
	p.host.Defer(func() { p.rpc.WhenBootstrapped(c.begin) }) // before, it does not know what NAT it has
	return conn
}

func (c *connector) note(e AttemptEvent) { c.conn.trail.note(e) }

// firewall sees the packets of the raw stream before it is connected: the server's first one is a path.
func (c *connector) firewall(sock host.Socket, from netip.AddrPort) bool {
	if from.Port() == 0 {
		return false
	}
	if c.relayPath != nil && !c.relayPath.observe(sock, from) {
		return true
	}
	w := way{sock, from, c.pathOf(sock, from)}
	switch {
	case c.race.state == raceOver:
		c.upgrade(w)
	case c.race.state == raceRacing: // what it brings decrypts, or does not
	case c.shaken:
		c.found(w)
	case c.early == nil:
		c.early = &w
	}
	return true
}

// begin tries the stored route, then the known relays, then a query.
func (c *connector) begin() {
	if c.finished {
		return
	}
	c.note(AttemptEvent{Step: AttemptStarted})
	if err := c.prepare(); err != nil {
		c.fail(err)
		return
	}
	if r, ok := c.p.routes[c.remote]; ok && c.opts.ReusableSocket {
		c.attempt(r.addr, r.sock, func() {
			if !c.finished && !c.shaken {
				delete(c.p.routes, c.remote)
				c.find()
			}
		})
		return
	}
	c.find()
}

// prepare writes message 1 with what the server has to know of us.
func (c *connector) prepare() error {
	m := wire.NoisePayload{
		Version:      1,
		UDX:          &wire.UDXInfo{ReusableSocket: c.opts.ReusableSocket, ID: c.raw.ID()},
		SecretStream: &wire.SecretStreamInfo{},
	}
	if addr, ok := c.p.rpc.RemoteAddr(); ok {
		c.open = true
		m.Firewall = wire.FirewallOpen
		m.Addrs4 = append(m.Addrs4, addr)
	}
	if !c.opts.NoLocal {
		m.Addrs4 = append(m.Addrs4, c.p.localAddrs()...)
	}
	if len(c.opts.RelayThrough) > 0 {
		c.relayKey = c.p.pickRelay(c.opts.RelayThrough)
		c.relayToken = c.p.newRelayToken()
		m.RelayThrough = &wire.RelayThrough{Key: c.relayKey, Token: c.relayToken}
	}
	msg, err := c.noise.WriteMessage(m.Append(nil))
	c.message = msg
	return err
}

// find starts up to two handshakes at a time through nodes that know the server, one more for the relays
// that are known before.
func (c *connector) find() {
	c.relays = slices.Clone(c.opts.RelayAddrs)
	if len(c.relays) == 0 {
		c.relays = slices.Clone(c.p.relayCache.get(c.remote))
	}
	if e, ok := c.p.store.Get(c.target); ok && e.Relay.IsValid() {
		c.relays = []netip.AddrPort{e.Relay} // it announced to this very node
	}
	c.slots = connectParallel
	if len(c.relays) > 0 {
		c.passes = 1
		c.running++
		c.tryRelays(c.relays)
	}
	c.ask(c.relays)
}

// tryRelays tries known relays one after the other; the first failing one ends the row.
func (c *connector) tryRelays(left []netip.AddrPort) {
	if len(left) == 0 || c.finished || c.shaken {
		c.running--
		c.next()
		return
	}
	c.tried = append(c.tried, left[0])
	c.attemptThen(left[0], func(ok bool) {
		if !ok {
			left = left[:1]
		}
		c.tryRelays(left[1:])
	})
}

// ask runs a FIND_PEER query, seeded with nodes if there are any.
func (c *connector) ask(seeds []netip.AddrPort) {
	known := seeds
	c.queried = false
	var q *rpc.Query
	q = c.p.rpc.Query(rpc.QueryConfig{
		Target: c.target, Command: wire.CmdFindPeer, Nodes: seeds, Retries: connectQueryRetries, Session: c.session,
		NearestFirst: true, Enough: c.enough,
		OnReply: func(r *rpc.Reply) {
			if _, err := wire.ParsePeer(r.Value); r.Value == nil || err != nil {
				return
			}
			c.note(AttemptEvent{Step: AttemptRecord, Node: r.From})
			if !slices.Contains(known, r.From) && len(c.candidates) < maxCandidates {
				c.candidates = append(c.candidates, r.From)
				c.next()
			}
		},
		OnDone: func(err error) {
			c.query = nil
			c.queried = true
			c.answered = c.answered || q.Answers() > 0
			if c.shaken {
				return // and so the query was ended
			}
			c.note(AttemptEvent{Step: AttemptSearched, Err: err})
			if err != nil && c.attempts == 0 && c.running == 0 && c.passes == 0 {
				c.fail(err)
				return
			}
			c.next()
		},
	})
	c.query = q
}

// enough reports whether one more relay waits while as many handshakes are under way as may be. Looking for further ones
// would take most of the requests of a dial, of which a scraper makes thousands when it starts.
func (c *connector) enough() bool { return c.slots == 0 && len(c.candidates) > 0 }

// next starts waiting attempts while there are slots, and moves on when nothing is left to wait for.
func (c *connector) next() {
	if c.finished || c.shaken {
		return
	}
	for c.slots > 0 && len(c.candidates) > 0 {
		node := c.candidates[0]
		c.candidates = c.candidates[1:]
		c.tried = append(c.tried, node)
		c.attempts++
		c.slots--
		c.running++
		c.attemptThen(node, func(bool) {
			c.slots++
			c.running--
			c.next()
		})
	}
	if c.query != nil && !c.enough() {
		rpc.Continue(c.query)
	}
	if !c.queried || len(c.candidates) > 0 {
		return
	}
	switch {
	case c.running > 0 && (c.attempts > 0 || c.passes == 0):
		// wait for them
	case c.passes > 0:
		c.passes--
		c.ask(nil)
	case c.attempts > 0:
		c.fail(ErrPeerConnectionFailed)
	case c.answered:
		c.fail(ErrPeerNotFound)
	default:
		c.fail(c.p.noNode())
	}
}

// noNode says why no DHT node answers.
func (p *Peering) noNode() error {
	switch {
	case p.rpc.Alone():
		return ErrPeerNotFound // a network of this node alone, which does not know the key
	case len(p.host.Addrs()) == 0:
		return ErrNoIPv4
	}
	return ErrNoDHTNode
}

func (c *connector) attemptThen(node netip.AddrPort, done func(ok bool)) {
	c.attempt(node, nil, func() { done(c.shaken) })
}

// attempt sends message 1 through a node, from the main socket unless another one is given. done runs when
// the attempt has failed or has become the connection's handshake.
func (c *connector) attempt(node netip.AddrPort, sock host.Socket, done func()) {
	req := wire.Handshake{Mode: wire.FromClient, Noise: c.message}
	c.note(AttemptEvent{Step: AttemptHandshake, Node: node})
	c.p.rpc.Request(rpc.Outgoing{
		To: node, Command: wire.CmdPeerHandshake, Target: &c.target, Value: req.Append(nil),
		Socket: sock, Follows: true, Session: c.session,
	}, func(r rpc.Reply, err error) {
		if !c.finished && !c.shaken {
			if err == nil {
				err = c.receiveHandshake(node, sock, r)
			}
			if err != nil {
				c.note(AttemptEvent{Step: AttemptUnanswered, Node: node, Err: err})
			}
		}
		done()
	})
}

// receiveHandshake takes an answer to message 1. A bad one only fails its attempt, with an error: the Noise
// state stays good for the others, so a lying relay cannot stop a connection.
func (c *connector) receiveHandshake(node netip.AddrPort, sock host.Socket, r rpc.Reply) error {
	m, err := wire.ParseHandshake(r.Value)
	if err != nil || m.Mode != wire.Reply || r.From != node || len(m.Noise) == 0 {
		c.p.stats.HandshakesInvalid++
		return ErrBadHandshakeReply
	}
	plain, err := c.noise.ReadMessage(m.Noise)
	if err != nil {
		c.p.stats.HandshakesInvalid++
		return ErrBadHandshakeReply
	}
	payload, err := wire.ParseNoisePayload(plain)
	switch {
	case err != nil || payload.Version != 1 || payload.Error == wire.ErrorVersionMismatch:
		c.fail(ErrServerIncompatible)
		return nil
	case payload.Error != wire.ErrorNone || payload.UDX == nil:
		c.fail(ErrServerError)
		return nil
	}
	c.result, _ = c.noise.Result()
	c.raw.GuessRTT(r.RTT) // the way over the relay, and so an upper bound; with repetitions a loose one
	c.shaken, c.conn.answered = true, true
	c.payload = payload
	c.relay, c.serverAddr, c.clientAddr = node, node, r.To
	relayed := m.PeerAddr.IsValid()
	if relayed {
		c.serverAddr = m.PeerAddr
	}
	c.note(AttemptEvent{Step: AttemptAnswered, Node: node, Addr: c.serverAddr, Seen: r.To, Theirs: kindOf(payload.Firewall)})
	c.endQuery()
	c.race = race{conn: c.conn, raw: c.raw, remoteID: payload.UDX.ID}
	c.conn.onProof = c.proven
	// The other attempts are not needed any more. Their callbacks run, and find the handshake done.
	c.session.Cancel()
	c.session = c.p.rpc.NewSession()
	switch {
	case c.early != nil:
		c.relayLater()
		c.early.path = c.pathOf(c.early.sock, c.early.to) // of which more is known now
		c.found(*c.early)
	case !relayed:
		if sock == nil {
			sock = c.p.rpc.Socket()
		}
		c.relayLater()
		c.found(way{sock, node, PathDirect})
	default:
		c.findPath()
	}
	return nil
}

// findPath chooses how to reach a server that answered through a relay (spec 14.4).
func (c *connector) findPath() {
	relayed := c.serverAddr != c.relay
	punchable := c.payload.Holepunch != nil && len(c.payload.Holepunch.Relays) > 0
	if c.payload.Firewall == wire.FirewallOpen || (relayed && !punchable) {
		c.p.stats.PunchesOpen++
		c.relayLater()
		c.found(way{c.p.rpc.Socket(), c.publicAddr(), PathDirect})
		return
	}
	c.startRelay()
	if c.open {
		c.note(AttemptEvent{Step: AttemptWaiting})
		c.passive = c.p.host.AfterFunc(passiveTimeout, func() {
			c.passive = nil
			c.fail(ErrHolepunchAborted)
		})
		return
	}
	trying := c.tryLAN(relayed, punchable)
	switch {
	case punchable:
		c.startPunch()
	case !trying:
		c.fail(ErrCannotHolepunch)
	}
}

// publicAddr is the server's first public address, or where the relay sees it.
func (c *connector) publicAddr() netip.AddrPort {
	for _, a := range c.payload.Addrs4[:min(len(c.payload.Addrs4), maxAddrs)] {
		if !kad.IsBogon(a.Addr()) {
			return a
		}
	}
	return c.serverAddr
}

// tryLAN pings private addresses of the server if both sides have the same public address. An answer may come from another
// host with that address, so that it adds a way and ends nothing. Addresses of this host are skipped: container bridges
// have the same address on every host.
func (c *connector) tryLAN(relayed, punchable bool) bool {
	if c.opts.NoLocal || !relayed || c.clientAddr.Addr() != c.serverAddr.Addr() {
		return false
	}
	local := c.p.localAddrs()
	var usable []netip.AddrPort
	for _, a := range c.payload.Addrs4[:min(len(c.payload.Addrs4), maxAddrs)] {
		own := slices.ContainsFunc(local, func(l netip.AddrPort) bool { return l.Addr() == a.Addr() })
		if !kad.IsReserved(a.Addr()) && !own && !slices.Contains(usable, a) {
			usable = append(usable, a)
		}
	}
	if near, ok := kad.MatchLAN(local, usable); ok {
		usable = slices.Insert(slices.DeleteFunc(usable, func(a netip.AddrPort) bool { return a == near }), 0, near)
	}
	usable = usable[:min(len(usable), maxLANTries)]
	c.lanPending = len(usable)
	for _, addr := range usable {
		c.pingLAN(addr, punchable)
	}
	return len(usable) > 0
}

func (c *connector) pingLAN(addr netip.AddrPort, punchable bool) {
	c.note(AttemptEvent{Step: AttemptLAN, Addr: addr})
	c.p.rpc.Ping(addr, nil, c.session, func(_ rpc.Reply, err error) {
		c.lanPending--
		switch {
		case c.finished:
			return
		case err == nil:
			c.found(way{c.p.rpc.ServerSocket(), addr, PathLAN})
		default:
			c.note(AttemptEvent{Step: AttemptLANFailed, Addr: addr, Err: err})
		}
		switch {
		case c.finished || c.lanPending > 0:
		case c.lanFailure != nil:
			c.fail(c.lanFailure)
		case !punchable:
			c.fail(ErrHolepunchAborted)
		default:
			c.race.search(c.searching())
		}
	})
}

// relayLater joins the relay after relayReserve, unless a direct way is validated before.
func (c *connector) relayLater() {
	if c.relayKey != (id.PublicKey{}) || c.payload.RelayThrough != nil {
		c.reserve = c.p.host.AfterFunc(relayReserve, func() {
			c.reserve = nil
			c.startRelay()
			c.race.search(c.searching())
		})
	}
}

// startRelay joins the server's relay, or ours if it has none.
func (c *connector) startRelay() {
	join := relayPath{trail: c.conn.trail, raw: c.raw, token: c.relayToken, initiator: true, onPaired: c.relayPaired, onAbort: c.relayAborted}
	key := c.relayKey
	if r := c.payload.RelayThrough; r != nil {
		key, join.token, join.initiator = r.Key, r.Token, false
	}
	if key != (id.PublicKey{}) {
		c.relayPath = c.p.joinRelay(key, join)
	}
}

// relayPaired starts the connection over the relay, unless it has started on a direct way: then the relay joins the race.
func (c *connector) relayPaired() {
	c.note(AttemptEvent{Step: AttemptRelayPaired})
	if c.race.state == raceWaiting {
		c.race.state = raceRacing
		c.conn.start(c.raw, c.result, PathRelayed)
	}
	c.race.search(c.searching())
}

func (c *connector) relayAborted(err error) {
	c.note(AttemptEvent{Step: AttemptRelayFailed, Err: err})
	c.relayPath = nil
	switch {
	case c.race.leave():
		c.race.search(c.searching())
	case c.conn.started:
		c.conn.close(err) // the relay has left us before there was a direct path
	case c.failure != nil:
		c.fail(c.failure)
	case !c.searching():
		c.fail(err)
	}
}

// searching reports whether more ways may show up.
func (c *connector) searching() bool {
	return c.puncher != nil && !c.puncher.over() || c.passive != nil || c.lanPending > 0 || c.reserve != nil ||
		c.relayPath != nil && c.relayPath.in(relayJoining)
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

// found adds a direct way that is not validated yet.
func (c *connector) found(w way) {
	if c.raw == nil || c.finished {
		return
	}
	switch c.race.state {
	case raceWaiting:
		if err := c.race.begin(w, c.result); err != nil {
			c.conn.close(err)
			return
		}
	case raceRacing:
		c.race.join(w)
	case raceOver: // over the relay
		if !slices.Contains(c.unproven, w) && len(c.unproven) < maxDirectWays {
			c.unproven, c.validations = append(c.unproven, w), 0
			c.validate()
		}
		return
	}
	c.race.search(c.searching())
}

// validate sends heartbeats on the direct ways of a relayed connection. The connection moves when a packet comes back.
func (c *connector) validate() {
	if c.validating != nil {
		c.validating.Stop()
	}
	for _, w := range c.unproven {
		c.raw.SendHeartbeat(stream.Way{Socket: w.sock, RemoteID: c.payload.UDX.ID, Remote: w.to})
	}
	if c.validations++; c.validations < maxValidations {
		c.validating = c.p.host.AfterFunc(validateInterval, c.validate)
	}
}

// proven selects the way on which the first packet arrived that decrypts.
func (c *connector) proven() {
	via := c.raw.Via()
	if rp := c.relayPath; rp != nil && rp.in(relayPaired) && rp.carries(via.Socket, via.Remote) {
		c.race.end(way{via.Socket, via.Remote, PathRelayed}, rp.remoteID)
		if c.unproven = c.race.ways; len(c.unproven) > 0 { // they may only be slower than the relay
			c.validate()
		}
		return
	}
	won := c.race.win(c.pathOf)
	raw := c.raw
	c.raw = nil
	switch {
	case won.path == PathLAN:
		c.p.stats.PathsLAN++
	case won.path == PathPunched && c.puncher != nil:
		c.puncher.win()
	}
	switch {
	case len(c.payload.RelayAddrs) > 0:
		c.p.relayCache.put(c.remote, c.payload.RelayAddrs)
	case len(c.tried) > 0:
		c.p.relayCache.put(c.remote, c.tried)
	}
	if c.opts.ReusableSocket && c.payload.UDX.ReusableSocket {
		c.p.addRoute(c.remote, raw)
	}
	c.conn.cancel = nil
	if c.relayPath != nil {
		c.relayPath.standBy(c.conn)
		c.relayPath = nil
	}
	c.stop()
}

// upgrade moves a relayed connection to a direct way on which a packet arrived.
func (c *connector) upgrade(w way) {
	if c.raw == nil || c.finished || c.relayPath == nil {
		return
	}
	c.raw = nil
	c.relayPath.upgrade(c.conn, w.sock, c.payload.UDX.ID, w.to, w.path)
	if w.path == PathPunched && c.puncher != nil {
		c.puncher.win()
	}
	c.stopSearch()
}

// fail ends the search for ways. It closes the connection unless a way that was found, or a relay, may still carry it.
func (c *connector) fail(err error) {
	switch {
	case c.finished:
	case c.race.state == raceRacing, c.relayPath != nil:
		c.failure = err
		c.race.search(c.searching())
	default:
		c.conn.close(err)
	}
}

// stop ends all that this connector has going on.
func (c *connector) stop() {
	if c.finished {
		return
	}
	c.finished = true
	c.stopSearch()
	if c.relayPath != nil {
		c.relayPath.close()
	}
	if c.raw != nil {
		raw := c.raw
		c.raw = nil
		raw.Destroy(nil)
	}
}

// stopSearch ends the search for a path.
func (c *connector) stopSearch() {
	if c.puncher != nil {
		c.puncher.close()
	}
	for _, t := range []host.Timer{c.passive, c.pause, c.reserve, c.validating} {
		if t != nil {
			t.Stop()
		}
	}
	c.endQuery()
	c.session.Cancel()
}

func (c *connector) endQuery() {
	if c.query != nil {
		c.query.Destroy()
		c.query = nil
	}
}
