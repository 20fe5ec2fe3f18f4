package portstest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// GroupBench is a world of scrapers that share one store, on one clock. Scrapers are called, and call back, while the test waits for a
// function of the bench, and at no other time.
type GroupBench struct {
	// Open returns a new scraper's group and store. Names are different.
	Open func(t *testing.T, name string) (ports.Group, ports.SharedStore)
	// On runs f on the loop of a scraper.
	On func(name string, f func())
	// Until lets time pass until cond holds, for at most limit, and reports whether it does.
	Until func(limit time.Duration, cond func() bool) bool
	// Vanish ends a scraper as kill -9 does.
	Vanish func(name string)
	// Disconnect separates a scraper from the store, or connects it again.
	Disconnect func(name string, cut bool)
	// Settle is the time after which all members have noticed what happened before, a member that vanished included.
	Settle time.Duration
}

// groupPatience bounds the time of what must happen.
const groupPatience = 2 * time.Minute

// The connections of a scraper, for GroupBench.Disconnect.
const (
	connected = false
	cut       = true
)

// groupIdentity is the identity of the groups of the suites.
var groupIdentity = domain.KeyPairFromSeed(domain.SeedFrom([32]byte{7})).Public

// groupWorld is a world of the suites: its scrapers, and what happened to them, in the order of the world's time.
type groupWorld struct {
	t       *testing.T
	bench   GroupBench
	members []*scraper
	leads   []string // names, with + for OnLead and - for OnFollow
	onLead  func(s *scraper)
}

// scraper records the events of one member.
type scraper struct {
	world *groupWorld
	name  string
	group ports.Group
	store ports.SharedStore

	joined bool
	err    error
	view   domain.Group
	term   int64 // while it leads
	terms  int   // number of calls of OnLead
	gone   bool  // it has left or vanished

	table   map[domain.Alias]domain.Entry // by Follow
	pins    map[domain.Alias]domain.Pin
	changes []domain.TableChange
}

func newGroupWorld(t *testing.T, bench func(t *testing.T) GroupBench) *groupWorld {
	return &groupWorld{t: t, bench: bench(t)}
}

// open returns a scraper that has not joined.
func (gw *groupWorld) open(name string) *scraper {
	s := &scraper{world: gw, name: name}
	s.group, s.store = gw.bench.Open(gw.t, name)
	gw.members = append(gw.members, s)
	return s
}

// join returns a scraper that has joined.
func (gw *groupWorld) join(name string) *scraper {
	gw.t.Helper()
	s := gw.open(name)
	s.join(groupIdentity)
	gw.until("a scraper joins", func() bool { return s.joined })
	if s.err != nil {
		gw.t.Fatalf("%s: %v", name, s.err)
	}
	return s
}

// until waits for a condition, which must come true.
func (gw *groupWorld) until(what string, cond func() bool) {
	gw.t.Helper()
	if !gw.bench.Until(groupPatience, cond) {
		gw.t.Fatalf("this does not happen: %s; leaders were %v", what, gw.leads)
	}
}

// settle lets time pass, for what must not happen.
func (gw *groupWorld) settle() { gw.bench.Until(gw.bench.Settle, func() bool { return false }) }

// leader returns the scraper that leads; nil for none.
func (gw *groupWorld) leader() *scraper {
	for _, s := range gw.members {
		if s.term != 0 && !s.gone {
			return s
		}
	}
	return nil
}

// agreed waits until a scraper leads and all that are given see it as leader, and each other as the members.
func (gw *groupWorld) agreed(members ...*scraper) *scraper {
	gw.t.Helper()
	gw.until(fmt.Sprintf("%d members agree on a leader", len(members)), func() bool {
		l := gw.leader()
		return l != nil && !slices.ContainsFunc(members, func(s *scraper) bool { return !s.sees(l, members) })
	})
	return gw.leader()
}

// vanish ends a scraper.
func (gw *groupWorld) vanish(s *scraper) {
	gw.bench.Vanish(s.name)
	s.gone = true
}

// end leaves with all scrapers, and closes their stores.
func (gw *groupWorld) end() {
	for _, s := range gw.members {
		if s.gone {
			continue
		}
		closed, left := false, false
		gw.bench.On(s.name, func() { s.store.Close(func(error) { closed = true }) })
		gw.until("a store closes", func() bool { return closed })
		gw.bench.On(s.name, func() { s.group.Leave(func() { left = true }) })
		gw.until("a scraper leaves", func() bool { return left })
		s.gone = true
	}
}

