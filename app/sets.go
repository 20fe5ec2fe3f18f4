package app

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// clientSet is the set of targets that a client has registered, as far as the table has any of them.
type clientSet struct {
	key      domain.PublicKey
	targets  domain.TargetSet // those of the client that are valid; some may belong to others
	bad      []domain.Alias   // the others
	revision domain.Revision  // of all, as the client has named it
	running  instances        // client processes that registered it
	busy     bool             // a change is being written
	leaving  []func()         // goodbyes that wait for that
}

// setChange is a change of a set while it is checked and written.
type setChange struct {
	set      *clientSet
	identity domain.Identity
	request  ports.SetRequest
	next     domain.TargetSet
	bad      []domain.Alias
	rejected []domain.RejectedTarget
	write    domain.SetChange
	pending  []*pendingAlias // of write.Put, and then write.Delete
	former   map[domain.Alias]domain.PublicKey
	added    int
	taken    []domain.PublicKey // the clients that had one of the aliases, in the order of those
}

// setResult is the result of the registration of a set.
type setResult struct {
	need      ports.Need
	change    domain.SetTargets // without the peer
	shared    bool
	elsewhere bool // see ports.AliasReply
	rejected  []domain.RejectedTarget
}

var (
	errSetBusy   = fmt.Errorf("%w: an earlier registration of the set is being written", errOverloaded)
	errContested = fmt.Errorf("%w: another registration of a target that the set drops is being written", errOverloaded)
	errSetsFull  = fmt.Errorf("%w: the sets of all clients have as many targets", domain.ErrTableFull)
	errNoContent = fmt.Errorf("%w: it has no key or no revision", domain.ErrSet)
)

// onSet answers the registration of a set.
func (c *aliasConn) onSet(req ports.SetRequest, reply func(ports.SetReply)) {
	r := domain.Register{Key: req.Key, Instance: req.Instance}
	fail := func(message string) { reply(ports.SetReply{Message: message}) }
	id, ok := c.authorize(req.Secret, r, fail)
	if !ok {
		return
	}
	s := c.registry.scraper
	if !req.Proven { // all clients with sets prove their keys
		// Any holder of the secret could drop another client's aliases by a set without them, or give it targets under a revision of its own.
		c.registry.recordRejection(c, id, "", domain.ReasonNoProof)
		fail(c.failed(r, errNoProof))
		return
	}
	c.registry.registerSet(req, id, func(res setResult, err error) {
		if err != nil {
			fail(c.failed(r, err))
			return
		}
		c.registry.recordRefusals(c, res.rejected)
		c.registry.report(res, c.uid, c.peer)
		res.elsewhere = !s.takes(req.Key)
		if held := s.sessions[req.Key]; held != nil && res.need == ports.NeedNothing && req.Unconnected && c.registry.leads(r) {
			held.reconnectIfOlder(c.opened)
		}
		reply(res.reply())
	})
}

// setOverSession answers a registration on the connection of the session with its key.
func (rg *registry) setOverSession(req ports.SetRequest, link *sessionLink, reply func(ports.SetReply)) {
	uid, peer := link.uid, link.peer
	id, reason, message := rg.check(link.limit, req.Secret, domain.AliasUnauthorised{UID: uid, Peer: peer, Register: domain.Register{Key: req.Key}})
	if reason != "" {
		reply(ports.SetReply{Message: message})
		return
	}
	rg.registerSet(req, id, func(res setResult, err error) {
		if err != nil {
			reply(ports.SetReply{Message: rg.failed("register the set", domain.AliasError{UID: uid, Peer: peer, Key: req.Key, Err: err})})
			return
		}
		rg.report(res, uid, peer)
		reply(res.reply())
	})
}

// report reports a registered set as an event.
func (rg *registry) report(res setResult, uid domain.UID, peer domain.Peer) {
	if res.need == ports.NeedNothing {
		e := res.change
		e.UID, e.Peer = uid, peer
		tell(rg.scraper.cfg.OnEvent, e)
	}
}

