package app

import (
	"errors"
	"fmt"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bound"
	"github.com/dhtprom/dhtprom/ports/host"
)

// registry is the scraper's registration service: who may ask, how often, and how a request becomes a durable entry.
type registry struct {
	scraper *Scraper
	gate    *gate
	refused domain.RefusalHistory
	pending map[domain.Alias]*pendingAlias
	// instances has an entry for each alias that registered since the start, at most one for each of the table and
	// of those on their way to the disk.
	instances map[domain.Alias]*instances
	owners    map[domain.PublicKey]*owner // of the keys in it
	writes    int                         // registrations on their way to the disk
	fresh     int                         // of them, aliases that the table does not have
}

// pendingAlias is the newest entry of an alias on its way to the disk, and how many are.
type pendingAlias struct {
	entry domain.Entry
	count int
	isNew bool
	gone  bool // a goodbye is the newest
}

func newRegistry(s *Scraper) *registry {
	return &registry{scraper: s, gate: newGate(), pending: map[domain.Alias]*pendingAlias{}, instances: map[domain.Alias]*instances{}, owners: map[domain.PublicKey]*owner{}}
}

// note keeps a refusal to be looked at.
func (g *registry) note(k *aliasConn, a domain.Alias, reason string) {
	g.scraper.stats.Rejected[reason]++
	g.keep(k, a, reason)
}

func (g *registry) keep(k *aliasConn, a domain.Alias, reason string) {
	g.refused.Add(domain.Refusal{First: g.scraper.cfg.Clock.Now(), Peer: k.peer, Alias: a, Reason: reason})
}

// aliasConn is one connection of somebody who may or may not know the secret.
type aliasConn struct {
	registry *registry
	conn     ports.Conn
	uid      domain.UID
	peer     domain.Peer
	idle     host.Timer
	limit    *bound.Bucket
	refusals int
	opened   host.Instant
	held     *bound.Item[*aliasConn]
	known    bool // has an alias, or has shown a secret
	closed   bool
}

func (g *registry) onOpen(conn ports.Conn) ports.AliasHandlers {
	s := g.scraper
	k := &aliasConn{
		registry: g, conn: conn, uid: newUID(s.cfg.Host), peer: conn.Peer(),
		limit:  bound.NewBucket(s.cfg.Host.Now(), bound.Pace{Burst: requestBurst, Every: requestEvery}),
		opened: s.cfg.Host.Now(),
	}
	k.known = g.knows(k.peer.Key)
	crowded := g.gate.enter(k, k.known)
	s.stats.AliasConnections = g.gate.conns.Len()
	if k.known {
		conn.Trust()
	}
	tell(s.cfg.OnEvent, domain.ConnectionOpen{UID: k.uid, Side: domain.SideRegister, Peer: k.peer})
	if s.sessions[k.peer.Key] == nil {
		tell(s.cfg.OnEvent, domain.ConnectionIgnore{UID: k.uid, Peer: k.peer})
	}
	k.idle = s.cfg.Host.AfterFunc(aliasFirstRequest, func() { conn.Close(nil) })
	g.crowdOut(crowded, k)
	return ports.AliasHandlers{
		OnRegister: k.onRegister,
		OnLeave:    k.onLeave,
		OnError: func(err error) {
			tell(s.cfg.OnEvent, domain.ConnectionError{UID: k.uid, Side: domain.SideRegister, Peer: k.peer, Err: err})
		},
		OnClose: k.onClose,
	}
}

// knows reports whether a key has an alias, or has shown a secret before.
func (g *registry) knows(key domain.PublicKey) bool {
	return g.scraper.table.Serves(key) || g.gate.members.Has(key)
}

// crowdOut closes a connection for another one; nil is none.
func (g *registry) crowdOut(gone, comes *aliasConn) {
	if gone != nil {
		g.scraper.stats.ConnectionsDenied[limitOf(gone, comes)]++
		// In a turn of its own, since it may be the one that is about to open.
		g.scraper.cfg.Host.Post(func() { gone.conn.Close(errCrowdedOut) })
	}
}

func (k *aliasConn) onClose() {
	if k.closed {
		return
	}
	k.closed = true
	k.idle.Stop()
	g := k.registry
	g.gate.leave(k)
	g.scraper.stats.AliasConnections = g.gate.conns.Len()
	tell(g.scraper.cfg.OnEvent, domain.ConnectionClose{UID: k.uid, Side: domain.SideRegister, Peer: k.peer})
}

