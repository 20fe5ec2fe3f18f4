package portstest

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// Disk is the durable part of a Store, which survives kill -9.
type Disk struct {
	Entries map[domain.Alias]domain.Entry
	Pins    map[domain.Alias]domain.Pin
	Bad     []error // reported by Load
	Fail    error   // when set, every operation fails with it
	Hold    bool    // when set, changes wait until Release
	held    []func()
}

// NewDisk returns an empty disk.
func NewDisk() *Disk {
	return &Disk{Entries: map[domain.Alias]domain.Entry{}, Pins: map[domain.Alias]domain.Pin{}}
}

// Release carries out the changes that were held, in order.
func (d *Disk) Release() {
	d.Hold = false
	held := d.held
	d.held = nil
	for _, f := range held {
		f()
	}
}

// apply makes a change, all of it at once.
func (d *Disk) apply(c domain.TableChange) {
	for _, a := range c.Delete {
		delete(d.Entries, a)
	}
	for _, e := range c.Put {
		d.Entries[e.Alias] = e
	}
	for _, a := range c.Unpinned {
		delete(d.Pins, a)
	}
	for _, p := range c.Pins {
		d.Pins[p.Alias] = p
	}
}

// entries lists the entries by alias.
func (d *Disk) entries() []domain.Entry {
	return slices.SortedFunc(maps.Values(d.Entries), func(a, b domain.Entry) int {
		return strings.Compare(string(a.Alias), string(b.Alias))
	})
}

// pins lists the pins by alias.
func (d *Disk) pins() []domain.Pin {
	return slices.SortedFunc(maps.Values(d.Pins), func(a, b domain.Pin) int {
		return strings.Compare(string(a.Alias), string(b.Alias))
	})
}

// Store is an in-memory alias store.
type Store struct {
	loop   host.Loop
	disk   *Disk
	group  *member // nil for a store that is not shared
	closed bool

	onDamage func(domain.StoreDamage)
}

// NewStore opens a store on a disk.
func NewStore(loop host.Loop, disk *Disk) *Store { return &Store{loop: loop, disk: disk} }

var errStoreClosed = errors.New("store is closed")

func (s *Store) err() error {
	if s.closed {
		return errStoreClosed
	}
	return cmp.Or(s.disk.Fail, s.group.readable())
}

// Load returns the content of the disk.
func (s *Store) Load(done func([]domain.Entry, []error, error)) {
	s.loop.Post(func() {
		if err := s.err(); err != nil {
			done(nil, nil, err)
			return
		}
		done(s.disk.entries(), s.disk.Bad, nil)
	})
}

func (s *Store) change(c domain.TableChange, done func(error)) {
	closed := s.closed
	run := func() {
		s.loop.Post(func() {
			if closed {
				done(errStoreClosed)
				return
			}
			if err := cmp.Or(s.disk.Fail, s.group.writable()); err != nil {
				done(err)
				return
			}
			s.disk.apply(c)
			s.group.changed(c)
			done(nil)
		})
	}
	if s.disk.Hold {
		s.disk.held = append(s.disk.held, run)
		return
	}
	run()
}

// OnDamage sets the handler of Damage.
func (s *Store) OnDamage(f func(domain.StoreDamage)) { s.onDamage = f }

// Damage reports damage.
func (s *Store) Damage(d domain.StoreDamage) { s.loop.Post(func() { s.onDamage(d) }) }

// Put sets an entry.
func (s *Store) Put(e domain.Entry, done func(error)) {
	s.change(domain.TableChange{Put: []domain.Entry{e}}, done)
}

// PutSet changes the entries of a set.
func (s *Store) PutSet(c domain.SetChange, done func(error)) {
	s.change(domain.TableChange{Put: slices.Clone(c.Put), Delete: slices.Clone(c.Delete), Pins: slices.Clone(c.Pins)}, done)
}