func (s *scraper) join(id domain.PublicKey) {
	s.world.bench.On(s.name, func() {
		s.group.Join(ports.GroupJoin{Member: domain.Member{Name: s.name, URL: "http://" + s.name + "/", Version: "1"}, Identity: id}, ports.GroupHandlers{
			OnView: s.onView, OnLead: s.onLead, OnFollow: s.onFollow,
		}, func(err error) { s.joined, s.err = true, err })
	})
}

func (s *scraper) onView(v domain.Group) {
	s.alive("OnView")
	s.view = v
}

func (s *scraper) onLead(term int64) {
	s.alive("OnLead")
	gw := s.world
	if other := gw.leader(); other != nil {
		gw.t.Errorf("%s leads in term %d, and %s still leads in term %d", s.name, term, other.name, other.term)
	}
	if term <= 0 {
		gw.t.Errorf("term %d", term)
	}
	s.term = term
	s.terms++
	gw.leads = append(gw.leads, "+"+s.name)
	if gw.onLead != nil {
		gw.onLead(s)
	}
}

func (s *scraper) onFollow() {
	s.alive("OnFollow")
	if s.term == 0 {
		s.world.t.Errorf("%s: OnFollow without OnLead", s.name)
	}
	s.term = 0
	s.world.leads = append(s.world.leads, "-"+s.name)
}

func (s *scraper) alive(what string) {
	if s.gone {
		s.world.t.Errorf("%s: %s after its end", s.name, what)
	}
}

// sees reports whether the view of the scraper has a leader and exactly these members.
func (s *scraper) sees(leader *scraper, members []*scraper) bool {
	if s.view.Leader != leader.view.Self || s.view.Term != leader.term || !s.view.Connected || len(s.view.Members) != len(members) {
		return false
	}
	return !slices.ContainsFunc(members, func(o *scraper) bool { return !s.knows(o) })
}

// knows reports whether the view of the scraper has another.
func (s *scraper) knows(o *scraper) bool {
	_, ok := s.view.Member(o.view.Self)
	return ok
}

// update replaces what the scraper reports of itself.
func (s *scraper) update(f func(*domain.Member)) {
	s.world.bench.On(s.name, func() {
		m, _ := s.view.Member(s.view.Self)
		f(&m)
		s.group.Update(m)
		if m.Leaving && s.term != 0 {
			s.world.t.Errorf("%s leads after Update with Leaving", s.name)
		}
	})
}

