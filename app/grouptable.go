package app

import (
	"fmt"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// This file has the table of a member of a group: that of the store while another member leads, its own while it leads itself.

// follow takes the table from the store, all of it first.
func (m *membership) follow() { m.scraper.cfg.Store.(ports.SharedStore).Follow(m.onChange) }

func (m *membership) onChange(c domain.TableChange) {
	s := m.scraper
	if s.closed || m.term != 0 {
		return // the whole table follows after this term
	}
	if c.Whole {
		c = m.whole(c)
		tell(s.cfg.OnEvent, domain.LoadAliases{Entries: len(c.Put), Skipped: c.Bad})
	}
	changed := false
	for _, e := range c.Put {
		changed = m.apply(e) || changed
	}
	for _, a := range c.Delete {
		if old, known := s.table.Get(a); known {
			s.forget(a)
			m.dismiss(old.Key)
			changed = true
		}
	}
	for _, p := range c.Pins {
		s.pins[p.Alias] = p
	}
	for _, a := range c.Unpinned {
		delete(s.pins, a)
	}
	if changed {
		s.targets.changed()
	}
	m.load()
}

// whole adds to a whole table what it does not have any more.
func (m *membership) whole(c domain.TableChange) domain.TableChange {
	s := m.scraper
	kept := map[domain.Alias]bool{}
	for _, e := range c.Put {
		kept[e.Alias] = true
	}
	for _, e := range s.table.Entries() {
		if !kept[e.Alias] {
			c.Delete = append(c.Delete, e.Alias)
		}
	}
	clear(s.pins)
	return c
}

// apply puts an entry of the store into the table, and reports whether more than its times has changed.
func (m *membership) apply(e domain.Entry) (changed bool) {
	s := m.scraper
	if by := s.set(); by != 0 {
		e.Registered, e.Renewed, e.Expires = e.Registered.Add(-by), e.Renewed.Add(-by), e.Expires.Add(-by)
	}
	old, _ := s.table.Get(e.Alias)
	change := e.ChangeFrom(old)
	if e.Check() != nil || s.table.Put(e) != nil {
		return false // the leader reports it
	}
	if !change.TakenFrom.IsZero() {
		delete(s.scrapes, e.Alias) // they were another client's
		m.dismiss(change.TakenFrom)
	}
	if e.Renewed.After(old.Renewed) {
		m.heard(e.Key)
	}
	if s.loaded && s.holds(e.Key) {
		s.session(e.Key).Nudge()
	}
	return change.Updated
}

// dismiss closes the session with a client that has no alias any more. Its holder notifies it.
func (m *membership) dismiss(key domain.PublicKey) {
	switch s := m.scraper; {
	case s.table.Serves(key):
	case s.holds(key):
		s.release(key)
	default:
		s.hangUp(key)
	}
}

// load makes the table complete, the first time that this member has it.
func (m *membership) load() {
	s := m.scraper
	if s.loaded {
		return
	}
	s.loaded = true
	if s.cfg.OnLoaded != nil {
		s.cfg.OnLoaded()
	}
	m.hold()
	s.targets.begin(m.beginMaybe)
}

// onLead begins a term.
func (m *membership) onLead(term int64) {
	if m.scraper.closed {
		return
	}
	m.term, m.ruling = term, false
	tell(m.scraper.cfg.OnEvent, domain.GroupLead{Term: term})
	m.reload(term)
}

// reload reads the table for a term of this member.
func (m *membership) reload(term int64) {
	s := m.scraper
	ended := func() bool { return m.term != term || s.closed }
	fail := func(err error) {
		tell(s.cfg.OnEvent, domain.LoadAliasesError{Err: err})
		s.cfg.Host.AfterFunc(reloadWait, func() {
			if !ended() {
				m.reload(term)
			}
		})
	}
	s.cfg.Store.Load(func(entries []domain.Entry, bad []error, err error) {
		switch {
		case ended():
			return
		case err != nil:
			fail(fmt.Errorf("loading aliases: %w", err))
			return
		}
		clear(s.pins)
		s.loadPins(func(badPins []error, err error) {
			if err == nil {
				err = s.checkStored(entries)
			}
			switch {
			case ended():
			case err != nil:
				fail(fmt.Errorf("loading pins: %w", err))
			default:
				m.rule(entries, append(bad, badPins...))
			}
		})
	})
}

// rule takes the table of the store as this member's own, as a scraper that starts does: no entry is younger than at its last registration,
// and none ends before its client had time to register here.
func (m *membership) rule(entries []domain.Entry, bad []error) {
	s, term := m.scraper, m.term
	s.clock = newClock(s.cfg.Clock.Now(), s.cfg.Host.Now())
	old := s.table
	s.table = domain.NewTable(s.cfg.MaxAliases)
	s.graces = newGraces()
	s.registry = s.registry.succeed()
	m.ruling = true
	s.load(entries, bad)
	for _, e := range old.Entries() {
		now, known := s.table.Get(e.Alias)
		if !known || now.Key != e.Key {
			delete(s.scrapes, e.Alias)
			m.dismiss(e.Key)
		}
	}
	next := func() {
		if m.term == term {
			m.serve()
		}
	}
	if len(entries) == 0 && len(bad) == 0 && s.cfg.Import != nil {
		s.importOnce(next)
	} else {
		next()
	}
}

// serve listens for registrations.
func (m *membership) serve() {
	s := m.scraper
	s.targets.changed()
	m.load()
	m.hold()
	m.review()
	s.listen(func(err error) {
		if err != nil {
			tell(s.cfg.OnEvent, domain.GroupListenError{Err: err})
		}
	})
}

// onFollow ends a term.
func (m *membership) onFollow() {
	s, term := m.scraper, m.term
	m.term, m.ruling = 0, false
	if s.listener != nil {
		s.listener.Close(func() {})
		s.listener, s.ready = nil, false
		s.expiry.Stop()
	}
	s.registry = s.registry.succeed()
	tell(s.cfg.OnEvent, domain.GroupFollow{Term: term})
	if !s.closed {
		m.follow()
	}
}
