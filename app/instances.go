package app

import (
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
)

// instances are the client processes that registered an alias under its current key, usually one. In a rolling restart there are
// two for a while, and the goodbye of the old one must not remove the registration of the new one.
type instances struct {
	key  domain.PublicKey
	seen []instance // in the order of the first registration, maxInstances at most
}

// owner has the client processes that registered under one key, whatever the alias: a copied seed may come with another alias,
// and the connection is the key's.
type owner struct {
	instances
	aliases int             // registered under the key
	newest  domain.Instance // the last one to appear, while it runs; zero for none
	shared  host.Instant    // when two of them were last found to run; zero for never
}

// instance is one client process.
type instance struct {
	id          domain.Instance
	first, last host.Instant // registrations
}

func (in *instances) index(id domain.Instance) int {
	return slices.IndexFunc(in.seen, func(o instance) bool { return o.id == id })
}

// add records a registration. It reports whether two processes run under one key: the instance registered before, and another one
// since then.
func (in *instances) add(id domain.Instance, now host.Instant) (shared bool) {
	i := in.index(id)
	if i < 0 {
		if len(in.seen) == maxInstances {
			oldest := slices.MinFunc(in.seen, func(a, b instance) int { return int(min(max(a.last-b.last, -1), 1)) })
			in.seen = slices.DeleteFunc(in.seen, func(o instance) bool { return o.id == oldest.id })
		}
		in.seen = append(in.seen, instance{id, now, now})
		return false
	}
	shared = slices.ContainsFunc(in.seen, func(o instance) bool { return o.id != id && o.last > in.seen[i].last })
	in.seen[i].last = now
	return shared
}

// leave removes the registration of an instance. It reports whether the alias is to be removed: not while another instance has
// registered since this one appeared. One that was silent all that time counts as dead: clients that crash say no goodbye, and a
// running one registers again.
func (in *instances) leave(id domain.Instance) (last bool) {
	i := in.index(id)
	if i < 0 {
		return len(in.seen) == 0
	}
	left := in.seen[i]
	in.seen = slices.Delete(in.seen, i, i+1)
	return !slices.ContainsFunc(in.seen, func(o instance) bool { return o.last >= left.first })
}

// find returns an instance that has registered.
func (in *instances) find(id domain.Instance) (i instance, ok bool) {
	at := in.index(id)
	if at < 0 {
		return i, false
	}
	return in.seen[at], true
}

// restore restores an instance whose goodbye failed: it may say goodbye again.
func (in *instances) restore(i instance) {
	if in.index(i.id) < 0 && len(in.seen) < maxInstances {
		in.seen = append(in.seen, i)
	}
}

// registeredAfter reports whether an instance has registered after a time.
func (in *instances) registeredAfter(t host.Instant, id domain.Instance) bool {
	i, ok := in.find(id)
	return ok && i.last > t
}

// processes returns the instances of an alias under a key, or of a set.
func (rg *registry) processes(r domain.Register) *instances {
	if set := rg.sets[r.Key]; r.Alias == "" && set != nil {
		return &set.running
	}
	if in := rg.instances[r.Alias]; in != nil && in.key == r.Key {
		return in
	}
	return &instances{}
}

// appear records the registration of an alias that is being written. It reports whether another running process registers under
// the same key.
func (rg *registry) appear(e domain.Entry) (shared bool) {
	now := rg.scraper.cfg.Host.Now()
	s := rg.instances[e.Alias]
	if s == nil || s.key != e.Key {
		p := rg.pending[e.Alias] // nil while the table is loaded
		p.replace(s)
		rg.vanish(e.Alias)
		if s = p.formerOf(e.Key); s == nil {
			s = &instances{key: e.Key}
		}
		rg.instances[e.Alias] = s
		rg.own(e.Key)
	}
	s.add(e.Instance, now)
	return rg.sawOwner(domain.Register{Alias: e.Alias, Key: e.Key, Instance: e.Instance})
}

// own counts an alias, or a set, of a key.
func (rg *registry) own(key domain.PublicKey) {
	if rg.owners[key] == nil {
		rg.owners[key] = &owner{}
	}
	rg.owners[key].aliases++
}

// disown is the inverse of own.
func (rg *registry) disown(key domain.PublicKey) {
	if o := rg.owners[key]; o.aliases > 1 {
		o.aliases--
	} else {
		delete(rg.owners, key)
	}
}

// sawOwner records a registration with the owner of its key. It reports, here and as an event, whether another running process registers
// under that.
func (rg *registry) sawOwner(r domain.Register) (shared bool) {
	now := rg.scraper.cfg.Host.Now()
	o := rg.owners[r.Key]
	if o.index(r.Instance) < 0 {
		o.newest = r.Instance
	}
	if !o.add(r.Instance, now) {
		return false
	}
	o.shared = now
	rg.scraper.stats.SharedIdentities++
	tell(rg.scraper.cfg.OnEvent, domain.IdentityShared{Alias: r.Alias, Key: r.Key})
	return true
}

// vanish removes the instances of a removed alias.
func (rg *registry) vanish(a domain.Alias) {
	s := rg.instances[a]
	if s == nil {
		return
	}
	delete(rg.instances, a)
	rg.disown(s.key)
}

// vanishOf is vanish for an entry that was not written, where its key was the last one to register the alias.
func (rg *registry) vanishOf(e domain.Entry) {
	if s := rg.instances[e.Alias]; s != nil && s.key == e.Key {
		rg.vanish(e.Alias)
	}
}

// replace keeps instances that those of another key replace, since that one's registration may fail.
func (p *pendingAlias) replace(s *instances) {
	if p != nil && s != nil && !slices.Contains(p.former, s) {
		p.former = append(p.former, s)
	}
}

// formerOf returns the instances of a key that were replaced; nil if there are none.
func (p *pendingAlias) formerOf(key domain.PublicKey) *instances {
	if p != nil {
		for _, s := range p.former {
			if s.key == key {
				return s
			}
		}
	}
	return nil
}

// reappear restores the instances of the owner of an alias when no takeover of it was written.
func (rg *registry) reappear(a domain.Alias, p *pendingAlias) {
	now, known := rg.scraper.table.Get(a)
	former := p.formerOf(now.Key)
	if p.count > 0 || rg.instances[a] != nil || former == nil || !known || now.InSet {
		return
	}
	rg.instances[a] = former
	rg.own(now.Key)
}

// departs records a goodbye and reports whether the alias is to be removed.
func (rg *registry) departs(r domain.Register) bool {
	s := rg.instances[r.Alias]
	if s == nil || s.key != r.Key {
		return true
	}
	rg.leaveOwner(r)
	return s.leave(r.Instance)
}

// leaveOwner records a goodbye with the owner of its key.
func (rg *registry) leaveOwner(r domain.Register) {
	o := rg.owners[r.Key]
	if o.leave(r.Instance); o.newest == r.Instance {
		o.newest = domain.Instance{}
	}
}

// leads reports whether a process that has registered may take the connection to its key from another running one: the last one
// to appear may. If both could, they would do so with each renewal, for as long as they run.
func (rg *registry) leads(r domain.Register) bool {
	o := rg.owners[r.Key]
	return o == nil || o.newest.IsZero() || o.newest == r.Instance
}

// sharedIdentity reports whether two running processes registered under one key recently: within the time in which both must
// register again.
func (rg *registry) sharedIdentity(key domain.PublicKey) bool {
	o := rg.owners[key]
	return o != nil && o.shared != 0 && rg.scraper.cfg.Host.Now().Sub(o.shared) < rg.scraper.cfg.Expiry
}
