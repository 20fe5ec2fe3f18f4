package app

import (
	"fmt"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Start loads the alias table, connects to its clients and then listens for registrations. done is called when it listens, or
// with the error that prevents it; then the scraper should be closed.
func (s *Scraper) Start(done func(error)) {
	if s.started || s.closed {
		s.cfg.Host.Post(func() { done(fmt.Errorf("scraper %w", errStarted)) })
		return
	}
	s.started = true
	s.cfg.Store.OnDamage(s.damaged)
	s.clock = newClock(s.cfg.Clock.Now(), s.cfg.Host.Now())
	s.nudges.watch()
	if s.group != nil {
		s.group.join(done)
		return
	}
	fail := func(err error) {
		tell(s.cfg.OnEvent, domain.LoadAliasesError{Err: err})
		done(err)
	}
	s.cfg.Store.Load(func(entries []domain.Entry, bad []error, err error) {
		switch {
		case s.closed:
		case err != nil:
			fail(fmt.Errorf("loading aliases: %w", err))
		default:
			s.loadPins(func(badPins []error, err error) {
				switch {
				case s.closed:
				case err != nil:
					fail(fmt.Errorf("loading pins: %w", err))
				default:
					if err := s.checkStored(entries); err != nil {
						fail(err)
						return
					}
					bad = append(bad, badPins...)
					begin := func() { s.begin(done) }
					s.load(entries, bad)
					if len(entries) == 0 && len(bad) == 0 && s.cfg.Import != nil {
						s.importOnce(begin)
					} else {
						begin()
					}
				}
			})
		}
	})
}

// damaged records damage that the store has repaired.
func (s *Scraper) damaged(d domain.StoreDamage) {
	d.At = s.cfg.Clock.Now()
	s.stats.StoreDamages++
	s.damages = append(s.damages, d)
	if len(s.damages) > domain.MaxDamages {
		s.damages = slices.Delete(s.damages, 0, 1)
	}
	tell(s.cfg.OnEvent, domain.StoreDamaged{Damage: d})
}

// Damages lists the store's last repairs since the start, oldest first.
func (s *Scraper) Damages() []domain.StoreDamage { return slices.Clone(s.damages) }

func (s *Scraper) loadPins(next func(bad []error, err error)) {
	store, ok := s.pinStore()
	if !ok {
		next(nil, nil)
		return
	}
	store.LoadPins(func(pins []domain.Pin, bad []error, err error) {
		for _, p := range pins {
			s.pins[p.Alias] = p
		}
		next(bad, err)
	})
}

func (s *Scraper) load(entries []domain.Entry, bad []error) {
	for _, e := range entries {
		err := e.Check()
		if err == nil {
			err = s.table.Put(s.bridge(e))
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("alias %q: %w", e.Alias, err))
		} else if !e.Instance.IsZero() && !e.InSet {
			s.registry.appear(e)
		}
	}
	s.registry.loadSets(s.table.Entries())
	s.revokeStored(s.table.Entries())
	tell(s.cfg.OnEvent, domain.LoadAliases{Entries: s.table.Len(), Skipped: bad})
}

// importOnce imports the aliases of another program if the store was empty. They have the full time to register again. An
// unreadable file does not prevent the start.
func (s *Scraper) importOnce(next func()) {
	s.cfg.Import.Read(func(aliases []domain.Register, bad []error, err error) {
		if s.closed {
			return
		}
		if err != nil {
			tell(s.cfg.OnEvent, domain.ImportAliasesError{Err: err})
		}
		imported := 0
		writes := host.NewJoin(func() {
			if s.closed {
				return
			}
			if imported > 0 || len(bad) > 0 {
				tell(s.cfg.OnEvent, domain.ImportAliases{Entries: imported, Skipped: bad})
			}
			next()
		})
		now, begun := s.now(), writes.Add()
		for _, r := range aliases {
			e := r.Entry(domain.Entry{}, now, s.cfg.Expiry)
			err := e.Check()
			if err == nil {
				err = s.table.Put(e)
			}
			if err != nil {
				bad = append(bad, fmt.Errorf("alias %q: %w", clip(string(r.Alias)), err))
				continue
			}
			imported++
			written := writes.Add()
			s.cfg.Store.Put(s.shown(e), func(err error) {
				s.storeDone(err)
				written()
			})
		}
		begun()
	})
}

// clip shortens a name that may have been rejected for its length.
func clip(name string) string { return name[:min(len(name), domain.MaxAlias)] }

// begin connects to the clients of the table and listens.
func (s *Scraper) begin(done func(error)) {
	s.loaded = true
	if s.cfg.OnLoaded != nil {
		s.cfg.OnLoaded()
	}
	for _, e := range s.table.Entries() {
		s.session(e.Key)
	}
	s.targets.begin(func() {
		if !s.closed {
			s.listen(done)
		}
	})
}
