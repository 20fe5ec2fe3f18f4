package etcd_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/etcd"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/adapters/simnet/simkv"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// patience is longer than a lease and all that follows from its end.
const patience = 2 * time.Minute

var identity = domain.KeyPairFromSeed(domain.SeedFrom([32]byte{7})).Public

// commits is a connection of a member on which a test decides over each transaction.
type commits struct {
	kv.Store
	// on is called with a transaction that has conditions, as those of a leader do. It returns whether it is passed on.
	on func(t kv.Txn, done func(kv.Result, error)) bool
	// onList is called with a request to list.
	onList func(prefix string, done func(kv.List, error)) bool
}

func (c *commits) List(prefix string, done func(kv.List, error)) {
	if c.onList == nil || c.onList(prefix, done) {
		c.Store.List(prefix, done)
	}
}

func (c *commits) Commit(t kv.Txn, done func(kv.Result, error)) {
	if c.on == nil || len(t.If) < 2 || c.on(t, done) {
		c.Store.Commit(t, done)
	}
}

// scraper is a member with what it has seen.
type scraper struct {
	*etcd.Member
	world   *world
	name    string
	host    *simnet.Host
	commits *commits
	view    domain.Group
	term    int64
	table   map[domain.Alias]domain.Entry
	wholes  int
	bad     []error
	onTable func()
	onLead  func(term int64)
}

// scraper returns a member that joins and follows.
func (w *world) scraper(t *testing.T, name string) *scraper {
	t.Helper()
	s := &scraper{world: w, name: name}
	w.wrap = func(store kv.Store) kv.Store {
		s.commits = &commits{Store: store}
		return s.commits
	}
	s.Member = w.open(name)
	s.host = w.hosts[name]
	s.host.Do(func() {
		s.Follow(s.onChange)
		s.Join(ports.GroupJoin{Member: domain.Member{Name: name}, Identity: identity}, ports.GroupHandlers{
			OnView: func(v domain.Group) { s.view = v },
			OnLead: func(term int64) {
				s.term = term
				if s.onLead != nil {
					s.onLead(term)
				}
			},
			OnFollow: func() { s.term = 0 },
		}, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
	})
	return s
}

func (s *scraper) onChange(c domain.TableChange) {
	if c.Whole {
		s.table = map[domain.Alias]domain.Entry{}
		s.wholes++
		s.bad = nil
	}
	for _, a := range c.Delete {
		delete(s.table, a)
	}
	for _, e := range c.Put {
		s.table[e.Alias] = e
	}
	s.bad = append(s.bad, c.Bad...)
	if s.onTable != nil {
		s.onTable()
	}
}

// leads waits until a scraper leads.
func (s *scraper) leads(t *testing.T) {
	t.Helper()
	s.world.until(t, s.name+" leads", func() bool { return s.term != 0 })
}

func (w *world) until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	if !w.net.RunUntil(cond, patience) {
		t.Fatalf("this does not happen: %s", what)
	}
}

// load returns the table of the store.
func (s *scraper) load(t *testing.T) (table map[domain.Alias]domain.Entry, bad []error) {
	t.Helper()
	s.host.Do(func() {
		s.Load(func(entries []domain.Entry, found []error, err error) {
			if err != nil {
				t.Error(err)
			}
			table, bad = map[domain.Alias]domain.Entry{}, found
			for _, e := range entries {
				table[e.Alias] = e
			}
		})
	})
	s.world.until(t, "the table is loaded", func() bool { return table != nil })
	return table, bad
}

// put writes an entry and waits for the result.
func (s *scraper) put(t *testing.T, e domain.Entry) (err error) {
	t.Helper()
	over := false
	s.host.Do(func() { s.Put(e, func(failed error) { over, err = true, failed }) })
	s.world.until(t, "a change ends", func() bool { return over })
	return err
}

func entry(alias string, n byte) domain.Entry {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return domain.Entry{Alias: domain.Alias(alias), Key: domain.PublicKey{n, 1}, Registered: at, Renewed: at, Expires: at.Add(time.Hour)}
}