// door lets a request in that is not one too many and knows the secret; it answers the others.
func (k *aliasConn) door(req ports.AliasRequest, reply func(ports.AliasReply)) bool {
	s := k.registry.scraper
	if !k.limit.Take(s.cfg.Host.Now()) {
		k.registry.note(k, req.Alias, domain.ReasonRateLimit)
		reply(ports.AliasReply{Message: "Too many requests"})
		k.refuse()
		return false
	}
	if !domain.Accepts(s.cfg.Secrets, req.Secret) {
		k.registry.note(k, req.Alias, domain.ReasonUnauthorised)
		tell(s.cfg.OnEvent, domain.AliasUnauthorised{UID: k.uid, Peer: k.peer, Register: req.Register})
		reply(ports.AliasReply{Message: domain.Unauthorised})
		k.refuse()
		return false
	}
	if !k.closed {
		k.idle.Reset(aliasIdle)
		k.registry.gate.members.Add(k.peer.Key)
		if !k.known {
			k.known = true
			k.conn.Trust()
			k.registry.crowdOut(k.registry.gate.join(k), k)
		}
	}
	return true
}

// refuse counts a refusal; a few end the connection, so that guessing costs a handshake each time. Where an address has
// sent many, one does.
func (k *aliasConn) refuse() {
	k.refusals++
	s := k.registry.scraper
	shut := k.registry.gate.refused(s.cfg.Host.Now(), k.peer.Addr.Addr())
	if shut {
		s.stats.ConnectionsDenied[domain.LimitRefusals]++
	}
	if shut || k.refusals >= maxRefusals {
		k.conn.Close(nil)
	}
}

func (k *aliasConn) onRegister(req ports.AliasRequest, reply func(ports.AliasReply)) {
	s := k.registry.scraper
	if !k.door(req, reply) {
		return
	}
	tell(s.cfg.OnEvent, domain.AliasRequest{UID: k.uid, Peer: k.peer, Register: req.Register})
	if s.cfg.RequireProof && !req.Proven {
		k.registry.note(k, req.Alias, domain.ReasonNoProof)
		reply(k.failed(req, errNoProof))
		return
	}
	k.registry.register(req.Register, func(change domain.Change, err error) {
		if err != nil {
			if errors.Is(err, domain.ErrPinned) {
				k.registry.keep(k, req.Alias, domain.ReasonPinned)
			}
			reply(k.failed(req, err))
			return
		}
		tell(s.cfg.OnEvent, domain.AliasSuccess{
			UID: k.uid, Peer: k.peer, Register: req.Register, Updated: change.Updated, TakenFrom: change.TakenFrom,
		})
		// The registration has an open connection asked for a sign of life, which is all that a process gets while a newer
		// one runs.
		if held := s.sessions[req.Key]; held != nil && req.Unconnected && k.registry.leads(req.Register) {
			held.renew(k.opened)
		}
		reply(ports.AliasReply{Success: true, Updated: change.Updated, Shared: change.Shared})
	})
}

func (k *aliasConn) onLeave(req ports.AliasRequest, reply func(ports.AliasReply)) {
	if !k.door(req, reply) {
		return
	}
	s := k.registry.scraper
	if (s.cfg.PinAliases || s.cfg.RequireProof) && !req.Proven {
		// Anybody with the secret could say it, and take the alias next.
		reply(k.failed(req, errNoProof))
		return
	}
	k.registry.leave(req.Register, func(left bool, err error) {
		if err != nil {
			reply(k.failed(req, err))
			return
		}
		if left {
			k.registry.gate.members.Remove(k.peer.Key)
		}
		reply(ports.AliasReply{Success: true, Updated: left})
	})
}

// leaveSession answers a goodbye that came on the connection of the session with its key. It needs no secret: the key alone
// can give up its alias, and whoever holds it was let in before.
func (g *registry) leaveSession(req ports.AliasRequest, reply func(ports.AliasReply)) {
	g.leave(req.Register, func(left bool, err error) {
		if err != nil {
			reply(ports.AliasReply{Message: "Failed to drop the alias"})
			return
		}
		reply(ports.AliasReply{Success: true, Updated: left})
	})
}

