package peering

import (
	"net/netip"
	"slices"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/kad"
	"github.com/dhtprom/dhtprom/hyperdht/internal/noise"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/stream"
	"github.com/dhtprom/dhtprom/hyperdht/internal/udx"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/bound"
	"github.com/dhtprom/dhtprom/ports/host"
)

// session is a server's side of one connection attempt, from message 1 of the handshake until a path
// appears or 10 s after the attempt has failed (hyperdht lib/server.js, _addHandshake).
type session struct {
	s          *Server
	trail      trail
	id         int
	key        string // the bytes of message 1
	direct     bool   // the caller asked us without a relay in between
	arrival    host.Socket
	node       netip.AddrPort // through which message 1 came; invalid if directly
	clientAddr netip.AddrPort // the caller, as its relay sees it
	serverAddr netip.AddrPort // us, as the relay sees us

	origin     origin
	tokens     tokens
	arrived    host.Instant
	queued     *bound.Item[*session] // set once it waited to be read
	lined      *bound.Item[*session] // likewise, with its relay
	held       *bound.Item[*session] // set once it was admitted
	known      bool                  // the application knows its key
	eager      bool                  // our NAT is classified, and the relay joined, before it has proven anything
	relayLater bool                  // the relay is joined once it has
	answeredUs bool                  // it has proven to have our answer
	forgotten  bool                  // the server does not have it any more

	// allowance limits what the caller's datagrams make this node send, answers and packets of the stream alike: whoever sent
	// them may have forged their source, or invented the address that a relay would name.
	allowance udx.Allowance

	ready    bool // reply is final
	reply    []byte
	waiting  []func()
	payload  *wire.NoisePayload // what the caller said; nil before it is read, and once nothing can come of the attempt
	keys     *noise.Result      // likewise
	raw      *stream.Stream
	box      *wire.PunchBox
	puncher  *puncher
	viaPunch bool // the answer leaves from the puncher's socket, so that the caller learns its mapping
	requests *rpc.Session
	round    uint64

	accepted   *Connection // once there is a path
	opening    host.Timer  // ends accepted unless it opens
	conn       *Connection // accepted, if its first path was over a relay
	relayPath  *relayPath
	relayKey   id.PublicKey // our choice; zero for none
	relayToken [32]byte
	aborted    bool // no direct path will come

	settled  bool // connected or given up
	prepunch host.Timer
	clearing host.Timer
}

// answered calls f once the reply is known, or is known to be silence.
func (h *session) answered(f func()) {
	if h.ready {
		f()
		return
	}
	if len(h.waiting) < maxRelayedAnswers {
		h.waiting = append(h.waiting, f)
	}
}

// maxRelayedAnswers bounds the routes on which one message 1 may wait for its answer; callers use three.
const maxRelayedAnswers = 16

func (h *session) decide(reply []byte) {
	h.ready = true
	h.reply = reply
	waiting := h.waiting
	h.waiting = nil
	for _, f := range waiting {
		f()
	}
}

// send sends an answer, unless it exceeds the allowance.
func (h *session) send(s step, r *rpc.Request, sock host.Socket) {
	n := len(s.value) + messageOverhead
	if !h.allowance.Allows(n) {
		h.s.p.stats.AnswersWithheld++
		return
	}
	h.allowance.Send(n)
	h.s.p.perform(s, r, sock)
}

// proven reports whether a packet of the stream shows that the caller receives at the host where it came from: the stream's id
// was sent there through a relay that the server announced to, or the host has echoed a token of the punch.
func (h *session) proven(from netip.Addr) bool {
	if h.puncher != nil && h.puncher.isVerified(from) {
		return true
	}
	return h.clientAddr.Addr() == from && h.s.announcer.isRelay(h.node)
}

// replySocket is where the answer must leave from; nil is the socket that the request came in on.
func (h *session) replySocket() host.Socket {
	if h.viaPunch && h.puncher != nil && !h.puncher.over() {
		return h.puncher.socket()
	}
	return nil
}