// setOf returns a change to a large set of one version, and what the table then is.
func setOf(n byte) (c domain.SetChange, table map[domain.Alias]byte) {
	const size = 250
	table = map[domain.Alias]byte{}
	for i := range size {
		e := entry(fmt.Sprintf("set/%d", i+int(n)*10), n)
		c.Put = append(c.Put, e)
		table[e.Alias] = n
	}
	for i := range 10 {
		c.Delete = append(c.Delete, domain.Alias(fmt.Sprintf("set/%d", i+int(n-1)*10)))
	}
	return c, table
}

func keysOf(table map[domain.Alias]domain.Entry) map[domain.Alias]byte {
	keys := map[domain.Alias]byte{}
	for a, e := range table {
		keys[a] = e.Key[0]
	}
	return keys
}

// before is the argument of crashAt for a crash before a transaction is sent.
const before = false

// crashAt lets a scraper crash at a transaction of a leader, counted from 1: before it is sent, or when it was carried out and before the
// answer is used.
func (s *scraper) crashAt(n int, after bool) (crashed *bool) {
	crashed = new(bool)
	count := 0
	s.commits.on = func(t kv.Txn, done func(kv.Result, error)) bool {
		if count++; count < n {
			return true
		}
		if count == n && after {
			s.commits.Store.Commit(t, func(kv.Result, error) {
				*crashed = true
				s.host.Crash()
			})
		} else if count == n {
			*crashed = true
			s.host.Crash()
		}
		return false
	}
	return crashed
}

// A large set is changed completely or not at all, wherever its leader and the one that completes the change crash.
func TestLargeSetsChangeCompletelyOrNotAtAll(t *testing.T) {
	_, first := setOf(1)
	second, changed := setOf(2)
	steps, recoveries := 0, 0
	for step := 1; ; step++ {
		crashed := false
		for _, after := range []bool{false, true} {
			for recovery := 1; ; recovery++ {
				w := newWorld(uint64(step), simkv.Config{Delay: uniform(3 * time.Millisecond)})
				a := w.scraper(t, "a")
				a.leads(t)
				b := w.scraper(t, "b")
				w.until(t, "b joins", func() bool { return len(b.view.Members) == 2 })
				c := w.scraper(t, "c")
				w.until(t, "c joins", func() bool { return len(c.view.Members) == 3 })
				acknowledge(t, a, 1)
				for _, s := range []*scraper{a, b, c} {
					w.until(t, s.name+" follows", func() bool { return maps.Equal(keysOf(s.table), first) })
					s.onTable = func() {
						if got := keysOf(s.table); !maps.Equal(got, first) && !maps.Equal(got, changed) {
							t.Errorf("step %d, recovery %d: %s has a part of a set: %d entries", step, recovery, s.name, len(got))
						}
					}
				}
				gone, acknowledged := a.crashAt(step, after), false
				a.host.Do(func() { a.PutSet(second, func(err error) { acknowledged = err == nil }) })
				w.net.RunUntil(func() bool { return *gone || acknowledged }, time.Minute)
				w.net.RunUntil(func() bool { return *gone }, time.Second)
				if !*gone {
					a.host.Crash()
				}
				crashed = crashed || *gone
				second := b.crashAt(recovery, after)
				w.until(t, "b leads or crashes", func() bool { return b.term != 0 || *second })
				w.net.RunUntil(func() bool { return *second }, time.Second)
				b.host.Crash()
				c.leads(t)
				got, bad := c.load(t)
				is := keysOf(got)
				if len(bad) > 0 || !maps.Equal(is, changed) && (acknowledged || !maps.Equal(is, first)) {
					t.Errorf("step %d, recovery %d: %d entries, acknowledged %t, bad %v", step, recovery, len(is), acknowledged, bad)
				}
				w.until(t, "c follows", func() bool { return maps.Equal(keysOf(c.table), is) })
				c.onTable = nil
				if err := c.put(t, entry("later", 1)); err != nil {
					t.Error(err)
				}
				if left := w.cluster.Items("/dhtprom/changes/"); len(left) > 0 {
					t.Errorf("step %d, recovery %d: %d keys are left", step, recovery, len(left))
				}
				if !*second {
					break
				}
				recoveries++
			}
		}
		if !crashed {
			break
		}
		steps++
	}
	if steps < 6 || recoveries < 20 {
		t.Errorf("%d steps and %d recoveries were interrupted", steps, recoveries)
	}
}