// failed tells the full error here and what the peer may know there: the uid, and the reason if it is the peer's own.
func (k *aliasConn) failed(req ports.AliasRequest, err error) ports.AliasReply {
	tell(k.registry.scraper.cfg.OnEvent, domain.AliasError{UID: k.uid, Peer: k.peer, Alias: req.Alias, Err: err})
	message := fmt.Sprintf("Failed to register alias (uid %s)", k.uid)
	if errors.Is(err, domain.ErrName) || errors.Is(err, domain.ErrTableFull) || errors.Is(err, errOverloaded) ||
		errors.Is(err, errNoProof) || errors.Is(err, domain.ErrPinned) {
		message = fmt.Sprintf("%s: %s", message, err)
	}
	return ports.AliasReply{Message: message}
}

func (g *registry) pendingFor(a domain.Alias) bool { return g.pending[a] != nil }

// current is an alias's entry with what is on its way to the disk counted in.
func (g *registry) current(a domain.Alias) (domain.Entry, bool) {
	if p := g.pending[a]; p != nil {
		return p.entry, !p.gone
	}
	return g.scraper.table.Get(a)
}

// register checks a registration, makes it durable and then makes it count. done may be called in the same turn
// when it is refused.
func (g *registry) register(r domain.Register, done func(domain.Change, error)) {
	s := g.scraper
	old, known := g.current(r.Alias)
	e := r.Entry(old, s.now(), s.cfg.Expiry)
	reject := func(reason string, err error) {
		s.stats.Rejected[reason]++
		done(domain.Change{}, err)
	}
	if err := e.Check(); err != nil {
		reject(domain.ReasonBadName, err)
		return
	}
	switch {
	case s.closed:
		reject(domain.ReasonStore, domain.ErrClosed)
		return
	case !s.loaded:
		reject(domain.ReasonStore, domain.ErrNotLoaded)
		return
	case s.belongsToAnother(e, old, known):
		reject(domain.ReasonPinned, domain.ErrPinned)
		return
	case g.writes >= maxPendingWrites:
		reject(domain.ReasonOverloaded, errOverloaded)
		return
	case !known && s.table.Len()+g.fresh >= s.table.Limit():
		reject(domain.ReasonTableFull, fmt.Errorf("%w: %d aliases", domain.ErrTableFull, s.table.Limit()))
		return
	}
	p := g.begin(e)
	shared := g.appear(e)
	s.cfg.Store.Put(s.shown(e), func(err error) {
		g.end(e.Alias, p)
		if _, exists := g.current(e.Alias); err != nil && !exists {
			g.vanish(e.Alias)
		}
		if err != nil {
			s.storeDone(err)
			reject(domain.ReasonStore, err)
			return
		}
		change, err := s.put(e)
		if err != nil {
			reject(domain.ReasonTableFull, err)
			return
		}
		s.stats.Registrations++
		change.Shared = shared
		done(change, nil)
	})
}

// leave drops an alias at its client's own request. Only the key that has the alias can give it up, and only the last
// process that registered under it: a goodbye that comes after another client or the next instance took the alias over
// is too late.
func (g *registry) leave(r domain.Register, done func(left bool, err error)) {
	old, known := g.current(r.Alias)
	if !known || old.Key != r.Key || g.scraper.closed {
		done(false, nil)
		return
	}
	if !g.departs(r) {
		done(false, nil)
		return
	}
	g.drop(old, func(err error) {
		if err == nil {
			g.scraper.stats.Left++
		}
		done(err == nil, err)
	})
}

// drop takes an entry out of the store, and then out of the table.
func (g *registry) drop(e domain.Entry, done func(error)) {
	s := g.scraper
	p := g.begin(e)
	p.gone = true
	s.cfg.Store.Delete([]domain.Alias{e.Alias}, func(err error) {
		g.end(e.Alias, p)
		if err != nil {
			s.storeDone(err)
			done(err)
			return
		}
		done(nil) // whose answer may travel on the connection of the session, which ends with the entry
		if now, ok := s.table.Get(e.Alias); ok {
			s.remove(now)
		}
		if _, again := g.current(e.Alias); !again { // else it has registered meanwhile
			g.vanish(e.Alias)
		}
	})
}

func (g *registry) begin(e domain.Entry) *pendingAlias {
	p := g.pending[e.Alias]
	if p == nil {
		_, known := g.scraper.table.Get(e.Alias)
		p = &pendingAlias{isNew: !known}
		g.pending[e.Alias] = p
		if p.isNew {
			g.fresh++
		}
	}
	p.entry, p.gone = e, false
	p.count++
	g.writes++
	return p
}

func (g *registry) end(a domain.Alias, p *pendingAlias) {
	g.writes--
	if p.count--; p.count == 0 {
		delete(g.pending, a)
		if p.isNew {
			g.fresh--
		}
	}
}