func (r setResult) reply() ports.SetReply {
	return ports.SetReply{Success: true, Need: r.need, Updated: r.change.Updated, Shared: r.shared, Elsewhere: r.elsewhere, Rejected: r.rejected}
}

// registerSet checks the registration of a set, makes it durable and then applies it. done may be called in the same turn.
func (rg *registry) registerSet(req ports.SetRequest, id domain.Identity, done func(setResult, error)) {
	c, need, err := rg.checkSet(req, id)
	if err != nil || need != ports.NeedNothing {
		if err != nil {
			rg.reject(id, setReason(err))
		}
		done(setResult{need: need}, err)
		return
	}
	shared := rg.appearSet(c)
	rg.writeSet(c, func(err error) {
		if err != nil {
			rg.reject(id, domain.ReasonStore)
			done(setResult{}, err)
			return
		}
		rg.accept(id)
		done(setResult{change: rg.applySet(c), shared: shared, rejected: c.rejected}, nil)
	})
}

// setReason is the reason for which a whole set is rejected, a label value.
func setReason(err error) string {
	switch {
	case errors.Is(err, errOverloaded):
		return domain.ReasonOverloaded
	case errors.Is(err, domain.ErrTableFull):
		return domain.ReasonTableFull
	case errors.Is(err, domain.ErrClosed), errors.Is(err, domain.ErrNotLoaded), errors.Is(err, domain.ErrNotLeader):
		return domain.ReasonStore
	default:
		return domain.ReasonBadName
	}
}

// checkSet returns the change that a request makes, or what it lacks.
func (rg *registry) checkSet(req ports.SetRequest, id domain.Identity) (c *setChange, need ports.Need, err error) {
	s := rg.scraper
	set := rg.sets[req.Key]
	switch {
	case s.closed:
		return nil, 0, errClosing
	case s.loading() != nil:
		return nil, 0, s.loading()
	case rg.writes >= maxPendingWrites:
		return nil, 0, errOverloaded
	case set != nil && set.busy:
		return nil, 0, errSetBusy
	case req.Key.IsZero() || req.Revision.IsZero():
		return nil, 0, errNoContent
	case set == nil:
		set = &clientSet{key: req.Key}
	}
	c = &setChange{set: set, identity: id, request: req, next: set.targets, bad: set.bad}
	c.write.Client = req.Key
	known := !set.revision.IsZero()
	switch content := req.Content; {
	case content == nil && known && set.revision == req.Revision:
		rg.judge(c, func(domain.Target) bool { return true })
		return c, ports.NeedNothing, nil
	case content == nil && known && set.revision == req.Base:
		return nil, ports.NeedChanges, nil
	case content == nil, !content.Since.IsZero() && content.Since != set.revision:
		return nil, ports.NeedAll, nil
	}
	if err := c.take(*req.Content); err != nil {
		return nil, 0, err
	}
	if rg.targets-set.targets.Len()+c.next.Len() > s.table.Limit()+domain.MaxTargets {
		return nil, 0, errSetsFull
	}
	if rg.contested(set, c.next) != nil {
		return nil, 0, errContested
	}
	// A process that is new to the set renews all entries, since those name the process that is taken for running after a restart.
	_, ran := set.running.find(req.Instance)
	whole, old := req.Content.Since.IsZero() || !ran, s.now().Add(-s.cfg.Expiry/renewedShare)
	rg.judge(c, func(t domain.Target) bool {
		e, ok := rg.current(t.Alias)
		return whole || !ok || e.Key != req.Key || !e.InSet || e.Identity != id.Name || e.IdentityID != id.ID || e.Target() != t || e.Renewed.Before(old)
	})
	return c, ports.NeedNothing, nil
}

// contested returns the write that decides whether the client still has a target that it drops; nil if there is none. It is not the set's own.
func (rg *registry) contested(set *clientSet, next domain.TargetSet) *pendingAlias {
	for t := range set.targets.All() {
		if _, stays := next.Get(t.Alias); stays {
			continue
		}
		if p := rg.pending[t.Alias]; p.unsettled(party{set.key, true}) {
			return p
		}
	}
	return nil
}