// Delete removes aliases.
func (s *Store) Delete(aliases []domain.Alias, done func(error)) {
	s.change(domain.TableChange{Delete: slices.Clone(aliases)}, done)
}

// LoadPins lists the pins.
func (s *Store) LoadPins(done func([]domain.Pin, []error, error)) {
	s.loop.Post(func() {
		if err := s.err(); err != nil {
			done(nil, nil, err)
			return
		}
		done(s.disk.pins(), nil, nil)
	})
}

// PutPin sets a pin.
func (s *Store) PutPin(p domain.Pin, done func(error)) {
	s.change(domain.TableChange{Pins: []domain.Pin{p}}, done)
}

// DeletePin removes a pin.
func (s *Store) DeletePin(a domain.Alias, done func(error)) {
	s.change(domain.TableChange{Unpinned: []domain.Alias{a}}, done)
}

// Close closes the store.
func (s *Store) Close(done func(error)) {
	closed := s.closed
	s.closed = true
	run := func() {
		s.loop.Post(func() {
			if closed {
				done(errStoreClosed)
				return
			}
			done(nil)
		})
	}
	if s.disk.Hold {
		s.disk.held = append(s.disk.held, run)
		return
	}
	run()
}

// Source is a metrics source that a test controls.
type Source struct {
	loop     host.Loop
	Body     []byte
	Status   int // 200 by default
	Err      error
	Silent   bool // never answers
	Asked    int
	Canceled int
	Last     domain.ScrapeRequest
}

// NewSource returns a source that answers with text.
func NewSource(loop host.Loop, text string) *Source { return &Source{loop: loop, Body: []byte(text)} }

// Scrape answers in a later turn.
func (s *Source) Scrape(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	s.Asked++
	s.Last = r
	c := &counted{Scrape: Nothing{}, source: s}
	if s.Silent {
		return c
	}
	onEnd := h.OnEnd
	h.OnEnd = func(err error) {
		c.over = true
		onEnd(err)
	}
	page := scrape.Text(slices.Clone(s.Body))
	page.Status = cmp.Or(s.Status, page.Status)
	c.Scrape = scrape.Send(s.loop, page, s.Err, h)
	return c
}

// counted counts the cancellations of a source's scrapes.
type counted struct {
	ports.Scrape
	source *Source
	over   bool
}

// Cancel implements ports.Scrape.
func (c *counted) Cancel() {
	if c.over {
		return
	}
	c.over = true
	c.source.Canceled++
	c.Scrape.Cancel()
}

// Targets records the last write.
type Targets struct {
	loop    host.Loop
	Entries []domain.Entry
	Writes  int
	Err     error
}

// NewTargets returns an empty targets file.
func NewTargets(loop host.Loop) *Targets { return &Targets{loop: loop} }

// Write replaces the content.
func (t *Targets) Write(entries []domain.Entry, done func(error)) {
	entries = slices.Clone(entries)
	t.loop.Post(func() {
		if t.Err == nil {
			t.Entries, t.Writes = entries, t.Writes+1
		}
		done(t.Err)
	})
}

var (
	_ ports.AliasStore    = (*Store)(nil)
	_ ports.PinStore      = (*Store)(nil)
	_ ports.MetricsSource = (*Source)(nil)
	_ ports.TargetsFile   = (*Targets)(nil)
	_ ports.Clock         = (*Clock)(nil)
)

// Answer answers a scrape at once, with a text of at most ports.MaxPiece bytes or an error.
func Answer(h ports.ScrapeHandlers, text string, err error) {
	if err == nil {
		h.OnHead(scrape.Text([]byte(text)).ScrapeHead)
		h.OnData([]byte(text))
	}
	h.OnEnd(err)
}

// Nothing is a scrape that a fake never answers.
type Nothing struct{}

// Consumed does nothing.
func (Nothing) Consumed(int) {}

// Cancel does nothing.
func (Nothing) Cancel() {}