// begin reads message 1, asks the firewall and, if both agree, prepares the answer.
func (h *session) begin() {
	p := h.s.p
	hs := noise.NewResponder(h.s.cfg.Keys, p.host.Rand())
	plain, err := hs.ReadMessage([]byte(h.key))
	if err != nil {
		p.stats.HandshakesInvalid++
		h.refuse()
		return
	}
	payload, err := wire.ParseNoisePayload(plain)
	if err != nil {
		p.stats.HandshakesInvalid++
		h.refuse()
		return
	}
	h.payload = &payload
	h.trail.key = hs.RemoteStatic()
	h.trail.note(AttemptEvent{Step: AttemptReceived, Node: h.node, Addr: h.clientAddr, Theirs: kindOf(payload.Firewall)})
	if admit := h.s.cfg.Admit; admit != nil && !admit(hs.RemoteStatic(), h.payload, h.clientAddr) {
		p.stats.HandshakesBlocked++
		h.refuse()
		return
	}
	if !p.intake.hold(h) {
		h.s.forget(h) // so that it may come again
		return
	}
	if h.s.cfg.HideLocalAddrs {
		h.answer(hs, nil)
		return
	}
	p.local.validated(func(local []netip.AddrPort) {
		switch {
		case h.forgotten:
		case h.s.quiet():
			h.refuse()
		default:
			h.answer(hs, local)
		}
	})
}

// refuse answers with silence, to retransmissions too for as long as there is room to remember them.
func (h *session) refuse() {
	h.trail.note(AttemptEvent{Step: AttemptRefused, Node: h.node, Addr: h.clientAddr})
	h.clearLater()
	h.decide(nil)
}

// answer writes message 2 and takes the way that the caller's and our situation allow.
func (h *session) answer(hs *noise.Handshake, local []netip.AddrPort) {
	p := h.s.p
	refusal := wire.ErrorNone
	switch {
	case h.payload.Version != 1:
		refusal = wire.ErrorVersionMismatch
	case h.payload.UDX == nil:
		refusal = wire.ErrorAborted
	}
	if refusal == wire.ErrorNone {
		h.raw = p.streams.New(h.firewall)
		h.raw.Confine(nil)
		h.raw.OnClose(func(error) { h.rawClosed() })
	}
	if relays := h.s.cfg.RelayThrough; len(relays) > 0 && refusal == wire.ErrorNone {
		h.relayKey = p.pickRelay(relays)
		h.relayToken = p.newRelayToken()
	}
	public, isOpen := p.rpc.RemoteAddr()
	reply, err := hs.WriteMessage(h.message2(refusal, public, isOpen, local))
	if err != nil {
		p.stats.HandshakesInvalid++
		h.refuse()
		return
	}
	keys, _ := hs.Result()
	h.keys = &keys
	defer h.decide(reply)
	if refusal != wire.ErrorNone {
		h.clearLater()
		return
	}

	if h.payload.Firewall == wire.FirewallOpen || h.direct {
		sock := p.rpc.Socket()
		if h.direct {
			sock = h.arrival
		}
		p.stats.PunchesOpen++
		relay, join := h.relayOffer()
		join.raw = h.raw
		h.onSocket(sock, h.clientAddr, PathDirect)
		if h.accepted != nil && !h.direct && relay != (id.PublicKey{}) {
			h.reserveRelay(h.accepted, relay, join)
		}
		return
	}
	if h.relayLater = !h.eager && !isOpen && !h.s.cfg.NeverPunch; !h.relayLater {
		h.startRelay()
	}
	switch {
	case h.onSameLAN(local):
		// The caller comes over the LAN or punches. The answer names our normal mapping, not the puncher's,
		// so that the caller sees that we share a public address.
		h.setupPuncher()
		h.prepunch = p.host.AfterFunc(prepunchTimeout, h.abort)
	case isOpen || h.s.cfg.NeverPunch:
		h.prepunch = p.host.AfterFunc(prepunchTimeout, h.abort)
	default:
		h.viaPunch = h.setupPuncher()
		h.prepunch = p.host.AfterFunc(prepunchTimeout, func() {
			if h.puncher != nil {
				h.puncher.fail()
			} else {
				h.abort()
			}
		})
	}
}

func (h *session) message2(refusal wire.PayloadError, public netip.AddrPort, isOpen bool, local []netip.AddrPort) []byte {
	m := wire.NoisePayload{
		Version:      1,
		Error:        refusal,
		UDX:          &wire.UDXInfo{ReusableSocket: h.s.cfg.ReusableSocket},
		SecretStream: &wire.SecretStreamInfo{},
	}
	if h.raw != nil {
		m.UDX.ID = h.raw.ID()
	}
	if isOpen {
		m.Firewall = wire.FirewallOpen
		m.Addrs4 = append(m.Addrs4, public)
	} else {
		m.Holepunch = &wire.HolepunchInfo{ID: uint64(h.id), Relays: h.s.announcer.relays}
	}
	m.Addrs4 = append(m.Addrs4, local...)
	if relays := h.s.announcer.relayAddrs; len(relays) > 0 {
		m.RelayAddrs = relays
	}
	if h.relayKey != (id.PublicKey{}) {
		m.RelayThrough = &wire.RelayThrough{Key: h.relayKey, Token: h.relayToken}
	}
	return m.Append(nil)
}

