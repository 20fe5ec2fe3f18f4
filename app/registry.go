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
func (rg *registry) note(k *aliasConn, a domain.Alias, reason string) {
	rg.scraper.stats.Rejected[reason]++
	rg.keep(k, a, reason)
}

func (rg *registry) keep(k *aliasConn, a domain.Alias, reason string) {
	rg.refused.Add(domain.Refusal{First: rg.scraper.cfg.Clock.Now(), Peer: k.peer, Alias: a, Reason: reason})
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

func (rg *registry) onOpen(conn ports.Conn) ports.AliasHandlers {
	s := rg.scraper
	k := &aliasConn{
		registry: rg, conn: conn, uid: newUID(s.cfg.Host), peer: conn.Peer(),
		limit:  bound.NewBucket(s.cfg.Host.Now(), bound.Pace{Burst: requestBurst, Every: requestEvery}),
		opened: s.cfg.Host.Now(),
	}
	k.known = rg.knows(k.peer.Key)
	crowded := rg.gate.enter(k, k.known)
	s.stats.AliasConnections = rg.gate.conns.Len()
	if k.known {
		conn.Trust()
	}
	tell(s.cfg.OnEvent, domain.ConnectionOpen{UID: k.uid, Side: domain.SideRegister, Peer: k.peer})
	if s.sessions[k.peer.Key] == nil {
		tell(s.cfg.OnEvent, domain.ConnectionIgnore{UID: k.uid, Peer: k.peer})
	}
	k.idle = s.cfg.Host.AfterFunc(aliasFirstRequest, func() { conn.Close(nil) })
	rg.crowdOut(crowded, k)
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
func (rg *registry) knows(key domain.PublicKey) bool {
	return rg.scraper.table.Serves(key) || rg.gate.members.Has(key)
}

// crowdOut closes a connection for another one; nil is none.
func (rg *registry) crowdOut(gone, comes *aliasConn) {
	if gone != nil {
		rg.scraper.stats.ConnectionsDenied[limitOf(gone, comes)]++
		// In a turn of its own, since it may be the one that is about to open.
		rg.scraper.cfg.Host.Post(func() { gone.conn.Close(errCrowdedOut) })
	}
}

func (c *aliasConn) onClose() {
	if c.closed {
		return
	}
	c.closed = true
	c.idle.Stop()
	g := c.registry
	g.gate.leave(c)
	g.scraper.stats.AliasConnections = g.gate.conns.Len()
	tell(g.scraper.cfg.OnEvent, domain.ConnectionClose{UID: c.uid, Side: domain.SideRegister, Peer: c.peer})
}

// door lets a request in that is not one too many and knows the secret; it answers the others.
func (c *aliasConn) door(req ports.AliasRequest, reply func(ports.AliasReply)) bool {
	s := c.registry.scraper
	if !c.limit.Take(s.cfg.Host.Now()) {
		c.registry.note(c, req.Alias, domain.ReasonRateLimit)
		reply(ports.AliasReply{Message: "Too many requests"})
		c.refuse()
		return false
	}
	if !domain.Accepts(s.cfg.Secrets, req.Secret) {
		c.registry.note(c, req.Alias, domain.ReasonUnauthorised)
		tell(s.cfg.OnEvent, domain.AliasUnauthorised{UID: c.uid, Peer: c.peer, Register: req.Register})
		reply(ports.AliasReply{Message: domain.Unauthorised})
		c.refuse()
		return false
	}
	if !c.closed {
		c.idle.Reset(aliasIdle)
		c.registry.gate.members.Add(c.peer.Key)
		if !c.known {
			c.known = true
			c.conn.Trust()
			c.registry.crowdOut(c.registry.gate.join(c), c)
		}
	}
	return true
}

// refuse counts a refusal; a few end the connection, so that guessing costs a handshake each time. Where an address has
// sent many, one does.
func (c *aliasConn) refuse() {
	c.refusals++
	s := c.registry.scraper
	shut := c.registry.gate.refused(s.cfg.Host.Now(), c.peer.Addr.Addr())
	if shut {
		s.stats.ConnectionsDenied[domain.LimitRefusals]++
	}
	if shut || c.refusals >= maxRefusals {
		c.conn.Close(nil)
	}
}

func (c *aliasConn) onRegister(req ports.AliasRequest, reply func(ports.AliasReply)) {
	s := c.registry.scraper
	if !c.door(req, reply) {
		return
	}
	tell(s.cfg.OnEvent, domain.AliasRequest{UID: c.uid, Peer: c.peer, Register: req.Register})
	if s.cfg.RequireProof && !req.Proven {
		c.registry.note(c, req.Alias, domain.ReasonNoProof)
		reply(c.failed(req, errNoProof))
		return
	}
	c.registry.register(req.Register, func(change domain.Change, err error) {
		if err != nil {
			if errors.Is(err, domain.ErrPinned) {
				c.registry.keep(c, req.Alias, domain.ReasonPinned)
			}
			reply(c.failed(req, err))
			return
		}
		tell(s.cfg.OnEvent, domain.AliasSuccess{
			UID: c.uid, Peer: c.peer, Register: req.Register, Updated: change.Updated, TakenFrom: change.TakenFrom,
		})
		// The registration has an open connection asked for a sign of life, which is all that a process gets while a newer
		// one runs.
		if held := s.sessions[req.Key]; held != nil && req.Unconnected && c.registry.leads(req.Register) {
			held.renew(c.opened)
		}
		reply(ports.AliasReply{Success: true, Updated: change.Updated, Shared: change.Shared})
	})
}

func (c *aliasConn) onLeave(req ports.AliasRequest, reply func(ports.AliasReply)) {
	if !c.door(req, reply) {
		return
	}
	s := c.registry.scraper
	if (s.cfg.PinAliases || s.cfg.RequireProof) && !req.Proven {
		// Anybody with the secret could say it, and take the alias next.
		reply(c.failed(req, errNoProof))
		return
	}
	c.registry.leave(req.Register, func(left bool, err error) {
		if err != nil {
			reply(c.failed(req, err))
			return
		}
		if left {
			c.registry.gate.members.Remove(c.peer.Key)
		}
		reply(ports.AliasReply{Success: true, Updated: left})
	})
}

// leaveSession answers a goodbye that came on the connection of the session with its key. It needs no secret: the key alone
// can give up its alias, and whoever holds it was let in before.
func (rg *registry) leaveSession(req ports.AliasRequest, reply func(ports.AliasReply)) {
	rg.leave(req.Register, func(left bool, err error) {
		if err != nil {
			reply(ports.AliasReply{Message: "Failed to drop the alias"})
			return
		}
		reply(ports.AliasReply{Success: true, Updated: left})
	})
}

// failed tells the full error here and what the peer may know there: the uid, and the reason if it is the peer's own.
func (c *aliasConn) failed(req ports.AliasRequest, err error) ports.AliasReply {
	tell(c.registry.scraper.cfg.OnEvent, domain.AliasError{UID: c.uid, Peer: c.peer, Alias: req.Alias, Err: err})
	message := fmt.Sprintf("Failed to register alias (uid %s)", c.uid)
	if errors.Is(err, domain.ErrName) || errors.Is(err, domain.ErrTableFull) || errors.Is(err, errOverloaded) ||
		errors.Is(err, errNoProof) || errors.Is(err, domain.ErrPinned) {
		message = fmt.Sprintf("%s: %s", message, err)
	}
	return ports.AliasReply{Message: message}
}

func (rg *registry) pendingFor(a domain.Alias) bool { return rg.pending[a] != nil }

// current is an alias's entry with what is on its way to the disk counted in.
func (rg *registry) current(a domain.Alias) (domain.Entry, bool) {
	if p := rg.pending[a]; p != nil {
		return p.entry, !p.gone
	}
	return rg.scraper.table.Get(a)
}

// register checks a registration, makes it durable and then makes it count. done may be called in the same turn
// when it is refused.
func (rg *registry) register(r domain.Register, done func(domain.Change, error)) {
	s := rg.scraper
	old, known := rg.current(r.Alias)
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
	case rg.writes >= maxPendingWrites:
		reject(domain.ReasonOverloaded, errOverloaded)
		return
	case !known && s.table.Len()+rg.fresh >= s.table.Limit():
		reject(domain.ReasonTableFull, fmt.Errorf("%w: %d aliases", domain.ErrTableFull, s.table.Limit()))
		return
	}
	p := rg.begin(e)
	shared := rg.appear(e)
	s.cfg.Store.Put(s.shown(e), func(err error) {
		rg.end(e.Alias, p)
		if _, exists := rg.current(e.Alias); err != nil && !exists {
			rg.vanish(e.Alias)
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
func (rg *registry) leave(r domain.Register, done func(left bool, err error)) {
	old, known := rg.current(r.Alias)
	if !known || old.Key != r.Key || rg.scraper.closed {
		done(false, nil)
		return
	}
	if !rg.departs(r) {
		done(false, nil)
		return
	}
	rg.drop(old, func(err error) {
		if err == nil {
			rg.scraper.stats.Left++
		}
		done(err == nil, err)
	})
}

// drop takes an entry out of the store, and then out of the table.
func (rg *registry) drop(e domain.Entry, done func(error)) {
	s := rg.scraper
	p := rg.begin(e)
	p.gone = true
	s.cfg.Store.Delete([]domain.Alias{e.Alias}, func(err error) {
		rg.end(e.Alias, p)
		if err != nil {
			s.storeDone(err)
			done(err)
			return
		}
		done(nil) // whose answer may travel on the connection of the session, which ends with the entry
		if now, ok := s.table.Get(e.Alias); ok {
			s.remove(now)
		}
		if _, again := rg.current(e.Alias); !again { // else it has registered meanwhile
			rg.vanish(e.Alias)
		}
	})
}

func (rg *registry) begin(e domain.Entry) *pendingAlias {
	p := rg.pending[e.Alias]
	if p == nil {
		_, known := rg.scraper.table.Get(e.Alias)
		p = &pendingAlias{isNew: !known}
		rg.pending[e.Alias] = p
		if p.isNew {
			rg.fresh++
		}
	}
	p.entry, p.gone = e, false
	p.count++
	rg.writes++
	return p
}

func (rg *registry) end(a domain.Alias, p *pendingAlias) {
	rg.writes--
	if p.count--; p.count == 0 {
		delete(rg.pending, a)
		if p.isNew {
			rg.fresh--
		}
	}
}