// take computes the next set from the content of a request.
func (c *setChange) take(content ports.SetContent) (err error) {
	var valid []domain.Target
	changed := map[domain.Alias]bool{}
	for _, a := range content.Gone {
		changed[a] = true
	}
	var bad []domain.Alias
	gone := slices.Clone(content.Gone)
	for _, t := range content.Targets {
		changed[t.Alias] = true
		if t.Check() != nil {
			shown := domain.Alias(clip(string(t.Alias)))
			changed[shown] = true
			bad = append(bad, shown)
			gone = append(gone, t.Alias)
			continue
		}
		valid = append(valid, t)
	}
	for _, a := range content.Bad {
		changed[a] = true
		bad = append(bad, a)
		gone = append(gone, a)
	}
	if content.Since.IsZero() {
		c.next, err = domain.NewTargetSet(valid)
	} else {
		c.next, err = c.next.With(valid, gone)
		for _, a := range c.bad {
			if !changed[a] {
				bad = append(bad, a)
			}
		}
	}
	c.bad, c.former = bad, content.Former
	if len(bad)+c.next.Len() > domain.MaxTargets {
		err = fmt.Errorf("%w: more than %d targets", domain.ErrSet, domain.MaxTargets)
	}
	return err
}

// judge decides on each target of the next set, and puts into the change those that are due.
func (rg *registry) judge(c *setChange, due func(domain.Target) bool) {
	s, now := rg.scraper, rg.scraper.now()
	register := domain.RegisterSet{Key: c.request.Key, Instance: c.request.Instance}
	reject := func(a domain.Alias, reason string) {
		c.rejected = append(c.rejected, domain.RejectedTarget{Alias: a, Reason: reason})
		rg.reject(c.identity, reason)
	}
	for _, a := range c.bad {
		reject(a, domain.ReasonBadName)
	}
	for t := range c.next.All() {
		if !due(t) {
			continue
		}
		old, known := rg.current(t.Alias)
		e := register.Entry(t, old, now, s.cfg.Expiry)
		e.Identity, e.IdentityID = c.identity.Name, c.identity.ID
		if err := s.permits(c.identity, t.Alias, old, known); err != nil {
			reject(t.Alias, refusalReason(err))
			continue
		}
		if rg.moving[t.Alias] {
			reject(t.Alias, domain.ReasonPinned)
			continue
		}
		if holder, held := s.holder(t.Alias, old, known); held && holder != e.Key {
			if c.former[t.Alias] != holder || rg.pinning[t.Alias] > 0 {
				reject(t.Alias, domain.ReasonPinned)
				continue
			}
			if p, pinned := s.pins[t.Alias]; pinned {
				p.Key = e.Key
				c.write.Pins = append(c.write.Pins, p)
			}
		}
		if !known {
			if s.table.Len()+rg.fresh+c.added >= s.table.Limit() {
				reject(t.Alias, domain.ReasonTableFull)
				continue
			}
			c.added++
		}
		c.write.Put = append(c.write.Put, e)
	}
	for t := range c.set.targets.All() {
		if _, stays := c.next.Get(t.Alias); stays {
			continue
		}
		if e, known := rg.current(t.Alias); known && e.InSet && e.Key == c.request.Key {
			c.write.Delete = append(c.write.Delete, t.Alias)
		}
	}
}

// writeSet makes a change durable. Until then its aliases are pending, and its set is busy.
func (rg *registry) writeSet(c *setChange, done func(error)) {
	s := rg.scraper
	shown := c.write
	shown.Put = make([]domain.Entry, len(c.write.Put))
	for i, e := range c.write.Put {
		shown.Put[i] = s.shown(e)
		c.pending = append(c.pending, rg.begin(e))
	}
	for _, a := range c.write.Delete {
		e, _ := rg.current(a)
		p := rg.begin(e)
		p.gone = true
		c.pending = append(c.pending, p)
	}
	for _, p := range c.write.Pins {
		rg.moving[p.Alias] = true
	}
	c.set.busy = true
	rg.writes++
	more := c.next.Len() - c.set.targets.Len()
	rg.targets += more
	s.cfg.Store.PutSet(shown, func(err error) {
		aliases := c.aliases()
		for i, p := range c.pending {
			rg.end(aliases[i], p)
		}
		for _, p := range c.write.Pins {
			delete(rg.moving, p.Alias)
		}
		if rg.retired {
			done(domain.ErrNotLeader)
			c.set.leave()
			return
		}
		if err != nil {
			for i, p := range c.pending {
				rg.reappear(aliases[i], p)
				if _, known := s.table.Get(aliases[i]); !known && !rg.pendingFor(aliases[i]) {
					rg.vanish(aliases[i]) // its client has left meanwhile
				}
			}
			s.storeDone(err)
			rg.targets -= more
			done(err)
			s.written(aliases...)
			rg.restore(c, &domain.Backoff{})
			return
		}
		rg.written(c.set)
		done(nil)
		c.set.leave()
		s.written(aliases...)
	})
}