// acknowledge writes a large set.
func acknowledge(t *testing.T, s *scraper, n byte) {
	t.Helper()
	set, _ := setOf(n)
	over := false
	s.host.Do(func() {
		s.PutSet(set, func(err error) {
			if over = true; err != nil {
				t.Error(err)
			}
		})
	})
	s.world.until(t, "a set is written", func() bool { return over })
}

// A table that takes several turns to decode is loaded whole, by alias, and so are the records that cannot be read.
func TestLargeTableIsLoadedWhole(t *testing.T) {
	w := newWorld(1, simkv.Config{})
	a := w.scraper(t, "a")
	a.leads(t)
	const size = 3500
	var set domain.SetChange
	for i := range size {
		set.Put = append(set.Put, domain.Entry{Alias: domain.Alias(fmt.Sprintf("large-%05d", i)), Key: domain.PublicKey{1, byte(i), byte(i >> 8)}, Hostname: "host"})
	}
	written := false
	a.host.Do(func() { a.PutSet(set, func(err error) { written = err == nil }) })
	w.until(t, "a set is written", func() bool { return written })
	a.host.Do(func() {
		w.cluster.Connect(a.host).Commit(kv.Txn{Then: []kv.Op{{Key: "/dhtprom/aliases/large-01500x", Value: []byte("?")}}}, func(kv.Result, error) {})
	})
	w.net.Run(time.Second)
	var got []domain.Entry
	var bad []error
	loaded := 0
	a.host.Do(func() {
		a.Load(func(entries []domain.Entry, b []error, err error) {
			if loaded++; err != nil {
				t.Error(err)
			}
			got, bad = entries, b
		})
	})
	w.until(t, "the table is loaded", func() bool { return loaded > 0 })
	w.net.Run(time.Second)
	if loaded != 1 || len(got) != size || len(bad) != 1 {
		t.Fatalf("loaded %d times, %d entries, %v", loaded, len(got), bad)
	}
	for i, e := range got {
		if e.Alias != set.Put[i].Alias || e.Key != set.Put[i].Key {
			t.Fatalf("entry %d is %q, want %q", i, e.Alias, set.Put[i].Alias)
		}
	}
}

// A transaction of a deposed leader that is carried out when another one leads has no effect.
func TestLateTransactionsOfAnEarlierLeaderHaveNoEffect(t *testing.T) {
	for step := 1; ; step++ {
		w := newWorld(1, simkv.Config{Delay: uniform(3 * time.Millisecond)})
		a := w.scraper(t, "a")
		a.leads(t)
		b := w.scraper(t, "b")
		w.until(t, "b joins", func() bool { return len(b.view.Members) == 2 })
		acknowledge(t, a, 1)
		var late []kv.Txn
		count := 0
		a.commits.on = func(txn kv.Txn, _ func(kv.Result, error)) bool {
			if count++; count >= step {
				late = append(late, txn)
				return false
			}
			return true
		}
		set, _ := setOf(2)
		a.host.Do(func() { a.PutSet(set, func(error) {}) })
		w.net.Run(100 * time.Millisecond)
		if len(late) == 0 {
			if step < 6 {
				t.Errorf("a set took %d transactions", step-1)
			}
			break
		}
		a.host.Do(func() { a.Update(domain.Member{Leaving: true}) })
		b.leads(t)
		before, _ := b.load(t)
		items := len(w.cluster.Items("/dhtprom/"))
		carriedOut := 0
		a.host.Do(func() {
			for _, txn := range late {
				a.commits.Store.Commit(txn, func(r kv.Result, err error) {
					if carriedOut++; err != nil || r.Done {
						t.Errorf("step %d: a late transaction took effect: %v", step, err)
					}
				})
			}
		})
		w.until(t, "late transactions arrive", func() bool { return carriedOut == len(late) })
		if after, _ := b.load(t); !maps.Equal(keysOf(before), keysOf(after)) || len(w.cluster.Items("/dhtprom/")) != items {
			t.Errorf("step %d: the table has changed", step)
		}
	}
}

