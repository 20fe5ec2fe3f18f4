package portstest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// bigSet is more entries than any store changes in one transaction.
const bigSet = 700

var sharedBase = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func sharedEntry(alias string, n byte) domain.Entry {
	return domain.Entry{
		Alias: domain.Alias(alias), Key: domain.PublicKey{n, 1}, Hostname: "h:1", Service: "s",
		Registered: sharedBase, Renewed: sharedBase, Expires: sharedBase.Add(time.Hour),
	}
}

func sharedPin(alias string, n byte) domain.Pin {
	return domain.Pin{Alias: domain.Alias(alias), Key: domain.PublicKey{n, 1}, Since: sharedBase}
}

// sharedSet replaces the entries of a large set by others, with a version.
func sharedSet(n byte) (c domain.SetChange) {
	c.Client = domain.PublicKey{n, 1}
	for i := range bigSet {
		e := sharedEntry(fmt.Sprintf("set/%04d", i+int(n)), n)
		e.InSet = true
		c.Put = append(c.Put, e)
	}
	for i := range int(n) {
		c.Delete = append(c.Delete, domain.Alias(fmt.Sprintf("set/%04d", i)))
	}
	c.Pins = []domain.Pin{sharedPin("set/0042", n), sharedPin("set/0043", n)}
	return c
}

// follow records what the store reports.
func (s *scraper) follow() {
	s.world.bench.On(s.name, func() { s.store.Follow(s.onChange) })
}

func (s *scraper) onChange(c domain.TableChange) {
	s.alive("Follow")
	s.changes = append(s.changes, c)
	if c.Whole {
		s.table, s.pins = map[domain.Alias]domain.Entry{}, map[domain.Alias]domain.Pin{}
	}
	if s.table == nil {
		s.world.t.Fatalf("%s: the first change is not the whole table: %v", s.name, c)
	}
	for _, a := range c.Delete {
		delete(s.table, a)
	}
	for _, e := range c.Put {
		s.table[e.Alias] = e
	}
	for _, a := range c.Unpinned {
		delete(s.pins, a)
	}
	for _, p := range c.Pins {
		s.pins[p.Alias] = p
	}
}

// write makes a change and returns its error.
func (s *scraper) write(what string, f func(done func(error))) (err error) {
	s.world.t.Helper()
	over := false
	s.world.bench.On(s.name, func() { f(func(e error) { over, err = true, e }) })
	s.world.until(what, func() bool { return over })
	return err
}

func (s *scraper) mustWrite(what string, f func(done func(error))) {
	s.world.t.Helper()
	if err := s.write(what, f); err != nil {
		s.world.t.Fatalf("%s: %v", what, err)
	}
}

func (s *scraper) mustPut(es ...domain.Entry) {
	s.world.t.Helper()
	for _, e := range es {
		s.mustWrite("Put", func(done func(error)) { s.store.Put(e, done) })
	}
}

// load returns the entries and the pins, by alias.
func (s *scraper) load() (entries map[domain.Alias]domain.Entry, pins map[domain.Alias]domain.Pin) {
	s.world.t.Helper()
	over := false
	s.world.bench.On(s.name, func() {
		s.store.Load(func(es []domain.Entry, bad []error, err error) {
			if err != nil || len(bad) > 0 {
				s.world.t.Errorf("Load: %v, bad %v", err, bad)
			}
			entries = byAlias(es)
			s.store.LoadPins(func(ps []domain.Pin, bad []error, err error) {
				if err != nil || len(bad) > 0 {
					s.world.t.Errorf("LoadPins: %v, bad %v", err, bad)
				}
				pins = pinsByAlias(ps)
				over = true
			})
		})
	})
	s.world.until("the table is loaded", func() bool { return over })
	return entries, pins
}

func byAlias(entries []domain.Entry) map[domain.Alias]domain.Entry {
	m := map[domain.Alias]domain.Entry{}
	for _, e := range entries {
		m[e.Alias] = e
	}
	return m
}

func pinsByAlias(pins []domain.Pin) map[domain.Alias]domain.Pin {
	m := map[domain.Alias]domain.Pin{}
	for _, p := range pins {
		m[p.Alias] = p
	}
	return m
}

func sameTable(a, b map[domain.Alias]domain.Entry) bool {
	return maps.EqualFunc(a, b, func(a, b domain.Entry) bool { return a.Key == b.Key && a.Expires.Equal(b.Expires) })
}

func samePins(a, b map[domain.Alias]domain.Pin) bool {
	return maps.EqualFunc(a, b, func(a, b domain.Pin) bool { return a.Key == b.Key })
}

