package app

import (
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
)

// instances are the client processes that registered an alias under its present key. Usually there is one. In a rolling
// restart there are two for a while, and the goodbye of the old one must leave the registration of the new one alone.
type instances struct {
	key    domain.PublicKey
	seen   []instance // in the order of the first registration, maxInstances at most
	shared host.Instant
}

// instance is one of them.
type instance struct {
	id          domain.Instance
	first, last host.Instant // registrations
}

// add notes a registration. It reports whether two processes run under one key: the instance registered before, and
// another one since then.
func (s *instances) add(id domain.Instance, now host.Instant) (shared bool) {
	i := slices.IndexFunc(s.seen, func(o instance) bool { return o.id == id })
	if i < 0 {
		if len(s.seen) == maxInstances {
			oldest := slices.MinFunc(s.seen, func(a, b instance) int { return int(min(max(a.last-b.last, -1), 1)) })
			s.seen = slices.DeleteFunc(s.seen, func(o instance) bool { return o.id == oldest.id })
		}
		s.seen = append(s.seen, instance{id, now, now})
		return false
	}
	shared = slices.ContainsFunc(s.seen, func(o instance) bool { return o.id != id && o.last > s.seen[i].last })
	s.seen[i].last = now
	if shared {
		s.shared = now
	}
	return shared
}

// leave takes the registration of an instance back. It reports whether the alias goes with it: not while another
// instance has registered since this one appeared. One that was silent all that time is held for dead: clients that
// crash say no goodbye, and one that lives registers again.
func (s *instances) leave(id domain.Instance) (last bool) {
	i := slices.IndexFunc(s.seen, func(o instance) bool { return o.id == id })
	if i < 0 {
		return len(s.seen) == 0
	}
	left := s.seen[i]
	s.seen = slices.Delete(s.seen, i, i+1)
	return !slices.ContainsFunc(s.seen, func(o instance) bool { return o.last >= left.first })
}

// register notes the registration of an alias that is on its way to the disk.
func (g *registry) appear(e domain.Entry) {
	s := g.instances[e.Alias]
	if s == nil || s.key != e.Key {
		s = &instances{key: e.Key}
		g.instances[e.Alias] = s
	}
	if s.add(e.Instance, g.scraper.cfg.Host.Now()) {
		g.scraper.stats.SharedIdentities++
		tell(g.scraper.cfg.OnEvent, domain.IdentityShared{Alias: e.Alias, Key: e.Key})
	}
}

// vanish forgets the instances of an alias that is dropped.
func (g *registry) vanish(a domain.Alias) { delete(g.instances, a) }

// departs notes a goodbye and reports whether the alias goes with it.
func (g *registry) departs(r domain.Register) bool {
	s := g.instances[r.Alias]
	return s == nil || s.key != r.Key || s.leave(r.Instance)
}

// sharedIdentity reports whether two running processes registered an alias under one key lately: within the time in
// which both have to register again.
func (g *registry) sharedIdentity(a domain.Alias) bool {
	s := g.instances[a]
	return s != nil && s.shared != 0 && g.scraper.cfg.Host.Now().Sub(s.shared) < g.scraper.cfg.Expiry
}
