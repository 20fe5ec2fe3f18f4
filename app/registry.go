package app

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/bound"
	"github.com/dhtprom/dhtprom/ports/host"
)

// registry is the scraper's registration service: it limits and authorizes requests, and makes registrations durable.
type registry struct {
	scraper *Scraper
	gate    *gate
	refused domain.RefusalHistory
	pending map[domain.Alias]*pendingAlias
	// instances has an entry for each alias that registered since the start, at most one for each alias of the table and for
	// those being written.
	instances map[domain.Alias]*instances
	owners    map[domain.PublicKey]*owner // of the keys in it and in sets
	sets      map[domain.PublicKey]*clientSet

	identities domain.Identities
	counts     map[string]*identityCounts // by the name of an identity

	retired bool                  // another one has taken its place; what it still writes is not its to apply
	pinning map[domain.Alias]int  // the operator's changes of pins that are being written
	moving  map[domain.Alias]bool // aliases whose pins a set moves, while that is being written: they are kept from other registrations
	targets int                   // of all sets, and of those that are being written in their place
	writes  int                   // registrations being written, of an alias or of a set
	fresh   int                   // of them, aliases that the table does not have
}

// pendingAlias is the newest entry of an alias that is being written, and the number of such entries.
type pendingAlias struct {
	entry domain.Entry
	count int
	isNew bool
	gone  bool // a goodbye is the newest

	parties []party      // of these entries, and of the table's
	former  []*instances // of other keys, replaced since the first write
	leaving []func()     // goodbyes that wait for the end of all writes
}

// party is a client that has an alias or registers it, by itself or in a set.
type party struct {
	key   domain.PublicKey
	inSet bool
}

func partyOf(e domain.Entry) party { return party{e.Key, e.InSet} }

// unsettled reports whether a goodbye of a client cannot be judged yet: which entry remains depends on which writes fail.
func (p *pendingAlias) unsettled(of party) bool {
	return p != nil && slices.Contains(p.parties, of) && (p.gone || len(p.parties) > 1)
}

func newRegistry(s *Scraper) *registry {
	return &registry{scraper: s, gate: newGate(), pending: map[domain.Alias]*pendingAlias{}, instances: map[domain.Alias]*instances{}, owners: map[domain.PublicKey]*owner{}, sets: map[domain.PublicKey]*clientSet{}, pinning: map[domain.Alias]int{}, moving: map[domain.Alias]bool{}, counts: map[string]*identityCounts{}}
}

// succeed returns a registry in place of this one, without what clients have done here: after a change of the group's leader.
func (rg *registry) succeed() *registry {
	next := newRegistry(rg.scraper)
	next.identities, next.counts, next.refused = rg.identities, rg.counts, rg.refused
	rg.retired = true
	return next
}

// recordRejection counts a rejection and adds it to the list of refusals.
func (rg *registry) recordRejection(k *aliasConn, id domain.Identity, a domain.Alias, reason string) {
	rg.reject(id, reason)
	rg.recordRefusal(k, a, reason)
}

func (rg *registry) recordRefusal(k *aliasConn, a domain.Alias, reason string) {
	rg.refused.Add(domain.Refusal{First: rg.scraper.cfg.Clock.Now(), Peer: k.peer, Alias: a, Reason: reason})
}

// recordRefusals adds the rejected targets of a set to the list of refusals, the first of each reason: one set could fill it.
func (rg *registry) recordRefusals(k *aliasConn, rejected []domain.RejectedTarget) {
	var seen []string
	for _, t := range rejected {
		if !slices.Contains(seen, t.Reason) && slices.ContainsFunc(refusals, func(r refusal) bool { return r.reason == t.Reason }) {
			seen = append(seen, t.Reason)
			rg.recordRefusal(k, t.Alias, t.Reason)
		}
	}
}

// aliasConn is one connection of a peer that may or may not know the secret.
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
	known    bool // its key has an alias, or has sent a valid secret
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
		OnSet:      k.onSet,
		OnError: func(err error) {
			tell(s.cfg.OnEvent, domain.ConnectionError{UID: k.uid, Side: domain.SideRegister, Peer: k.peer, Err: err})
		},
		OnClose: k.onClose,
	}
}

