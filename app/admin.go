package app

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// This file has the operator's changes to a running scraper.

var (
	errNoPins  = errors.New("pinning is not supported by this store")
	errNoAlias = fmt.Errorf("%w: name the key to pin it to", domain.ErrUnknownAlias)
)

// Forget removes an alias as if it had expired. A running client restores it with its next registration; Pin prevents that. done
// is called when the change is durable.
func (s *Scraper) Forget(a domain.Alias, done func(found bool, err error)) {
	e, known := s.registry.current(a)
	if !known || s.closed || s.loading() != nil {
		s.cfg.Host.Post(func() { done(false, s.loading()) })
		return
	}
	s.registry.drop(e, func(err error) {
		if err == nil {
			s.stats.Forgotten++
			tell(s.cfg.OnEvent, domain.AliasForgotten{Entry: e})
		}
		done(true, err)
	})
}

// loading returns the reason for which the table cannot be changed: it is not loaded yet, or another member of the group leads.
func (s *Scraper) loading() error {
	switch {
	case !s.loaded:
		return domain.ErrNotLoaded
	case !s.leads():
		return s.group.notLeader()
	}
	return nil
}

// pinStore returns the store if it keeps pins.
func (s *Scraper) pinStore() (ports.PinStore, bool) {
	store, ok := s.cfg.Store.(ports.PinStore)
	return store, ok
}

// Pin pins an alias to a key, its current one when key is zero. An alias with another key is removed. done is called when the pin
// is durable.
func (s *Scraper) Pin(a domain.Alias, key domain.PublicKey, done func(domain.Pin, error)) {
	e, known := s.registry.current(a)
	refuse := func(err error) { s.cfg.Host.Post(func() { done(domain.Pin{}, err) }) }
	if key.IsZero() {
		key = e.Key
	}
	p := domain.Pin{Alias: a, Key: key, Since: s.cfg.Clock.Now()}
	_, again := s.pins[a]
	store, ok := s.pinStore()
	switch {
	case !ok:
		refuse(errNoPins)
		return
	case s.closed:
		refuse(domain.ErrClosed)
		return
	case s.loading() != nil:
		refuse(s.loading())
		return
	case key.IsZero():
		refuse(errNoAlias)
		return
	case p.Check() != nil:
		refuse(p.Check())
		return
	case !again && len(s.pins) >= s.cfg.MaxAliases:
		refuse(fmt.Errorf("%w: %d pins", domain.ErrTableFull, s.cfg.MaxAliases))
		return
	}
	written := s.writePin(a)
	store.PutPin(p, func(err error) {
		written()
		if err != nil {
			s.storeDone(err)
			done(domain.Pin{}, err)
			return
		}
		s.pins[a] = p
		tell(s.cfg.OnEvent, domain.AliasPinned{Pin: p})
		if e, known = s.registry.current(a); known && e.Key != key {
			s.registry.drop(e, func(err error) { done(p, err) })
			return
		}
		done(p, nil)
	})
}

// writePin begins a change of a pin by the operator, until written is called. No set moves the pin meanwhile.
func (s *Scraper) writePin(a domain.Alias) (written func()) {
	pinning := s.registry.pinning
	pinning[a]++
	return func() {
		if pinning[a]--; pinning[a] == 0 {
			delete(pinning, a)
		}
	}
}

// Unpin removes a pin. done is called when that is durable.
func (s *Scraper) Unpin(a domain.Alias, done func(found bool, err error)) {
	p, found := s.pins[a]
	store, ok := s.pinStore()
	if !found || !ok || s.closed || s.loading() != nil {
		s.cfg.Host.Post(func() { done(false, s.loading()) })
		return
	}
	written := s.writePin(a)
	store.DeletePin(a, func(err error) {
		written()
		if err != nil {
			s.storeDone(err)
		} else {
			delete(s.pins, a)
			tell(s.cfg.OnEvent, domain.AliasUnpinned{Pin: p})
		}
		done(true, err)
	})
}

// Pins lists the pins by alias.
func (s *Scraper) Pins() []domain.Pin {
	return slices.SortedFunc(maps.Values(s.pins), func(a, b domain.Pin) int {
		return strings.Compare(string(a.Alias), string(b.Alias))
	})
}

// holder returns the key that an alias is bound to: by a pin, or by PinAliases while its entry lives.
func (s *Scraper) holder(a domain.Alias, old domain.Entry, known bool) (key domain.PublicKey, held bool) {
	if p, pinned := s.pins[a]; pinned {
		return p.Key, true
	}
	return old.Key, s.cfg.PinAliases && known && !s.expired(old)
}

// belongsToAnother reports whether a registration would take an alias from the key that it is bound to.
func (s *Scraper) belongsToAnother(e, old domain.Entry, known bool) bool {
	holder, held := s.holder(e.Alias, old, known)
	return held && holder != e.Key
}

// Alias returns the details of an alias.
func (s *Scraper) Alias(a domain.Alias) (domain.AliasDetail, bool) {
	e, known := s.table.Get(a)
	if !known {
		return domain.AliasDetail{}, false
	}
	scrapes := s.scrapes[a]
	d := domain.AliasDetail{AliasStatus: s.status(e), Pin: s.pins[a], Scrapes: scrapes.Scrapes(), Timeline: scrapes.Timeline()}
	if held := s.sessions[e.Key]; held != nil {
		d.History, d.Paths, d.Detour = held.history.Changes(), held.history.paths.Spans(), held.detour()
	}
	return d, true
}

// Scrapes lists the last scrapes of an alias, oldest first.
func (s *Scraper) Scrapes(a domain.Alias) []domain.Scrape { return s.scrapes[a].Scrapes() }

// Refusals lists the last rejected registrations, oldest first.
func (s *Scraper) Refusals() []domain.Refusal { return s.registry.refused.Refusals() }