// aliases lists those that the change writes, in the order of pending.
func (c *setChange) aliases() []domain.Alias {
	var all []domain.Alias
	for _, e := range c.write.Put {
		all = append(all, e.Alias)
	}
	return append(all, c.write.Delete...)
}

// restore writes what the table has of the aliases of a change that could not be written: the change may be on the disk nevertheless, whole,
// and those that follow are relative to the table. It is repeated until it succeeds, and the set is busy until then. Registrations are judged by
// the table and the pins meanwhile, and what they write is not written over.
func (rg *registry) restore(c *setChange, waits *domain.Backoff) {
	s := rg.scraper
	back := domain.SetChange{Client: c.set.key}
	add := func(a domain.Alias) {
		switch e, known := s.table.Get(a); {
		case rg.pendingFor(a): // a later write decides
		case known:
			back.Put = append(back.Put, s.shown(e))
		default:
			back.Delete = append(back.Delete, a)
		}
	}
	for _, e := range c.write.Put {
		add(e.Alias)
	}
	for _, a := range c.write.Delete {
		add(a)
	}
	for _, p := range c.write.Pins {
		if now, pinned := s.pins[p.Alias]; pinned && rg.pinning[p.Alias] == 0 { // a later write of the operator decides
			back.Pins = append(back.Pins, now)
		}
	}
	s.cfg.Store.PutSet(back, func(err error) {
		if rg.retired {
			c.set.leave()
			return
		}
		if err != nil && !s.closed {
			s.storeDone(err)
			s.cfg.Host.AfterFunc(waits.Next(random(s.cfg.Host)), func() { rg.restore(c, waits) })
			return
		}
		rg.written(c.set)
		rg.vanishSetMaybe(c.set.key)
		c.set.leave()
	})
}

// written ends the write of a set.
func (rg *registry) written(set *clientSet) {
	set.busy = false
	rg.writes--
}

// leave carries out the goodbyes that waited for a write.
func (s *clientSet) leave() {
	leaving := s.leaving
	s.leaving = nil
	for _, leave := range leaving {
		leave()
	}
}

// applySet applies a durable change to the table, and reports it.
func (rg *registry) applySet(c *setChange) domain.SetTargets {
	s, set := rg.scraper, c.set
	e := domain.SetTargets{Key: set.key, Targets: c.next.Len() + len(c.bad), Rejected: len(c.rejected), PinsMoved: len(c.write.Pins)}
	if len(c.rejected) > 0 {
		e.FirstRejected = c.rejected[0]
	}
	changed := false
	for _, put := range c.write.Put {
		old, known := s.table.Get(put.Alias)
		if s.table.Put(put) != nil {
			continue // there was room for it
		}
		s.ungrace(put.Alias)
		rg.vanish(put.Alias)
		change := put.ChangeFrom(old)
		changed = changed || change.Updated
		switch {
		case !known:
			e.Added++
		case change.Updated:
			e.Changed++
		}
		if from := change.TakenFrom; !from.IsZero() {
			s.stats.Takeovers++
			delete(s.scrapes, put.Alias) // they were another client's
			if !slices.Contains(c.taken, from) {
				c.taken = append(c.taken, from)
			}
		}
	}
	for _, a := range c.write.Delete {
		if now, ok := s.table.Get(a); ok && now.InSet && now.Key == set.key {
			s.forget(a)
			e.Removed++
		}
	}
	for _, p := range c.write.Pins {
		s.pins[p.Alias] = p
	}
	e.TakenFrom = len(c.taken)
	set.targets, set.bad, set.revision = c.next, c.bad, c.request.Revision
	for _, from := range c.taken {
		s.release(from)
	}
	if s.table.Serves(set.key) {
		s.callBack(set.key)
	} else {
		s.release(set.key)
	}
	e.Updated = changed || e.Removed > 0
	if e.Updated {
		s.targets.changed()
	}
	return e
}