// A transaction whose answer was lost may be carried out after later ones of its leader, and must have no effect then.
func TestTransactionsDoNotOvertake(t *testing.T) {
	for lost := range 12 {
		for later := range 4 {
			w := newWorld(1, simkv.Config{Delay: uniform(3 * time.Millisecond)})
			a := w.scraper(t, "a")
			a.leads(t)
			var held kv.Txn
			sent, done := 0, 0
			a.commits.on = func(txn kv.Txn, answer func(kv.Result, error)) bool {
				sent++
				if sent == lost+1 || sent == lost+3 { // a repetition, too, in some
					held = txn
					a.host.Post(func() { answer(kv.Result{}, kv.ErrUncertain) })
					return false
				}
				return true
			}
			for n := range byte(12) {
				if err := a.put(t, entry("x", n)); err != nil {
					t.Fatal(err)
				}
				if done++; int(n) == lost+later && held.Then != nil {
					a.host.Do(func() { a.commits.Store.Commit(held, func(kv.Result, error) {}) })
					w.net.Run(100 * time.Millisecond)
				}
				if got, _ := a.load(t); got["x"].Key[0] != n {
					t.Fatalf("transaction %d was lost, %d later: x is %d after %d", lost, later, got["x"].Key[0], n)
				}
			}
			w.until(t, "it follows", func() bool { return a.table["x"].Key[0] == 11 })
		}
	}
}

// A leader that was deposed while it changed the records of a large set, and leads again, leaves them to the leader between.
func TestLargeSetsAreNotResumedInALaterTerm(t *testing.T) {
	w := newWorld(1, simkv.Config{Delay: uniform(3 * time.Millisecond)})
	a := w.scraper(t, "a")
	a.leads(t)
	b := w.scraper(t, "b")
	w.until(t, "b joins", func() bool { return len(b.view.Members) == 2 })
	var answer func()
	count := 0
	a.commits.on = func(txn kv.Txn, done func(kv.Result, error)) bool {
		if count++; count != 3 { // chunk, pointer, and the first records
			return true
		}
		a.commits.Store.Commit(txn, func(r kv.Result, err error) { answer = func() { done(r, err) } })
		return false
	}
	acknowledge(t, a, 1)
	w.until(t, "records are written", func() bool { return answer != nil })
	a.host.Do(func() { a.Update(domain.Member{Leaving: true}) })
	b.leads(t)
	for n := range 250 {
		b.host.Do(func() { b.Put(entry(fmt.Sprintf("set/%d", n+10), 9), func(error) {}) })
	}
	if err := b.put(t, entry("last", 9)); err != nil {
		t.Fatal(err)
	}
	a.host.Do(func() { a.Update(domain.Member{}) })
	b.host.Do(func() { b.Update(domain.Member{Leaving: true}) })
	a.leads(t)
	a.host.Do(answer)
	if err := a.put(t, entry("later", 9)); err != nil {
		t.Fatal(err)
	}
	got, _ := a.load(t)
	for alias, e := range got {
		if e.Key[0] != 9 {
			t.Errorf("%q is as in the large set", alias)
		}
	}
	if len(got) != 252 {
		t.Errorf("%d entries", len(got))
	}
}

// pairOf returns a leader and another member.
func pairOf(t *testing.T) (w *world, a, b *scraper) {
	t.Helper()
	w = newWorld(1, simkv.Config{Delay: uniform(3 * time.Millisecond)})
	a = w.scraper(t, "a")
	a.leads(t)
	b = w.scraper(t, "b")
	w.until(t, "b joins", func() bool { return len(b.view.Members) == 2 })
	return w, a, b
}

// pass makes a leader hand over, and leave itself open to be elected again.
func (s *scraper) pass(t *testing.T, to *scraper) {
	t.Helper()
	s.host.Do(func() { s.Update(domain.Member{Leaving: true}) })
	to.leads(t)
	s.host.Do(func() { s.Update(domain.Member{}) })
	s.world.net.Run(time.Second)
}