// knows reports whether a key has an alias, or has sent a valid secret before.
func (rg *registry) knows(key domain.PublicKey) bool {
	return rg.scraper.table.Serves(key) || rg.gate.members.Has(key)
}

// crowdOut closes a connection for another one; nil closes none.
func (rg *registry) crowdOut(gone, comes *aliasConn) {
	if gone != nil {
		rg.scraper.stats.ConnectionsDenied[limitOf(gone, comes)]++
		// In a later turn, since it may be the one that is about to open.
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

// authorize checks the rate and the secret of a request. It answers those that fail with a message.
func (c *aliasConn) authorize(secret domain.Secret, r domain.Register, fail func(message string)) (id domain.Identity, ok bool) {
	id, reason, message := c.registry.check(c.limit, secret, domain.AliasUnauthorised{UID: c.uid, Peer: c.peer, Register: r})
	if reason != "" {
		c.registry.recordRefusal(c, r.Alias, reason)
		fail(message)
		c.refuse()
		return id, false
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
	return id, true
}

// check checks the rate and the secret of a request on any connection, and counts and reports those that fail. It returns the identity of
// the secret, or the reason of the rejection and the answer.
func (rg *registry) check(limit *bound.Bucket, secret domain.Secret, wrong domain.AliasUnauthorised) (id domain.Identity, reason, message string) {
	s := rg.scraper
	if !limit.Take(s.cfg.Host.Now()) {
		reason, message = domain.ReasonRateLimit, "Too many requests"
	} else if known, ok := rg.identities.Find(secret); ok {
		return known, "", ""
	} else {
		reason, message = domain.ReasonUnauthorised, domain.Unauthorised
		tell(s.cfg.OnEvent, wrong)
	}
	s.stats.Rejected[reason]++
	return id, reason, message
}

// refuse counts a rejection; a few close the connection, so that guessing costs a handshake each time. If the address has sent
// many, one is enough.
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
	id, ok := c.authorize(req.Secret, req.Register, failAlias(reply))
	if !ok {
		return
	}
	tell(s.cfg.OnEvent, domain.AliasRequest{UID: c.uid, Peer: c.peer, Register: req.Register})
	if s.cfg.RequireProof && !req.Proven {
		c.registry.recordRejection(c, id, req.Alias, domain.ReasonNoProof)
		reply(ports.AliasReply{Message: c.failed(req.Register, errNoProof)})
		return
	}
	if c.registry.needsProof(req, id) {
		c.registry.recordRejection(c, id, req.Alias, domain.ReasonIdentity)
		reply(ports.AliasReply{Message: c.failed(req.Register, domain.ErrKeyOfIdentity)})
		return
	}
	c.registry.register(req.Register, id, func(change domain.Change, err error) {
		if err != nil {
			if reason := refusalReason(err); reason != "" {
				c.registry.recordRefusal(c, req.Alias, reason)
			}
			reply(ports.AliasReply{Message: c.failed(req.Register, err)})
			return
		}
		tell(s.cfg.OnEvent, domain.AliasSuccess{
			UID: c.uid, Peer: c.peer, Register: req.Register, Updated: change.Updated, TakenFrom: change.TakenFrom,
		})
		// The registration probes an open connection, and does no more while a newer process runs.
		if held := s.sessions[req.Key]; held != nil && req.Unconnected && c.registry.leads(req.Register) {
			held.reconnectIfOlder(c.opened)
		}
		reply(ports.AliasReply{Success: true, Updated: change.Updated, Shared: change.Shared, Elsewhere: req.Proven && !s.takes(req.Key)})
	})
}

func (c *aliasConn) onLeave(req ports.AliasRequest, reply func(ports.AliasReply)) {
	id, ok := c.authorize(req.Secret, req.Register, failAlias(reply))
	if !ok {
		return
	}
	s := c.registry.scraper
	if (s.cfg.PinAliases || s.cfg.RequireProof) && !req.Proven {
		// Any holder of the secret could send it, and then take the alias.
		const left = false
		reply(c.registry.leaveReply(c.aliasError(req.Register, errNoProof), left))
		return
	}
	if !c.registry.mayLeave(req.Register, id) {
		reply(ports.AliasReply{Success: true})
		return
	}
	c.registry.leave(req.Register, func(left bool, err error) {
		if left {
			c.registry.gate.members.Remove(c.peer.Key)
		}
		reply(c.registry.leaveReply(c.aliasError(req.Register, err), left))
	})
}

// leaveOverSession answers a goodbye on the connection of the session with its key. It needs no secret: only its own key can give up
// an alias, and the key's holder was authorized before.
func (rg *registry) leaveOverSession(req ports.AliasRequest, link *sessionLink, reply func(ports.AliasReply)) {
	rg.leave(req.Register, func(left bool, err error) {
		reply(rg.leaveReply(domain.AliasError{UID: link.uid, Peer: link.peer, Alias: req.Alias, Key: req.Key, Err: err}, left))
	})
}

// leaveReply returns the answer to a goodbye, and reports its error.
func (rg *registry) leaveReply(e domain.AliasError, left bool) ports.AliasReply {
	if e.Err != nil {
		return ports.AliasReply{Message: rg.failed("drop the alias", e)}
	}
	return ports.AliasReply{Success: true, Updated: left}
}

// failAlias returns a function that answers a request about an alias with a failure.
func failAlias(reply func(ports.AliasReply)) func(message string) {
	return func(message string) { reply(ports.AliasReply{Message: message}) }
}

// failed reports the full error of a registration as an event, and returns what the peer may know.
func (c *aliasConn) failed(r domain.Register, err error) string {
	return c.registry.failed("register alias", c.aliasError(r, err))
}

func (c *aliasConn) aliasError(r domain.Register, err error) domain.AliasError {
	return domain.AliasError{UID: c.uid, Peer: c.peer, Alias: r.Alias, Key: r.Key, Err: err}
}

// failed reports an event, and returns what the peer may know of it: the uid, and the reason if its request caused it.
func (rg *registry) failed(to string, e domain.AliasError) string {
	tell(rg.scraper.cfg.OnEvent, e)
	message := fmt.Sprintf("Failed to %s (uid %s)", to, e.UID)
	if causedByRequest(e.Err) {
		message = fmt.Sprintf("%s: %s", message, e.Err)
	}
	return message
}

// causedByRequest reports whether a peer may know an error.
func causedByRequest(err error) bool {
	return errors.Is(err, domain.ErrName) || errors.Is(err, domain.ErrTableFull) || errors.Is(err, errOverloaded) ||
		errors.Is(err, errNoProof) || errors.Is(err, domain.ErrSet) || errors.Is(err, domain.ErrNotLeader) ||
		errors.Is(err, domain.ErrStoreUnreachable) || errors.Is(err, domain.ErrClosed) || refusalReason(err) != ""
}

func (rg *registry) pendingFor(a domain.Alias) bool { return rg.pending[a] != nil }

// current returns an alias's newest entry, including those being written.
func (rg *registry) current(a domain.Alias) (domain.Entry, bool) {
	if p := rg.pending[a]; p != nil {
		return p.entry, !p.gone
	}
	return rg.scraper.table.Get(a)
}

// register checks a registration, makes it durable and then applies it. done may be called in the same turn when it is rejected.
func (rg *registry) register(r domain.Register, id domain.Identity, done func(domain.Change, error)) {
	s := rg.scraper
	old, known := rg.current(r.Alias)
	e := r.Entry(old, s.now(), s.cfg.Expiry)
	e.Identity, e.IdentityID = id.Name, id.ID
	reject := func(reason string, err error) {
		rg.reject(id, reason)
		done(domain.Change{}, err)
	}
	if err := e.Check(); err != nil {
		reject(domain.ReasonBadName, err)
		return
	}
	if err := s.permits(id, e.Alias, old, known); err != nil {
		reject(refusalReason(err), err)
		return
	}
	switch {
	case s.closed:
		reject(domain.ReasonStore, errClosing)
		return
	case s.loading() != nil:
		reject(domain.ReasonStore, s.loading())
		return
	case rg.moving[e.Alias] || s.belongsToAnother(e, old, known):
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
	rg.writes++
	shared := rg.appear(e)
	s.cfg.Store.Put(s.shown(e), func(err error) {
		rg.writes--
		rg.end(e.Alias, p)
		if rg.retired {
			reject(domain.ReasonStore, domain.ErrNotLeader)
			return
		}
		defer s.written(e.Alias)
		if now, exists := rg.current(e.Alias); err != nil && (!exists || now.Key != e.Key) {
			rg.vanishOf(e)
			rg.reappear(e.Alias, p)
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
		rg.accept(id)
		change.Shared = shared
		done(change, nil)
	})
}

// leave removes an alias at its client's own request. Only the key that has the alias can give it up, and only the last process
// that registered under it: a goodbye is ignored after another client or the next instance took the alias over. A goodbye during a takeover,
// of either client, waits until that is durable: it may fail, and then the alias remains the former client's. So does one that is repeated
// while the alias is being removed.
func (rg *registry) leave(r domain.Register, done func(left bool, err error)) {
	switch {
	case !rg.scraper.leads():
		done(false, domain.ErrNotLeader)
		return
	case rg.scraper.closed:
		done(false, errClosing)
		return
	}
	if r.Alias == "" {
		rg.leaveSet(r, done)
		return
	}
	if p := rg.pending[r.Alias]; p.unsettled(party{key: r.Key}) {
		rg.leaveLater(p, r, done)
		return
	}
	old, known := rg.current(r.Alias)
	if !known || old.Key != r.Key || old.InSet {
		done(false, nil)
		return
	}
	process, ran := rg.processes(r).find(r.Instance)
	if !rg.departs(r) {
		done(false, nil)
		return
	}
	rg.drop(old, func(err error) {
		if err == nil {
			rg.scraper.stats.Left++
		} else if ran {
			rg.processes(r).restore(process)
		}
		done(err == nil, err)
	})
}

// leaveLater is leave when the writes of an alias have ended.
func (rg *registry) leaveLater(p *pendingAlias, r domain.Register, done func(left bool, err error)) {
	if len(p.leaving) >= maxInstances {
		done(false, errOverloaded)
		return
	}
	p.leaving = append(p.leaving, rg.leaveAfter(r, done))
}

// leaveAfter returns a function that leaves, unless the process has registered again since.
func (rg *registry) leaveAfter(r domain.Register, done func(left bool, err error)) func() {
	asked := rg.scraper.cfg.Host.Now()
	return func() {
		switch {
		case rg.retired:
			done(false, domain.ErrNotLeader)
		case rg.processes(r).registeredAfter(asked, r.Instance):
			done(false, nil)
		default:
			rg.leave(r, done)
		}
	}
}

// drop removes an entry from the store, and then from the table.
func (rg *registry) drop(e domain.Entry, done func(error)) {
	s := rg.scraper
	p := rg.begin(e)
	p.gone = true
	rg.writes++
	s.cfg.Store.Delete([]domain.Alias{e.Alias}, func(err error) {
		rg.writes--
		rg.end(e.Alias, p)
		switch {
		case rg.retired:
			done(domain.ErrNotLeader)
			return
		case err != nil:
			s.storeDone(err)
			done(err)
			s.written(e.Alias)
			return
		}
		done(nil) // first, because its answer may use the session's connection, which closes with the entry
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
		now, known := rg.scraper.table.Get(e.Alias)
		p = &pendingAlias{isNew: !known}
		rg.pending[e.Alias] = p
		if p.isNew {
			rg.fresh++
		} else {
			p.parties = append(p.parties, partyOf(now))
		}
	}
	if !slices.Contains(p.parties, partyOf(e)) {
		p.parties = append(p.parties, partyOf(e))
	}
	p.entry, p.gone = e, false
	p.count++
	return p
}

func (rg *registry) end(a domain.Alias, p *pendingAlias) {
	if p.count--; p.count == 0 {
		delete(rg.pending, a)
		if p.isNew {
			rg.fresh--
		}
		for _, leave := range p.leaving {
			rg.scraper.cfg.Host.Post(leave)
		}
	}
}