// leaveSet removes a set at its client's own request, with leave's rules. It waits for a change that is being written, since a client that is
// stopped just after a change does not ask again, and for takeovers of its targets, which may fail.
func (rg *registry) leaveSet(r domain.Register, done func(left bool, err error)) {
	s, set := rg.scraper, rg.sets[r.Key]
	switch {
	case set == nil:
		done(false, nil)
		return
	case set.busy && len(set.leaving) >= maxInstances:
		done(false, errSetBusy)
		return
	case set.busy:
		set.leaving = append(set.leaving, rg.leaveAfter(r, done))
		return
	}
	if p := rg.contested(set, domain.TargetSet{}); p != nil {
		rg.leaveLater(p, r, done)
		return
	}
	process, ran := set.running.find(r.Instance)
	if !rg.departsSet(set, r.Instance) {
		done(false, nil)
		return
	}
	c := &setChange{set: set, request: ports.SetRequest{Key: r.Key}, write: domain.SetChange{Client: r.Key}}
	rg.judge(c, nil)
	rg.writeSet(c, func(err error) {
		if err != nil {
			if ran {
				set.running.restore(process)
			}
			done(false, err)
			return
		}
		s.stats.Left += uint64(len(c.write.Delete))
		done(true, nil) // first, because its answer may use the session's connection, which closes with the entries
		rg.applySet(c)
	})
}

// loadSets recovers the sets from the entries of the table. Of the processes that have written entries of a set, the one that registered last is
// taken for running. The others have mostly left, or register again.
func (rg *registry) loadSets(entries []domain.Entry) {
	members, last := map[domain.PublicKey][]domain.Target{}, map[domain.PublicKey]domain.Entry{}
	for _, e := range entries {
		if !e.InSet {
			continue
		}
		members[e.Key] = append(members[e.Key], e.Target())
		rg.joinSet(&clientSet{key: e.Key})
		if before, ok := last[e.Key]; !ok || e.Renewed.After(before.Renewed) {
			last[e.Key] = e
		}
	}
	for key, targets := range members {
		set := rg.sets[key]
		set.running.add(last[key].Instance, rg.scraper.cfg.Host.Now())
		var err error
		if set.targets, err = domain.NewTargetSet(targets); err == nil { // else the client registers all of them
			set.revision = set.targets.Revision()
			rg.targets += set.targets.Len()
		}
	}
}

// joinSet adds a set that is not known yet.
func (rg *registry) joinSet(set *clientSet) {
	if rg.sets[set.key] == nil {
		rg.sets[set.key] = set
		rg.own(set.key)
	}
}

// vanishSetMaybe removes the set of a client without entries.
func (rg *registry) vanishSetMaybe(key domain.PublicKey) {
	if set := rg.sets[key]; set != nil && !set.busy && !rg.scraper.table.Serves(key) {
		delete(rg.sets, key)
		rg.targets -= set.targets.Len()
		rg.disown(key)
	}
}

// appearSet is appear for a set.
func (rg *registry) appearSet(c *setChange) (shared bool) {
	rg.joinSet(c.set)
	c.set.running.add(c.request.Instance, rg.scraper.cfg.Host.Now())
	return rg.sawOwner(domain.Register{Key: c.set.key, Instance: c.request.Instance})
}

// departsSet is departs for a set.
func (rg *registry) departsSet(set *clientSet, instance domain.Instance) bool {
	rg.leaveOwner(domain.Register{Key: set.key, Instance: instance})
	return set.running.leave(instance)
}