// A change that waits when its leader is deposed fails, also if that leads again before its turn comes.
func TestChangesBelongToTheirTerm(t *testing.T) {
	w, a, b := pairOf(t)
	var answer func()
	a.commits.on = func(txn kv.Txn, done func(kv.Result, error)) bool {
		if answer != nil {
			return true
		}
		answer = func() {}
		a.commits.Store.Commit(txn, func(r kv.Result, err error) { answer = func() { done(r, err) } })
		return false
	}
	var results []error
	note := func(err error) { results = append(results, err) }
	a.host.Do(func() { a.Put(entry("first", 1), note) })
	w.net.Run(time.Second)
	a.host.Do(func() { a.Put(entry("second", 1), note) })
	a.pass(t, b)
	b.pass(t, a)
	a.host.Do(answer)
	w.until(t, "both end", func() bool { return len(results) == 2 })
	if results[0] != nil || !errors.Is(results[1], domain.ErrNotLeader) {
		t.Errorf("results are %v", results)
	}
	if got, _ := a.load(t); len(got) != 1 {
		t.Errorf("entries %v", got)
	}
}

// The chunks of a change that fails are removed.
func TestFailedLargeSetsLeaveNothing(t *testing.T) {
	w, a, _ := pairOf(t)
	full := errors.New("no space")
	count := 0
	a.commits.on = func(_ kv.Txn, answer func(kv.Result, error)) bool {
		if count++; count == 2 { // the pointer
			a.host.Post(func() { answer(kv.Result{}, full) })
		}
		return count != 2
	}
	set, _ := setOf(1)
	var failed error
	a.host.Do(func() { a.PutSet(set, func(err error) { failed = err }) })
	w.until(t, "it fails", func() bool { return failed != nil })
	if err := a.put(t, entry("a", 1)); err != nil || !errors.Is(failed, full) {
		t.Errorf("the errors are %v and %v", failed, err)
	}
	if got, _ := a.load(t); len(got) != 1 || len(w.cluster.Items("/dhtprom/changes/")) != 0 {
		t.Errorf("%d entries", len(got))
	}
}

// A transaction that may be carried out later although it was refused when it was repeated ends the term.
func TestUncertainChangesEndTheTerm(t *testing.T) {
	w, a, b := pairOf(t)
	var late kv.Txn
	count, term := 0, a.term
	a.commits.on = func(txn kv.Txn, answer func(kv.Result, error)) bool {
		switch count++; count {
		case 1:
			late = txn
			a.host.Post(func() { answer(kv.Result{}, kv.ErrUncertain) })
		case 2:
			a.host.Post(func() { answer(kv.Result{}, errors.New("no space")) })
		}
		return count > 2
	}
	if err := a.put(t, entry("late", 1)); err == nil {
		t.Error("the change succeeded")
	}
	b.leads(t)
	done := false
	a.host.Do(func() {
		a.commits.Store.Commit(late, func(r kv.Result, err error) {
			if done = true; r.Done || err != nil {
				t.Errorf("it is carried out: %v", err)
			}
		})
	})
	w.until(t, "it arrives", func() bool { return done })
	if b.term <= term || a.term != 0 {
		t.Errorf("terms are %d and %d, and were %d", a.term, b.term, term)
	}
}

// Pins that are loaded while a new leader completes a change include those of the change.
func TestPinsAreLoadedWithChangesThatAreNotComplete(t *testing.T) {
	w, a, b := pairOf(t)
	gone := a.crashAt(3, before)
	set, _ := setOf(1)
	set.Pins = []domain.Pin{{Alias: "set/11", Key: domain.PublicKey{1}}}
	a.host.Do(func() { a.PutSet(set, func(error) {}) })
	var release func()
	b.commits.onList = func(prefix string, done func(kv.List, error)) bool {
		if release != nil {
			return true
		}
		release = func() { b.commits.Store.List(prefix, done) }
		return false
	}
	var pins []domain.Pin
	loaded := false
	b.host.Do(func() {
		b.Load(func([]domain.Entry, []error, error) {})
		b.LoadPins(func(p []domain.Pin, _ []error, _ error) { pins, loaded = p, true })
	})
	w.until(t, "a crashes", func() bool { return *gone })
	b.leads(t)
	b.commits.on = func(kv.Txn, func(kv.Result, error)) bool { return false }
	b.host.Do(release)
	w.until(t, "pins are loaded", func() bool { return loaded })
	if len(pins) != 1 {
		t.Errorf("pins are %v", pins)
	}
}