// onSameLAN reports whether the caller has the same public address and offers a private one near ours.
func (h *session) onSameLAN(local []netip.AddrPort) bool {
	if h.clientAddr.Addr() != h.serverAddr.Addr() || h.s.cfg.HideLocalAddrs {
		return false
	}
	var private []netip.AddrPort
	for _, a := range h.payload.Addrs4[:min(len(h.payload.Addrs4), maxAddrs)] {
		if kad.IsPrivate(a.Addr()) {
			private = append(private, a)
		}
	}
	_, ok := kad.MatchLAN(local, private)
	return ok
}

func (h *session) setupPuncher() bool {
	p := h.s.p
	h.requests = p.rpc.NewSession()
	u, err := newPuncher(h.trail, h.requests, false, h.payload.Firewall)
	if err != nil {
		return false
	}
	h.box = wire.NewPunchBox(h.keys.HolepunchSecret, p.host.Rand())
	h.puncher = u
	if h.eager {
		u.sample()
	}
	u.onConnect = func(s host.Socket, from netip.AddrPort) { h.onSocket(s, from, PathPunched) }
	u.onAbort = h.abort
	return true
}

// firewall sees the packets of the raw stream on other sockets than its own: the first one decides the path.
func (h *session) firewall(sock host.Socket, from netip.AddrPort) bool {
	if from.Port() == 0 {
		return false
	}
	if h.relayPath != nil && !h.relayPath.observe(sock, from) {
		return true
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
func (h *session) startRelay() {
	if key, join := h.relayOffer(); key != (id.PublicKey{}) {
		join.raw, join.onPaired, join.onAbort = h.raw, h.relayPaired, h.relayAborted
		h.trail.note(AttemptEvent{Step: AttemptRelay, Relay: key})
		h.relayPath = h.s.p.joinRelay(key, join)
	}
}

// relayOffer is the key of the relay, zero for none, and our part in the pairing.
func (h *session) relayOffer() (relay id.PublicKey, join relayPath) {
	if r := h.payload.RelayThrough; r != nil && h.relayKey == (id.PublicKey{}) {
		return r.Key, relayPath{token: r.Token}
	}
	return h.relayKey, relayPath{token: h.relayToken, initiator: true}
}

// reserveRelay joins the relay, too, if a caller that holds itself for open has not answered soon. It may be open for
// others only.
func (h *session) reserveRelay(c *Connection, relay id.PublicKey, join relayPath) {
	raw := join.raw
	join.onPaired = func() { h.trail.note(AttemptEvent{Step: AttemptRelayPaired}) }
	join.onAbort = func(err error) {
		h.trail.note(AttemptEvent{Step: AttemptRelayFailed, Err: err})
		h.relayPath = nil
		if c.path == PathRelayed {
			c.close(err)
		}
	}
	timer := h.s.p.host.AfterFunc(relayReserve, func() {
		raw.WatchRemote()
		h.trail.note(AttemptEvent{Step: AttemptRelay, Relay: relay})
		h.relayPath = h.s.p.joinRelay(relay, join)
	})
	c.cancel = func() {
		timer.Stop()
		if h.relayPath != nil {
			h.relayPath.close()
		}
	}
	c.onProof = func() {
		timer.Stop()
		rp, via := h.relayPath, raw.Via()
		switch {
		case rp == nil:
			c.cancel = nil
		case rp.in(relayPaired) && rp.carries(via.Socket, via.Remote):
			if raw.Settle(stream.Way{Socket: via.Socket, RemoteID: rp.remoteID, Remote: via.Remote}) == nil {
				c.moved(via.Socket, PathRelayed)
			}
		default:
			_ = raw.Settle(stream.Way{Socket: raw.Socket(), Remote: raw.RemoteAddr()}) // on which it is; no error
			rp.standBy(c)
		}
	}
}

func (h *session) relayPaired() {
	h.trail.note(AttemptEvent{Step: AttemptRelayPaired})
	h.stopPrepunch()
	h.connect(h.raw, PathRelayed)
}

func (h *session) relayAborted(err error) {
	h.trail.note(AttemptEvent{Step: AttemptRelayFailed, Err: err})
	h.relayPath = nil
	switch {
	case h.conn != nil:
		h.conn.close(err)
	case h.aborted && h.raw != nil:
		h.raw.Destroy(nil)
	}
}

// onSocket takes a direct path; only the first call counts.
func (h *session) onSocket(sock host.Socket, from netip.AddrPort, path Path) {
	if h.raw == nil {
		return
	}
	p := h.s.p
	raw := h.raw
	h.raw = nil
	defer h.clearLater()
	h.stopPrepunch()
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
		p.addRoute(h.keys.RemotePublicKey, raw)
	}
	c := h.connect(raw, path)
	h.leavePuncher(path == PathPunched)
	if h.relayPath != nil {
		h.relayPath.standBy(c)
	}
}

// connect makes the connection and hands it to the application.
func (h *session) connect(raw *stream.Stream, path Path) *Connection {
	c := h.s.p.newConnection(h.trail, h.s.cfg.Keys.Public, h.keys.RemotePublicKey, false)
	c.unproven = h.s.cfg.KeepLimited
	c.hand(h.s.cfg.OnConnection)
	c.caller = h
	h.accepted = c
	h.opening = h.s.p.host.AfterFunc(openTimeout, func() { h.accepted.Destroy(ErrUnopened) })
	c.start(raw, *h.keys, path)
	if path == PathRelayed {
		h.conn = c
		c.cancel = h.connectionClosed
	}
	return c
}

// connectionOpened notes that the caller has proven to be there.
func (h *session) connectionOpened() {
	h.stopOpening()
	h.tokens.give()
	if h.settled {
		h.s.p.intake.release(h)
	} else {
		h.s.p.intake.answered(h) // and looks for a better path than the relay's
	}
}

func (h *session) stopOpening() {
	if h.opening != nil {
		h.opening.Stop()
		h.opening = nil
	}
}

// connectionOver stops counting a caller whose connection has ended, and lets go of everything that retransmissions of its
// handshake do not need: for ten seconds of a flood that is most of what a node holds.
func (h *session) connectionOver() {
	h.stopOpening()
	h.accepted, h.conn, h.relayPath, h.box = nil, nil, nil, nil
	if h.settled {
		h.s.p.intake.release(h)
	}
}

// connectionClosed hears of the end of a connection that was made over a relay.
func (h *session) connectionClosed() {
	h.raw = nil
	h.endPuncher()
	if h.relayPath != nil {
		h.relayPath.close()
	}
	h.clearLater()
}

// receiveHolepunch takes part in one round of hole punching; answer is called at most once.
func (h *session) receiveHolepunch(r *rpc.Request, m wire.Holepunch, answer func(payload []byte, sock host.Socket)) {
	if h.box == nil {
		return
	}
	remote, ok := h.box.Open(m.Payload)
	if !ok {
		h.s.p.stats.HolepunchesInvalid++
		return
	}
	h.s.p.intake.answered(h)
	if h.relayLater {
		h.relayLater = false
		if h.raw != nil { // the attempt is not over
			h.startRelay()
		}
	}
	u := h.puncher
	if u == nil || u.over() {
		return
	}
	if remote.Round >= h.round {
		h.round = remote.Round
	}
	if remote.Error != wire.ErrorNone {
		h.answerAbort(wire.ErrorAborted, answer)
		return
	}
	viaRelay := h.s.announcer.isRelay(r.From)
	token := h.box.Token(m.PeerAddr.Addr())
	if r.Socket == u.socket() {
		u.nat.add(r.To, r.From)
	}
	if remote.Round >= h.round {
		var verified netip.Addr
		if viaRelay && remote.RemoteToken != nil && *remote.RemoteToken == token {
			verified = m.PeerAddr.Addr()
		}
		u.updateRemote(remote, m.PeerAddr, verified)
	}
	conclude := func() {
		h.conclude(remote, m.PeerAddr, answerTokens(viaRelay, token), answer)
	}
	u.analyze(false, func(stable bool) {
		switch {
		case u.over():
		case stable || u.remotePunching:
			conclude()
		default:
			u.analyze(true, func(stable bool) {
				switch {
				case u.over():
				case !stable:
					h.answerAbort(wire.ErrorAborted, answer)
				default:
					conclude()
				}
			})
		}
	})
}

// answerTokens gives the token out only through relays we announced to: only those can be trusted to have
// named the caller's real address.
func answerTokens(viaRelay bool, token [32]byte) *[32]byte {
	if !viaRelay {
		return nil
	}
	return &token
}

// conclude answers a round after our NAT was analyzed, and starts punching when the caller does.
func (h *session) conclude(remote wire.HolepunchPayload, peer netip.AddrPort, token *[32]byte, answer func([]byte, host.Socket)) {
	u := h.puncher
	// Fast mode: the caller has opened its NAT for this very mapping of ours, or needs none opened, so one probe may do
	// it all.
	fast := u.consistent() && remote.RemoteAddr.IsValid() && slices.Contains(u.nat.addrs(), remote.RemoteAddr)
	if fast || remote.Firewall == wire.FirewallOpen {
		u.probe(peer)
	}
	refusal := wire.ErrorNone
	if u.remotePunching {
		h.stopPrepunch()
		busy := u.usesRandom() && !u.punching() && !h.s.p.mayPunchRandomly()
		if busy {
			h.s.p.stats.PunchesLater++
			refusal = wire.ErrorTryLater
		}
		switch {
		case busy && h.relayPath == nil:
			h.answerAbort(refusal, answer)
			return
		case busy: // the relay carries the connection meanwhile, and the caller asks again
			h.prepunch = h.s.p.host.AfterFunc(busyPatience, h.abort)
		case !u.punch():
			h.answerAbort(wire.ErrorAborted, answer)
			return
		}
	}
	if u.nat.firewall() != wire.FirewallUnknown {
		u.nat.freeze()
	}
	answer(h.box.Seal(wire.HolepunchPayload{
		Error: refusal, Firewall: u.nat.firewall(), Round: h.round,
		Punching: u.punching(), Addrs: u.nat.addrs(),
		Token: token, RemoteToken: remote.Token,
	}), u.socket())
}

// answerAbort tells the caller that this server gives up, from the main socket, which outlives the puncher.
func (h *session) answerAbort(reason wire.PayloadError, answer func([]byte, host.Socket)) {
	sealed := h.box.Seal(wire.HolepunchPayload{Error: reason, Round: h.round})
	sock := h.s.p.rpc.Socket()
	if h.puncher != nil {
		h.puncher.fail()
	}
	answer(sealed, sock)
}

// abort ends an attempt that led nowhere, unless a relay carries the connection or may still do so.
func (h *session) abort() {
	h.aborted = true
	h.stopPrepunch()
	h.endPuncher()
	if h.raw != nil && h.relayPath == nil {
		h.s.p.stats.SessionsAborted++
		h.trail.note(AttemptEvent{Step: AttemptAborted, Addr: h.clientAddr})
		h.raw.Destroy(nil)
	}
}

// rawClosed hears of the end of a raw stream that never became a connection.
func (h *session) rawClosed() {
	if h.raw == nil {
		return
	}
	h.raw = nil
	h.stopPrepunch()
	h.endPuncher()
	h.clearLater()
}

// leavePuncher ends the punch that has led to the path, or that another path has made needless.
func (h *session) leavePuncher(won bool) {
	if won && h.puncher != nil {
		h.puncher.win()
	}
	h.endPuncher()
}

func (h *session) endPuncher() {
	if h.puncher != nil {
		h.puncher.close()
		h.puncher = nil
	}
	if h.requests != nil {
		h.requests.Cancel()
		h.requests = nil
	}
}

func (h *session) stopPrepunch() {
	if h.prepunch != nil {
		h.prepunch.Stop()
		h.prepunch = nil
	}
}

// clearLater forgets the session in a while; until then it answers retransmissions.
func (h *session) clearLater() {
	h.settled = true
	if h.raw == nil {
		h.payload, h.keys = nil, nil
	}
	if h.accepted == nil || h.accepted.open || h.accepted.closed {
		h.s.p.intake.release(h)
	}
	if h.clearing == nil && !h.forgotten {
		h.clearing = h.s.p.host.AfterFunc(sessionClearWait, func() { h.s.forget(h) })
		h.s.p.intake.remember(h)
	}
}

// evict gives a caller up for another one. What it has open stays open.
func (h *session) evict() {
	switch c := h.accepted; {
	case c == nil:
		h.trail.note(AttemptEvent{Step: AttemptAborted, Addr: h.clientAddr, Err: ErrCrowdedOut})
		h.drop()
		h.s.forget(h)
	case c.open:
		h.abort() // the search for a better path
		h.clearLater()
	default:
		c.Destroy(ErrCrowdedOut)
	}
}

// drop ends what has no connection yet, at once.
func (h *session) drop() {
	h.settled = true
	h.s.p.intake.release(h)
	h.stopPrepunch()
	if h.raw != nil && h.conn == nil {
		raw := h.raw
		h.raw = nil
		raw.Destroy(nil)
	}
	h.endPuncher()
	if h.relayPath != nil && h.conn == nil {
		h.relayPath.close()
	}
}