// TestGroup checks a group against the contract of ports.Group. bench creates a new world for each part.
func TestGroup(t *testing.T, bench func(t *testing.T) GroupBench) {
	t.Run("the first member leads", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		a := gw.join("a")
		gw.agreed(a)
		m, ok := a.view.Member(a.view.Self)
		if !ok || m.Name != "a" || m.URL != "http://a/" || m.Version != "1" || m.Started.IsZero() {
			t.Errorf("the view is %+v", a.view)
		}
		gw.end()
		if got := strings.Join(gw.leads, " "); got != "+a -a" {
			t.Errorf("leaders were %s", got)
		}
	})
	t.Run("another identity is rejected", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		a := gw.join("a")
		gw.agreed(a)
		other := domain.KeyPairFromSeed(domain.SeedFrom([32]byte{8})).Public
		b := gw.open("b")
		b.join(other)
		gw.until("an answer", func() bool { return b.joined })
		if !errors.Is(b.err, domain.ErrGroup) {
			t.Fatalf("the error is %v", b.err)
		}
		for _, key := range []domain.PublicKey{groupIdentity, other} {
			if !strings.Contains(b.err.Error(), key.String()) {
				t.Errorf("the error %q does not name %s", b.err, key)
			}
		}
		gw.settle()
		if len(a.view.Members) != 1 || len(gw.leads) != 1 {
			t.Errorf("members are %v, leaders were %v", a.view.Members, gw.leads)
		}
		gw.end()
	})
	t.Run("one of several leads, and all see it", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		var all []*scraper
		for _, name := range []string{"a", "b", "c", "d"} {
			s := gw.open(name)
			s.join(groupIdentity)
			all = append(all, s)
		}
		gw.agreed(all...)
		gw.settle()
		if len(gw.leads) != 1 {
			t.Errorf("leaders were %v", gw.leads)
		}
		gw.end()
	})
	t.Run("a leader hands over", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		a, b := gw.join("a"), gw.join("b")
		first := gw.agreed(a, b)
		term := first.term
		first.update(func(m *domain.Member) { m.Leaving = true })
		next := gw.agreed(a, b)
		if next == first || next.term <= term {
			t.Errorf("%s leads in term %d, and led in %d", next.name, next.term, term)
		}
		gw.until("it is seen as leaving", func() bool {
			m, ok := next.view.Member(first.view.Self)
			return ok && m.Leaving
		})
		gw.vanish(next)
		gw.settle()
		if first.term != 0 {
			t.Error("a member that is leaving leads")
		}
		first.update(func(m *domain.Member) { m.Leaving = false })
		gw.agreed(first)
		gw.end()
	})
	t.Run("members leave", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		a, b, c := gw.join("a"), gw.join("b"), gw.join("c")
		first := gw.agreed(a, b, c)
		left := false
		gw.bench.On(first.name, func() {
			first.group.Leave(func() { left = true })
			if first.term != 0 {
				t.Error("a member leads after Leave")
			}
		})
		gw.until("a member leaves", func() bool { return left })
		first.gone = true
		gw.agreed(slices.DeleteFunc([]*scraper{a, b, c}, func(s *scraper) bool { return s == first })...)
		gw.end()
	})
	t.Run("members vanish", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		a, b, c := gw.join("a"), gw.join("b"), gw.join("c")
		left := []*scraper{a, b, c}
		for term := int64(0); len(left) > 0; {
			l := gw.agreed(left...)
			if l.term <= term {
				t.Errorf("term %d after %d", l.term, term)
			}
			term = l.term
			gw.vanish(l)
			left = slices.DeleteFunc(left, func(s *scraper) bool { return s == l })
		}
	})
	t.Run("a leader without the store leads no more, and comes back", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		a, b := gw.join("a"), gw.join("b")
		first := gw.agreed(a, b)
		other := a
		if first == a {
			other = b
		}
		gw.bench.Disconnect(first.name, cut)
		gw.agreed(other)
		gw.until("it notices", func() bool { return !first.view.Connected && first.view.Leader != first.view.Self })
		gw.bench.Disconnect(first.name, connected)
		if l := gw.agreed(a, b); l != other {
			t.Errorf("%s leads", l.name)
		}
		gw.vanish(other)
		if l := gw.agreed(first); l.terms != 2 {
			t.Errorf("it led %d times", l.terms)
		}
		gw.end()
	})
	t.Run("a member without the store is missed, and comes back", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		a, b := gw.join("a"), gw.join("b")
		l := gw.agreed(a, b)
		other := a
		if l == a {
			other = b
		}
		gw.bench.Disconnect(other.name, cut)
		gw.agreed(l)
		gw.bench.Disconnect(other.name, connected)
		gw.agreed(a, b)
		if len(gw.leads) != 1 {
			t.Errorf("leaders were %v", gw.leads)
		}
		gw.end()
	})
	t.Run("members see each other's updates", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		a, b := gw.join("a"), gw.join("b")
		l := gw.agreed(a, b)
		const settledIn = 1<<63 + 7
		for n := range 5 {
			l.update(func(m *domain.Member) { m.Settled, m.Clients, m.Name = settledIn, n, "renamed" })
		}
		gw.until("all see the last update", func() bool {
			return !slices.ContainsFunc([]*scraper{a, b}, func(s *scraper) bool {
				m, _ := s.view.Member(l.view.Self)
				return m.Settled != settledIn || m.Clients != 4 || m.Name != "renamed"
			})
		})
		if len(gw.leads) != 1 {
			t.Errorf("leaders were %v", gw.leads)
		}
		gw.end()
	})
	t.Run("members see the clients that others miss and pin", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		a, b := gw.join("a"), gw.join("b")
		gw.agreed(a, b)
		var keys []domain.PublicKey
		for i := range byte(200) {
			keys = append(keys, domain.KeyPairFromSeed(domain.SeedFrom([32]byte{i, 1})).Public)
		}
		missed, pinned := domain.NewKeyList(keys[:50]), domain.NewKeyList(keys[50:])
		a.update(func(m *domain.Member) { m.Missed, m.Pinned = missed, pinned })
		for _, s := range []*scraper{a, b} {
			gw.until("a member sees the clients", func() bool {
				m, _ := s.view.Member(a.view.Self)
				return m.Missed == missed && m.Pinned == pinned
			})
		}
		if holder, _ := b.view.Holder(keys[60]); holder.Name != "a" || b.view.Missed(keys[60]) {
			t.Errorf("%s holds a client that a has pinned", holder.Name)
		}
		gw.vanish(a)
		gw.until("the pins are gone with their member", func() bool {
			holder, _ := b.view.Holder(keys[60])
			return holder.Name == "b"
		})
		gw.end()
	})
	t.Run("joining waits for the store", func(t *testing.T) {
		gw := newGroupWorld(t, bench)
		a := gw.open("a")
		gw.bench.Disconnect("a", cut)
		a.join(groupIdentity)
		gw.settle()
		if a.joined || a.term != 0 {
			t.Fatalf("joined %t: %v", a.joined, a.err)
		}
		gw.bench.Disconnect("a", connected)
		gw.agreed(a)
		gw.end()
	})
}