// Each transaction whose answer is lost leaves a fence. A member removes them when there are many.
func TestFencesAreRemoved(t *testing.T) {
	const most = 1000
	w := newWorld(1, simkv.Config{})
	a := w.scraper(t, "a")
	a.leads(t)
	first, repeated := a.term, false
	a.commits.on = func(txn kv.Txn, answer func(kv.Result, error)) bool {
		if repeated = !repeated; repeated {
			a.host.Post(func() { answer(kv.Result{}, kv.ErrUncertain) })
		}
		return !repeated
	}
	failed := 0
	for range most + 20 {
		if err := a.put(t, entry("a", 1)); err != nil {
			failed++
			a.leads(t)
		}
	}
	if n := len(w.cluster.Items("/dhtprom/fences/")); n > 20 || a.term == first || failed > 1 || len(a.view.Members) != 1 {
		t.Errorf("%d fences, terms %d and %d, %d changes failed, view %v", n, first, a.term, failed, a.view)
	}
}

// A change waits some seconds for a store that cannot be reached.
func TestChangesFailWithoutTheStore(t *testing.T) {
	w := newWorld(1, simkv.Config{Delay: uniform(3 * time.Millisecond)})
	a := w.scraper(t, "a")
	a.leads(t)
	a.commits.on = func(_ kv.Txn, answer func(kv.Result, error)) bool {
		a.host.Post(func() { answer(kv.Result{}, kv.ErrUnavailable) })
		return false
	}
	start := w.net.Now()
	results := map[string]error{}
	var order []string
	wait := func(name string) func(error) {
		return func(err error) {
			results[name] = err
			order = append(order, name)
		}
	}
	a.host.Do(func() {
		a.Put(entry("a", 1), wait("put"))
		set, _ := setOf(1)
		a.PutSet(set, wait("set"))
		a.Delete([]domain.Alias{"a"}, wait("delete"))
	})
	w.until(t, "all fail", func() bool { return len(order) == 3 })
	for name, err := range results {
		if !errors.Is(err, domain.ErrStoreUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if took := w.net.Now() - start; took < 3*time.Second || took > 6*time.Second || !slices.Equal(order, []string{"put", "set", "delete"}) {
		t.Errorf("%v failed after %s", order, took)
	}
	a.commits.on = nil
	if err := a.put(t, entry("b", 1)); err != nil {
		t.Error(err)
	}
	if got, _ := a.load(t); len(got) != 1 || a.term == 0 {
		t.Errorf("entries %v, term %d", got, a.term)
	}
}

// Changes that wait for one that cannot be completed fail after some seconds. It takes effect as a whole.
func TestChangesFailWhileAnotherCannotBeCompleted(t *testing.T) {
	w := newWorld(1, simkv.Config{Delay: uniform(3 * time.Millisecond)})
	a := w.scraper(t, "a")
	a.leads(t)
	full := errors.New("no space")
	count := 0
	a.commits.on = func(_ kv.Txn, answer func(kv.Result, error)) bool {
		if count++; count <= 3 { // chunk, pointer, and the first records
			return true
		}
		a.host.Post(func() { answer(kv.Result{}, full) })
		return false
	}
	acknowledge(t, a, 1)
	if err := a.put(t, entry("a", 1)); !errors.Is(err, full) {
		t.Errorf("the error is %v", err)
	}
	_, want := setOf(1)
	w.until(t, "it follows", func() bool { return maps.Equal(keysOf(a.table), want) })
	b := w.scraper(t, "b")
	if got, _ := b.load(t); !maps.Equal(keysOf(got), want) || !maps.Equal(keysOf(b.table), want) {
		t.Errorf("another member loads %d entries, and follows %d", len(got), len(b.table))
	}
	a.commits.on = nil
	if err := a.put(t, entry("a", 1)); err != nil {
		t.Error(err)
	}
	if left := w.cluster.Items("/dhtprom/changes/"); len(left) > 0 {
		t.Errorf("%d keys are left", len(left))
	}
	w.until(t, "both follow", func() bool { return len(a.table) == len(want)+1 && len(b.table) == len(want)+1 })
	if w.net.Run(time.Second); a.wholes != 1 || b.wholes != 1 {
		t.Errorf("the whole table came %d and %d times", a.wholes, b.wholes)
	}
}

// A member whose watch was lost to compaction reads the whole table again.
func TestFollowersSurviveCompaction(t *testing.T) {
	w := newWorld(1, simkv.Config{Delay: uniform(3 * time.Millisecond)})
	a := w.scraper(t, "a")
	a.leads(t)
	b := w.scraper(t, "b")
	w.until(t, "b joins", func() bool { return len(b.view.Members) == 2 })
	for round := range byte(3) {
		w.cluster.Cut(b.host)
		w.net.Run(20 * time.Second)
		acknowledge(t, a, round+1)
		if err := a.put(t, entry("x", round)); err != nil {
			t.Fatal(err)
		}
		w.cluster.Compact(w.cluster.Revision())
		w.cluster.Join(b.host)
		got, _ := a.load(t)
		w.until(t, "b follows", func() bool { return maps.Equal(keysOf(b.table), keysOf(got)) && len(b.view.Members) == 2 })
	}
	if b.wholes < 4 || a.wholes != 1 {
		t.Errorf("the whole table came %d times, and %d times to the leader", b.wholes, a.wholes)
	}
}

// Keys that cannot be read are reported and kept.
func TestBadRecordsAreReportedAndKept(t *testing.T) {
	w := newWorld(1, simkv.Config{})
	a := w.scraper(t, "a")
	a.leads(t)
	if err := a.put(t, entry("good", 1)); err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"aliases/not JSON": "{", "aliases/future": `{"v":2}`, "aliases/no key": `{"v":1}`, "aliases/line\nbreak": `{"v":1}`, "aliases/empty": "",
		"aliases/" + strings.Repeat("long", 100): "{", "pins/future": `{"v":2}`, "pins/checksum": "{}\n7 0123456789abcdef",
		"changes/1": "{}", "changes/4": `{"v":1,"chunks":0}`, "changes/2": "", "changes/3/0000": "chunk", "changes/3": "{}\n7 0123456789abcdef",
	}
	var ops []kv.Op
	for _, key := range slices.Sorted(maps.Keys(bad)) {
		ops = append(ops, kv.Op{Key: "/dhtprom/" + key, Value: []byte(bad[key])})
	}
	const pins, chunks = 2, 1
	a.host.Do(func() { a.commits.Store.Commit(kv.Txn{Then: ops}, func(kv.Result, error) {}) })
	w.until(t, "a follows", func() bool { return len(a.bad) == len(bad)-chunks })
	b := w.scraper(t, "b")
	w.until(t, "b follows", func() bool { return len(b.bad) == len(bad)-chunks })
	a.host.Do(func() { a.Update(domain.Member{Leaving: true}) })
	b.leads(t)
	acknowledge(t, b, 1)
	if err := b.put(t, entry("another", 1)); err != nil {
		t.Fatal(err)
	}
	got, problems := b.load(t)
	if len(got) != 252 || len(problems) != len(bad)-chunks && len(problems) != len(bad)-chunks-pins {
		t.Errorf("%d entries, bad %v", len(got), problems)
	}
	for _, p := range problems {
		if text := p.Error(); strings.Contains(text, "\n") || len(text) > 400 || !strings.Contains(text, "/dhtprom/") {
			t.Errorf("a problem is %q", text)
		}
	}
	var found []domain.Pin
	var badPins []error
	loaded := false
	b.host.Do(func() {
		b.LoadPins(func(p []domain.Pin, bad []error, _ error) { found, badPins, loaded = p, bad, true })
	})
	w.until(t, "pins are loaded", func() bool { return loaded })
	if len(found) != 0 || len(badPins) != pins {
		t.Errorf("pins %v, bad %v", found, badPins)
	}
	kept := map[string]string{}
	for _, i := range w.cluster.Items("/dhtprom/") {
		kept[strings.TrimPrefix(i.Key, "/dhtprom/")] = string(i.Value)
	}
	for key, value := range bad {
		if got, ok := kept[key]; !ok || got != value {
			t.Errorf("%q was changed to %q", key, got)
		}
	}
}

// The keys of a member are put again where they were removed or changed.
func TestMembersPutTheirKeysAgain(t *testing.T) {
	w := newWorld(1, simkv.Config{Delay: uniform(3 * time.Millisecond)})
	a := w.scraper(t, "a")
	a.leads(t)
	term := a.term
	id := string(a.view.Self)
	remove := func(key string) {
		a.host.Do(func() {
			a.commits.Store.Commit(kv.Txn{Then: []kv.Op{{Key: key, Delete: true}}}, func(kv.Result, error) {})
		})
	}
	remove("/dhtprom/members/" + id)
	w.net.Run(time.Second)
	if len(a.view.Members) != 1 || a.term != term {
		t.Errorf("view %+v, term %d", a.view, a.term)
	}
	remove(w.cluster.Items("/dhtprom/candidates/")[0].Key)
	w.until(t, "it leads again", func() bool { return a.term > term })
	late := kv.Op{Key: "/dhtprom/candidates/" + id + "/1", Value: []byte("late")}
	a.host.Do(func() { a.commits.Store.Commit(kv.Txn{Then: []kv.Op{late}}, func(kv.Result, error) {}) })
	w.net.Run(time.Second)
	if items := w.cluster.Items("/dhtprom/candidates/"); len(items) != 1 || a.term == 0 {
		t.Errorf("candidates %v, term %d", items, a.term)
	}
}

// refusing is a connection to a store that refuses to be read.
type refusing struct{ kv.Store }

var errDenied = errors.New("permission denied")

func (r refusing) List(_ string, done func(kv.List, error)) {
	r.Store.List("/none/", func(kv.List, error) { done(kv.List{}, errDenied) })
}

func TestJoinEndsIfTheStoreRefusesAccess(t *testing.T) {
	w := newWorld(1, simkv.Config{})
	w.wrap = func(store kv.Store) kv.Store { return refusing{store} }
	m := w.open("a")
	var failed error
	w.hosts["a"].Do(func() {
		m.Join(ports.GroupJoin{Identity: identity}, ports.GroupHandlers{}, func(err error) { failed = err })
	})
	w.net.Run(time.Minute)
	if !errors.Is(failed, errDenied) {
		t.Errorf("the error is %v", failed)
	}
}

// What a group costs its store: renewals of leases when it is idle, and one transaction for all that register at the same time.
func TestRequestsToTheStore(t *testing.T) {
	w := newWorld(1, simkv.Config{Delay: uniform(3 * time.Millisecond)})
	var members []*scraper
	for _, name := range []string{"a", "b", "c"} {
		s := w.scraper(t, name)
		members = append(members, s)
		w.until(t, name+" joins", func() bool { return len(s.view.Members) == len(members) })
	}
	a := members[0]
	count := func(f func()) (requests, changes int) {
		since := w.cluster.Stats()
		f()
		now := w.cluster.Stats()
		return now.Requests - since.Requests, now.Changes - since.Changes
	}
	if requests, changes := count(func() { w.net.Run(time.Hour) }); requests > 3*2161 || changes != 0 {
		t.Errorf("an idle hour takes %d requests and %d changes", requests, changes)
	}
	if requests, changes := count(func() {
		if err := a.put(t, entry("a", 1)); err != nil {
			t.Error(err)
		}
	}); requests != 1 || changes != 1 {
		t.Errorf("a registration takes %d requests and %d changes", requests, changes)
	}
	if requests, changes := count(func() {
		a.host.Do(func() {
			for i := range 200 {
				a.Put(entry(fmt.Sprint(i), 1), func(error) {})
			}
		})
		w.net.Run(100 * time.Millisecond)
	}); requests != 2 || changes != 2 {
		t.Errorf("200 registrations take %d requests and %d changes", requests, changes)
	}
	if requests, changes := count(func() {
		acknowledge(t, a, 1)
		w.net.Run(100 * time.Millisecond)
	}); requests != 6 || changes != 6 { // chunk, pointer, three times records, and the removal of both
		t.Errorf("a set of 250 targets takes %d requests and %d changes", requests, changes)
	}
}
