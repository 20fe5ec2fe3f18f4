package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
	"github.com/dhtprom/dhtprom/hyperdht/internal/rpc"
	"github.com/dhtprom/dhtprom/hyperdht/internal/wire"
	"github.com/dhtprom/dhtprom/ports/host"
)

// ListenOptions are the identity and options of a server. The zero value admits all, under the node's own key.
type ListenOptions struct {
	// Keys is the server's identity: clients dial its public key. The zero value is the node's, Config.Keys.
	Keys id.KeyPair
	// Admit reports whether a key may connect; nil admits all. A rejected caller gets no answer.
	// from is the caller's address as its relay sees it; a sender to which this server did not
	// announce may have invented it.
	Admit func(remote id.PublicKey, payload *HandshakePayload, from netip.AddrPort) bool
	// AdmitLater decides on callers that Admit accepts, where the decision takes longer than a turn of the loop: it returns at once, and
	// calls Admission.Accept or Reject then or later. Callers that wait for it count among those without a connection, of which a
	// node has 1,024 in all and fair shares by address: Admission.OnOver reports those that others have crowded out, and
	// Refused.Undecided counts them. Nil accepts all.
	AdmitLater func(*Admission)
	// Known reports whether the application knows a key. While there are too many callers, room is kept for known ones.
	// Nil knows none.
	Known func(remote id.PublicKey) bool
	// OnConnection is called for each connection when its first path is found. Handlers set in it miss nothing. Without
	// it connections are destroyed.
	OnConnection func(*Connection)
	// OnClose runs when the server closes, by Close or with its node; it may be nil.
	OnClose func()
	// HideLocalAddrs keeps this machine's own addresses from callers, and so the LAN shortcut.
	HideLocalAddrs bool
	// NeverPunch answers callers but does not punch: only direct paths work.
	NeverPunch bool
	// AdmitPunch reports whether to punch holes into the NATs of both sides, once these are known; nil always does. The caller's
	// dial then ends with ErrRemoteAborted, unless it finds a path without a punch or a relay carries it. It runs on the loop and must not block.
	AdmitPunch func(Punch) bool
	// RelayThrough are blind relays, one of which carries a connection while there is no direct path.
	RelayThrough []id.PublicKey
	// Paths limits the paths that connections of a caller may take; nil for no limit.
	Paths func(remote id.PublicKey) PathRule
	// KeepLimited keeps connections limited after they have opened, until Connection.Trust: for servers that admit
	// unknown callers.
	KeepLimited bool
	// ReusableSocket offers callers to dial again over the same socket.
	ReusableSocket bool
	// SharedKeys means that servers of other nodes take turns with this one under the same keys. The DHT keeps one record for a key: so
	// this server never takes a record back, which may be that of its successor, and it announces to all nodes near the key that have a
	// record, which may be that of its predecessor, and again until its lookups find no other one.
	SharedKeys bool
	// TakeOver means that this server takes the place of one that another node still has under the same keys, and that is closed by Leave
	// then: it announces to all nodes near the key that have a record.
	TakeOver bool
}

// Server accepts connections under one key (hyperdht lib/server.js).
type Server struct {
	p         *peering
	cfg       ListenOptions
	target    id.Target
	announcer *announcer

	incoming  []*incoming          // by id; freed ones are nil
	firstFree int                  // no id below it is free
	byMessage map[string]*incoming // by the bytes of message 1, to recognise retransmissions
	suspended bool
	closed    bool
	left      host.Instant // time of Close
}

// listen announces a server and calls done once: with nil when a DHT node has stored its record, or after the first
// attempt if the node has no bootstrap nodes, and with ErrClosed if the server is closed before. Until then it continues to
// try, and callers that know a way may connect. It fails only if the key is in use on this node.
func (p *peering) listen(cfg ListenOptions, done func(error)) (*Server, error) {
	if p.closed {
		return nil, ErrClosed
	}
	if cfg.OnConnection == nil {
		cfg.OnConnection = func(c *Connection) { c.Destroy(nil) }
	}
	cfg.Keys = p.keysOr(cfg.Keys)
	target := cfg.Keys.Public.Target()
	if p.servers.at(target) != nil {
		return nil, ErrKeyPairInUse
	}
	s := &Server{
		p: p, cfg: cfg, target: target, suspended: p.suspended,
		announcer: newAnnouncer(p, cfg, done),
		byMessage: make(map[string]*incoming),
	}
	p.servers.add(s)
	record := wire.Peer{PublicKey: cfg.Keys.Public}
	p.cfg.Store.SetLocal(target, record.Append(nil))
	if !cfg.HideLocalAddrs {
		p.local.validated(func([]netip.AddrPort) {}) // in the background, so that the first caller need not wait
	}
	if s.suspended {
		s.announcer.suspend(func() {}) // resuming starts it
	} else {
		s.announcer.start()
	}
	return s, nil
}

// PublicKey returns the key that callers dial.
func (s *Server) PublicKey() id.PublicKey { return s.cfg.Keys.Public }

// Relays lists the DHT nodes that currently lead to this server.
func (s *Server) Relays() []netip.AddrPort { return s.announcer.relayAddrs }

// Announcement returns the state of the server's record on the DHT.
func (s *Server) Announcement() Announcement { return s.announcer.status() }