// follows waits until all scrapers have the table of one of them by Follow, and that is what the store has.
func (gw *groupWorld) follows(all ...*scraper) {
	gw.t.Helper()
	entries, pins := all[0].load()
	gw.until(fmt.Sprintf("%d scrapers follow %d entries", len(all), len(entries)), func() bool {
		return !slices.ContainsFunc(all, func(s *scraper) bool { return !sameTable(s.table, entries) || !samePins(s.pins, pins) })
	})
}

// pair returns two scrapers that follow, the leader first.
func (gw *groupWorld) pair() (leader, other *scraper) {
	gw.t.Helper()
	a, b := gw.join("a"), gw.join("b")
	leader, other = gw.agreed(a, b), a
	if leader == a {
		other = b
	}
	a.follow()
	b.follow()
	return leader, other
}

// TestSharedStore checks the stores of a group against the contract of ports.SharedStore. bench creates a new world for each part.
func TestSharedStore(t *testing.T, bench func(t *testing.T) GroupBench) {
	TestAliasStore(t, func(t *testing.T) StoreBench { return soloBench(t, bench) })

	t.Run("all members follow all changes", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		a, b := gw.pair()
		a.mustPut(sharedEntry("a", 1), sharedEntry("b", 2))
		a.mustWrite("PutPin", func(done func(error)) { a.store.PutPin(sharedPin("p", 1), done) })
		a.mustWrite("PutPin", func(done func(error)) { a.store.PutPin(sharedPin("q", 1), done) })
		c := gw.join("c")
		c.follow()
		gw.follows(a, b, c)
		a.mustPut(sharedEntry("a", 3), sharedEntry("c", 3))
		a.mustWrite("Delete", func(done func(error)) { a.store.Delete([]domain.Alias{"b", "never there"}, done) })
		a.mustWrite("DeletePin", func(done func(error)) { a.store.DeletePin("p", done) })
		a.mustWrite("DeletePin", func(done func(error)) { a.store.DeletePin("never there", done) })
		gw.follows(a, b, c)
		if got := len(a.table) + len(a.pins); got != 3 {
			t.Errorf("entries %v, pins %v", a.table, a.pins)
		}
		for _, s := range []*scraper{a, b, c} {
			for i, change := range s.changes {
				if change.Whole != (i == 0) || len(change.Bad) > 0 {
					t.Errorf("change %d of %s: %v", i, s.name, change)
				}
			}
		}
		gw.end()
	})
	t.Run("changes are followed in order", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		a, b := gw.pair()
		gw.follows(a, b)
		left := 0
		gw.bench.On(a.name, func() {
			for i := range 60 {
				left++
				a.store.Put(sharedEntry("x", byte(i)), func(err error) {
					if left--; err != nil {
						t.Errorf("Put: %v", err)
					}
				})
			}
		})
		gw.until("all are written", func() bool { return left == 0 })
		gw.follows(a, b)
		for _, s := range []*scraper{a, b} {
			last := -1
			for _, c := range s.changes {
				for _, e := range c.Put {
					if int(e.Key[0]) <= last {
						t.Errorf("%s: %d after %d", s.name, e.Key[0], last)
					}
					last = int(e.Key[0])
				}
			}
			if last != 59 {
				t.Errorf("%s: the last one is %d", s.name, last)
			}
		}
		gw.end()
	})
	t.Run("sets of any size change at once", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		a, b := gw.pair()
		gw.follows(a, b)
		for n := byte(1); n <= 3; n++ {
			set := sharedSet(n)
			a.mustWrite("PutSet", func(done func(error)) { a.store.PutSet(set, done) })
			entries, pins := a.load()
			if !sameTable(entries, byAlias(set.Put)) || !samePins(pins, pinsByAlias(set.Pins)) {
				t.Errorf("%d entries after change %d", len(entries), n)
			}
		}
		gw.follows(a, b)
		for _, s := range []*scraper{a, b} {
			var keys []byte
			for _, c := range s.changes[1:] {
				if len(c.Put) != bigSet || len(c.Pins) != 2 {
					t.Errorf("%s: a change of %d entries and %d pins", s.name, len(c.Put), len(c.Pins))
				}
				keys = append(keys, c.Put[0].Key[0])
			}
			if !slices.Equal(keys, []byte{1, 2, 3}) {
				t.Errorf("%s: changes were %v", s.name, keys)
			}
		}
		gw.end()
	})
	t.Run("only the leader writes", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		a, b := gw.pair()
		a.mustPut(sharedEntry("a", 1))
		for what, f := range map[string]func(done func(error)){
			"Put":       func(done func(error)) { b.store.Put(sharedEntry("b", 1), done) },
			"PutSet":    func(done func(error)) { b.store.PutSet(sharedSet(1), done) },
			"Delete":    func(done func(error)) { b.store.Delete([]domain.Alias{"a"}, done) },
			"PutPin":    func(done func(error)) { b.store.PutPin(sharedPin("b", 1), done) },
			"DeletePin": func(done func(error)) { b.store.DeletePin("b", done) },
		} {
			if err := b.write(what, f); !errors.Is(err, domain.ErrNotLeader) {
				t.Errorf("%s: %v", what, err)
			}
		}
		gw.follows(a, b)
		if len(a.table) != 1 {
			t.Errorf("entries %v", a.table)
		}
		a.update(func(m *domain.Member) { m.Leaving = true })
		if err := a.write("Put", func(done func(error)) { a.store.Put(sharedEntry("b", 1), done) }); !errors.Is(err, domain.ErrNotLeader) {
			t.Errorf("after the leader was deposed: %v", err)
		}
		gw.end()
	})
	t.Run("the next leader has all that was acknowledged", func(t *testing.T) {
		for _, size := range []string{"one", "set"} {
			gw := newGroupWorld(t, bench)
			a, b := gw.pair()
			want := map[domain.Alias]domain.Entry{}
			acknowledge := func(c domain.SetChange, err error) {
				if err == nil {
					for _, alias := range c.Delete {
						delete(want, alias)
					}
					maps.Copy(want, byAlias(c.Put))
				}
			}
			gw.bench.On(a.name, func() {
				for n := byte(1); n <= 20; n++ {
					c := domain.SetChange{Put: []domain.Entry{sharedEntry(fmt.Sprint(n), n)}}
					if size == "set" {
						c = sharedSet(n)
					}
					a.store.PutSet(c, func(err error) { acknowledge(c, err) })
				}
			})
			gw.until("some are written", func() bool { return len(want) > 0 })
			gw.vanish(a)
			had := maps.Clone(want)
			gw.agreed(b)
			entries, _ := b.load()
			for alias := range had {
				if _, ok := entries[alias]; size == "one" && !ok {
					t.Errorf("%q is lost", alias)
				}
			}
			if size == "set" && len(entries) != bigSet {
				t.Errorf("%d entries of sets of %d", len(entries), bigSet)
			}
			gw.follows(b)
			gw.end()
		}
	})
	t.Run("a deposed leader changes nothing", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		a, b := gw.pair()
		a.mustPut(sharedEntry("a", 1))
		pending := map[domain.Alias]bool{}
		var confirmed []domain.Alias
		gw.bench.On(a.name, func() {
			for i := range 300 {
				e := sharedEntry(fmt.Sprint("late", i), 1)
				pending[e.Alias] = true
				a.store.Put(e, func(err error) {
					if delete(pending, e.Alias); err == nil {
						confirmed = append(confirmed, e.Alias)
					}
				})
			}
		})
		gw.bench.Disconnect(a.name, cut)
		gw.agreed(b)
		before, _ := b.load()
		gw.bench.Disconnect(a.name, connected)
		gw.agreed(a, b)
		gw.until("all writes have ended", func() bool { return len(pending) == 0 })
		b.mustPut(sharedEntry("a", 2))
		after, _ := b.load()
		if before["a"] = after["a"]; !sameTable(before, after) || after["a"].Key[0] != 2 {
			t.Errorf("%d entries when it led, and %d later", len(before), len(after))
		}
		for _, alias := range confirmed {
			if _, ok := after[alias]; !ok {
				t.Errorf("%q was acknowledged", alias)
			}
		}
		gw.follows(b, a)
		gw.end()
	})
	t.Run("a member that was without the store catches up", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		a, b := gw.pair()
		a.mustPut(sharedEntry("a", 1), sharedEntry("b", 1))
		gw.follows(a, b)
		gw.bench.Disconnect(b.name, cut)
		gw.agreed(a)
		set := sharedSet(4)
		a.mustWrite("PutSet", func(done func(error)) { a.store.PutSet(set, done) })
		a.mustWrite("Delete", func(done func(error)) { a.store.Delete([]domain.Alias{"b"}, done) })
		gw.bench.Disconnect(b.name, connected)
		gw.agreed(a, b)
		gw.follows(a, b)
		gw.end()
	})
}

// soloBench opens the store repeatedly, each time as that of the only member, which leads.
func soloBench(t *testing.T, bench func(t *testing.T) GroupBench) StoreBench {
	gw := newGroupWorld(t, bench)
	var now *scraper
	return StoreBench{
		Open: func(*testing.T) ports.AliasStore {
			if now != nil {
				left := false
				gw.bench.On(now.name, func() { now.group.Leave(func() { left = true }) })
				gw.until("a scraper leaves", func() bool { return left })
				now.gone = true
			}
			now = gw.join(fmt.Sprint("scraper", len(gw.members)))
			gw.agreed(now)
			return now.store
		},
		Run: func(_ *testing.T, f func(func())) {
			over := false
			gw.bench.On(now.name, func() { f(func() { over = true }) })
			gw.until("a call ends", func() bool { return over })
		},
	}
}