// Refresh announces the server again, now or as soon as the announcement under way has ended. It begins with a lookup, and so moves the
// record to nodes that have become the nearest ones. A node does so by itself when its network changes, when the nodes that hold the
// record do not answer, and every five minutes. While the node is suspended, and after Close, it has no effect.
func (s *Server) Refresh() {
	if !s.quiet() {
		s.announcer.refreshSoon()
	}
}

// Close stops accepting, unannounces the server unless its keys are shared, and calls done, which may be nil. Connections stay open. A
// second call waits for the first.
func (s *Server) Close(done func()) {
	if done == nil {
		done = func() {}
	}
	if s.closed {
		s.announcer.stop(done)
		return
	}
	s.closed, s.left = true, s.p.host.Now()
	s.p.servers.leave(s)
	s.p.cfg.Store.DeleteLocal(s.target)
	s.clear()
	if s.cfg.OnClose != nil {
		s.p.host.Defer(s.cfg.OnClose)
	}
	s.announcer.stop(func() {
		s.p.servers.left(s)
		done()
	})
}

// Leave is Close without taking the record back: a server of another node has taken over.
func (s *Server) Leave(done func()) {
	s.announcer.keeps = true
	s.Close(done)
}

// clear drops all attempts that have no connection yet.
func (s *Server) clear() {
	sessions := s.incoming
	s.incoming, s.firstFree = nil, 0
	clear(s.byMessage)
	for _, h := range sessions {
		if h != nil {
			h.drop()
		}
	}
}

// quiet reports whether the server must not answer.
func (s *Server) quiet() bool { return s.closed || s.suspended }

// receiveHandshake answers a PEER_HANDSHAKE for this server, now or when its addresses are known.
func (s *Server) receiveHandshake(r *rpc.Request, m wire.Handshake) {
	if s.quiet() || !handshakeWanted(m) || len(m.Noise) == 0 {
		return
	}
	h := s.byMessage[string(m.Noise)]
	if h == nil {
		h = s.addIncoming(r, m)
		if !s.p.intake.arrive(h) {
			s.forget(h)
			return
		}
	} else {
		h.allowance.Receive(r.Size)
		s.p.intake.again(h, s.originOf(r, m))
	}
	req := *r // the value is borrowed for this turn only, and is not needed for the answer
	req.Value = nil
	m.Noise = nil
	h.answered(func() {
		if s.quiet() || h.reply == nil || !s.p.rpc.MayAnswer(req.From.Addr()) {
			return
		}
		h.send(answerHandshake(m, req.From, h.reply), &req, h.replySocket())
	})
}

// receiveHolepunch answers a FROM_RELAY hole-punch message for one of the incoming attempts.
func (s *Server) receiveHolepunch(r *rpc.Request, m wire.Holepunch) {
	if s.quiet() || !m.PeerAddr.IsValid() || m.ID >= uint64(len(s.incoming)) || s.incoming[m.ID] == nil {
		return
	}
	h := s.incoming[m.ID]
	h.allowance.Receive(r.Size)
	req := *r
	req.Value = nil
	h.receiveHolepunch(&req, m, func(payload []byte, sock host.Socket) {
		if !s.quiet() && s.p.rpc.MayAnswer(req.From.Addr()) {
			m.Payload = nil
			h.send(answerHolepunch(m, req.From, payload), &req, sock)
		}
	})
}

// originOf returns the address that answers for a handshake.
func (s *Server) originOf(r *rpc.Request, m wire.Handshake) origin {
	switch {
	case !m.PeerAddr.IsValid():
		return origin{addr: r.From, seen: true}
	case m.Mode == wire.FromRelay && s.announcer.isRelay(r.From):
		return origin{addr: m.PeerAddr, seen: true, relay: r.From.Addr()}
	}
	return origin{addr: r.From}
}

// addIncoming adds an incoming attempt under the lowest free id.
func (s *Server) addIncoming(r *rpc.Request, m wire.Handshake) *incoming {
	h := &incoming{s: s, attemptTrace: s.p.newAttemptTrace(id.PublicKey{}), key: string(m.Noise), arrival: arrivalOf(r, m)}
	h.begin(s.p.account, incomingTable, incomingArrived, h.passed)
	h.origin = s.originOf(r, m)
	for s.firstFree < len(s.incoming) && s.incoming[s.firstFree] != nil {
		s.firstFree++
	}
	h.id = s.firstFree
	if h.id == len(s.incoming) {
		s.incoming = append(s.incoming, nil)
	}
	s.incoming[h.id] = h
	s.byMessage[h.key] = h
	h.allowance.Receive(r.Size)
	return h
}

// forget frees the id and the message of an attempt. Repeated calls have no effect.
func (s *Server) forget(h *incoming) {
	if h.over() {
		return
	}
	if h.in(incomingRemembered) {
		s.p.intake.remembering--
	}
	h.become(incomingForgotten)
	if !h.unopened() {
		s.p.intake.release(h)
	}
	if h.id >= len(s.incoming) || s.incoming[h.id] != h {
		return // the server was closed
	}
	s.incoming[h.id] = nil
	s.firstFree = min(s.firstFree, h.id)
	for len(s.incoming) > 0 && s.incoming[len(s.incoming)-1] == nil {
		s.incoming = s.incoming[:len(s.incoming)-1]
	}
	delete(s.byMessage, h.key)
}
