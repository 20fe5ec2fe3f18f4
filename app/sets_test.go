package app_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// seed derives the keys of clients with several targets.
var seed = pair(7).Seed

// targetsOf returns targets of clients with that seed, whose pages name their aliases.
func (w *world) targetsOf(aliases ...string) []app.ClientTarget {
	all := []app.ClientTarget{}
	for _, a := range aliases {
		all = append(all, app.ClientTarget{
			Target: domain.Target{Alias: domain.Alias(a), Hostname: "host", Service: "svc"},
			Source: portstest.NewSource(w.loop, "up 1\n# "+a+"\n"), Keys: app.AliasKeys(seed, domain.Alias(a)),
		})
	}
	return all
}

// startSet starts a client with several targets.
func (w *world) startSet(change func(*app.ClientConfig), aliases ...string) *testClient {
	w.t.Helper()
	return w.startClient("", 7, func(cfg *app.ClientConfig) {
		cfg.Source, cfg.Service, cfg.Hostname = nil, "", ""
		cfg.Targets, cfg.Keys = w.targetsOf(aliases...), app.AliasKeys(seed, "")
		if change != nil {
			change(cfg)
		}
	})
}

// set replaces the targets of a client.
func (c *testClient) set(targets []app.ClientTarget) {
	c.w.t.Helper()
	c.w.loop.Turn(func() {
		if err := c.SetTargets(targets); err != nil {
			c.w.t.Error(err)
		}
	})
}

func numbered(n int) (aliases []string) {
	for i := range n {
		aliases = append(aliases, fmt.Sprintf("target-%04d", i))
	}
	return aliases
}

func TestTargetsOfOneClientShareAKeyAndAConnection(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	aliases := numbered(20)
	c := w.startSet(nil, aliases...)
	w.loop.Advance(time.Second)
	for _, a := range aliases {
		w.mustScrape(a)
		if got := w.status(a).Key; got != c.PublicKey() {
			t.Errorf("%s has the key %v", a, got)
		}
	}
	if n := w.net.Links(c.PublicKey()); n != 1 {
		t.Errorf("%d connections", n)
	}
	if told := of[domain.SetTargets](w.events); len(told) != 1 || told[0].Added != 20 || told[0].Targets != 20 || !told[0].Updated || len(of[domain.SetAlias](w.events)) != 0 {
		t.Errorf("reported: %+v", told)
	}
	if told := of[domain.RegisterAliasSuccess](c.events); len(told) != 1 || told[0].Targets != 20 {
		t.Errorf("the client reports: %+v", told)
	}
	s := c.TargetStatus("target-0003")
	if !s.Registered || s.Requests != 1 || s.Scrapers[0].Bytes == 0 || c.Status().Requests != 20 {
		t.Errorf("status %+v, of all %+v", s, c.Status())
	}
	c.close()
	if left := w.aliases(); len(left) != 0 {
		t.Errorf("no goodbye for %v", left)
	}
	if w.scraper.Stats().Left != 20 || w.net.Links(c.PublicKey()) != 0 {
		t.Errorf("%d left, %d connections", w.scraper.Stats().Left, w.net.Links(c.PublicKey()))
	}
}

func TestLargestSetIsRegistered(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.startSet(nil, numbered(domain.MaxTargets)...)
	w.loop.Advance(time.Second)
	if n := len(w.scraper.Aliases()); n != domain.MaxTargets {
		t.Errorf("%d aliases", n)
	}
	if len(w.disk.Entries) != domain.MaxTargets {
		t.Errorf("%d entries on the disk", len(w.disk.Entries))
	}
}

func TestChangeOfASetTakesEffectAtOnce(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startSet(nil, "a", "b", "c")
	w.loop.Advance(time.Second)
	before := w.status("a").Expires
	next := w.targetsOf("b", "d")
	next[0].Service = "other"
	c.set(next)
	if got := w.aliases(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("changed before it was registered: %v", got)
	}
	w.loop.Advance(3 * time.Second)
	wantNames(t, w.aliases(), "b", "d")
	w.mustScrape("d")
	if w.status("b").Service != "other" || w.status("b").Expires.Equal(before) {
		t.Errorf("b is %+v", w.status("b"))
	}
	if told := of[domain.SetTargets](w.events); len(told) != 2 || told[1].Added != 1 || told[1].Removed != 2 || told[1].Changed != 1 {
		t.Errorf("%+v", told)
	}
	if _, _, err := w.scrape("a", 0); !errors.Is(err, domain.ErrUnknownAlias) {
		t.Errorf("a: %v", err)
	}
	// Changes that follow each other are registered together.
	for i := range 10 {
		c.set(w.targetsOf("b", fmt.Sprint("x", i)))
		w.loop.Advance(50 * time.Millisecond)
	}
	w.loop.Advance(5 * time.Second)
	wantNames(t, w.aliases(), "b", "x9")
	if n := len(of[domain.SetTargets](w.events)); n > 4 {
		t.Errorf("%d registrations", n)
	}
	c.set(nil)
	w.loop.Advance(3 * time.Second)
	if got := w.aliases(); len(got) != 0 {
		t.Errorf("%v are left", got)
	}
	c.set(w.targetsOf("y"))
	w.loop.Advance(3 * time.Second)
	w.mustScrape("y")
}

// One that belongs to another client does not prevent the others.
func TestRejectedTargetsDoNotAffectTheOthers(t *testing.T) {
	w := newWorld(t)
	w.startScraper(func(c *app.ScraperConfig) { c.PinAliases, c.MaxAliases = true, 4 })
	w.startClient("b", 2, nil)
	w.loop.Advance(time.Second)
	transport := portstest.NewTransport(w.net)
	transport.Proves = true // as all clients with sets
	c := w.startSet(func(c *app.ClientConfig) { c.Transport = transport }, "a", "b", "c", "d", "e")
	w.loop.Advance(2 * time.Second)
	wantNames(t, w.aliases(), "a", "b", "c", "d")
	if w.status("b").Key != pair(2).Public {
		t.Error("b was taken")
	}
	told := of[domain.RegisterAliasSuccess](c.events)
	want := []domain.RejectedTarget{{Alias: "b", Reason: domain.ReasonPinned}, {Alias: "e", Reason: domain.ReasonTableFull}}
	if len(told) != 1 || !slices.Equal(told[0].Rejected, want) {
		t.Errorf("%+v", told)
	}
	if s := c.TargetStatus("b"); s.Registered || s.LastError == nil || !strings.Contains(s.LastError.Error(), "pinned") {
		t.Errorf("status of b: %+v", s)
	}
	if s := c.TargetStatus("a"); !s.Registered || s.LastError != nil {
		t.Errorf("status of a: %+v", s)
	}
	if w.scraper.Stats().Rejected[domain.ReasonPinned] == 0 || w.scraper.Stats().Rejected[domain.ReasonTableFull] == 0 {
		t.Errorf("%v", w.scraper.Stats().Rejected)
	}
}

// A renewal is a request without content, and brings back what was lost meanwhile.
func TestRenewalOfAKnownSetHasNoContent(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startSet(func(c *app.ClientConfig) { c.RegisterInterval = time.Hour }, "a", "b")
	w.loop.Advance(time.Second)
	first := w.status("a").Renewed
	w.loop.Turn(func() { w.scraper.Forget("b", func(bool, error) {}) })
	w.loop.Advance(time.Second)
	wantNames(t, w.aliases(), "a")
	w.loop.Advance(time.Hour)
	wantNames(t, w.aliases(), "a", "b")
	if !w.status("a").Renewed.After(first) {
		t.Error("a was not renewed")
	}
	w.mustScrape("b")
	_ = c
}

func TestSetSurvivesARestartOfTheScraper(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	aliases := numbered(30)
	c := w.startSet(nil, aliases...)
	w.loop.Advance(time.Second)
	w.closeScraper()
	w.startScraper(nil)
	w.loop.Advance(2 * time.Second)
	for _, a := range aliases {
		w.mustScrape(a)
	}
	c.set(w.targetsOf("target-0001", "new")) // known again, by what is in the store
	w.loop.Advance(3 * time.Second)
	wantNames(t, w.aliases(), "new", "target-0001")
	c.close()
	if left := w.aliases(); len(left) != 0 {
		t.Errorf("no goodbye for %v", left)
	}
}

func TestExpiryOfASetIsOneEvent(t *testing.T) {
	w := newWorld(t)
	w.startScraper(func(c *app.ScraperConfig) { c.Expiry, c.CheckInterval = time.Hour, time.Minute })
	c := w.startSet(func(c *app.ClientConfig) { c.RegisterInterval = 24 * time.Hour }, numbered(12)...)
	w.loop.Advance(time.Second)
	w.net.Cut(c.PublicKey(), true)
	w.net.Cut(pair(1).Public, true)
	w.loop.Advance(2 * time.Hour)
	if told := of[domain.SetExpired](w.events); len(told) != 1 || told[0].Targets != 12 || told[0].Key != c.PublicKey() || len(of[domain.AliasExpired](w.events)) != 0 {
		t.Errorf("%+v", told)
	}
	if n := len(w.scraper.Aliases()); n != 0 {
		t.Errorf("%d aliases", n)
	}
}

// The goodbye of the old process comes after the registration of the new one.
func TestRollingRestartOfASetKeepsIt(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	old := w.startSet(nil, "a", "b")
	w.loop.Advance(time.Second)
	next := w.startSet(nil, "b", "c")
	w.loop.Advance(time.Second)
	wantNames(t, w.aliases(), "b", "c")
	old.close()
	wantNames(t, w.aliases(), "b", "c")
	w.mustScrape("c")
	next.close()
	if left := w.aliases(); len(left) != 0 {
		t.Errorf("no goodbye for %v", left)
	}
}

func TestFailedWriteOfASetChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startSet(nil, "a", "b")
	w.loop.Advance(time.Second)
	w.disk.Fail = errors.New("the disk is full")
	c.set(w.targetsOf("b", "c"))
	w.loop.Advance(2 * time.Second)
	wantNames(t, w.aliases(), "a", "b")
	if told := of[domain.RegisterAliasError](c.events); len(told) == 0 || !strings.Contains(told[0].Err.Error(), "Failed to register") || strings.Contains(told[0].Err.Error(), "disk") {
		t.Errorf("%+v", told)
	}
	w.disk.Fail = nil
	w.loop.Advance(2 * time.Minute)
	wantNames(t, w.aliases(), "b", "c")
}

func TestClientReportsTheSetThatItRegistered(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startSet(nil, "a", "b")
	w.loop.Advance(time.Second)
	w.disk.Hold = true
	c.set(w.targetsOf("a", "b", "c"))
	w.loop.Advance(2 * time.Second)
	c.set(w.targetsOf("a"))
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(500 * time.Millisecond)
	if told := of[domain.RegisterAliasSuccess](c.events); len(told) != 2 || told[1].Targets != 3 {
		t.Errorf("%+v", told)
	}
}

// A write may fail although its change is on the disk. What follows is relative to the table, so the disk gets that again first: targets that
// are removed, added or changed in the failed write and not in the next one would be wrong after a restart.
func TestDiskHasTheTableAfterAFailedWriteOfASet(t *testing.T) {
	w := newWorld(t)
	fails := 0
	w.startScraper(func(c *app.ScraperConfig) { c.Store = late{c.Store, &fails} })
	c := w.startSet(nil, "a", "b", "c")
	w.loop.Advance(time.Second)
	fails = 2 // the one that restores the table, too
	next := w.targetsOf("a", "b", "d")
	next[1].Service = "other"
	c.set(next)
	w.loop.Advance(1500 * time.Millisecond)
	if fails == 2 {
		t.Fatal("nothing was written")
	}
	c.set(w.targetsOf("a", "b", "c", "e"))
	w.loop.Advance(5 * time.Minute)
	wantNames(t, w.aliases(), "a", "b", "c", "e")
	if len(w.disk.Entries) != 4 || w.disk.Entries["b"].Service != "svc" || w.disk.Entries["c"].Alias == "" {
		t.Errorf("on the disk: %v", w.disk.Entries)
	}
	c.close()
	if left := w.aliases(); len(left) != 0 || len(w.disk.Entries) != 0 {
		t.Errorf("no goodbye for %v, on the disk %v", left, w.disk.Entries)
	}
}

// late is a store whose writes of sets fail a number of times after they took effect.
type late struct {
	ports.AliasStore
	fails *int
}

func (l late) PutSet(c domain.SetChange, done func(error)) {
	l.AliasStore.PutSet(c, func(err error) {
		if *l.fails > 0 {
			*l.fails--
			err = errors.New("the flush failed")
		}
		done(err)
	})
}

// A registration that is not written leaves nothing.
func TestFailedTakeoverFromASetLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.startSet(nil, "a", "b")
	w.loop.Advance(time.Second)
	w.disk.Fail = errors.New("the disk is full")
	w.startClient("a", 9, nil)
	w.loop.Advance(time.Second)
	if w.scraper.Stats().Rejected[domain.ReasonStore] == 0 {
		t.Fatal("nothing was rejected")
	}
	w.scraper.Sizes(func(what string, held, most int) {
		if held > most {
			t.Errorf("%d %s, want at most %d", held, what, most)
		}
	})
}

// A client that is stopped just after a change says goodbye while that is being written.
func TestGoodbyeOfASetWaitsForAWrite(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startSet(nil, "a", "b")
	w.loop.Advance(time.Second)
	w.disk.Hold = true
	c.set(w.targetsOf("b", "c"))
	w.loop.Advance(2 * time.Second)
	closed := false
	w.loop.Turn(func() { c.Close(func() { closed = true }) })
	w.loop.Advance(500 * time.Millisecond)
	wantNames(t, w.aliases(), "a", "b")
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(5 * time.Second)
	if left := w.aliases(); len(left) != 0 || len(w.disk.Entries) != 0 {
		t.Errorf("no goodbye for %v, on the disk %v", left, w.disk.Entries)
	}
	if failed := of[domain.LeaveAliasError](c.events); !closed || len(failed) != 0 {
		t.Errorf("closed %v, %+v", closed, failed)
	}
}

// A table of an earlier version has an alias under a key of its own, and a pin of that. Whichever side is updated first, the alias and its
// pin move to the key of the set.
func TestPinsOfSinglesMoveToTheirSet(t *testing.T) {
	for _, first := range []string{"client", "scraper"} {
		w := newWorld(t)
		w.net.NoSets = true
		w.startScraper(w.withPins)
		c := w.startSet(func(c *app.ClientConfig) { c.RegisterInterval = time.Hour }, "a", "b")
		w.loop.Advance(5 * time.Second)
		for _, a := range []domain.Alias{"a", "b"} {
			if got := w.status(string(a)).Key; got != app.AliasKeys(seed, a).Public {
				t.Fatalf("%s has the key %v", a, got)
			}
		}
		w.loop.Turn(func() { w.scraper.Pin("a", domain.PublicKey{}, func(domain.Pin, error) {}) })
		w.loop.Advance(time.Second)
		if first == "scraper" {
			c.close()
			w.net.NoSets = false
			c = w.startSet(nil, "a", "b")
		}
		w.net.NoSets = false
		w.loop.Advance(2 * time.Hour)
		for _, a := range []string{"a", "b"} {
			if got := w.status(a).Key; got != c.PublicKey() {
				t.Errorf("%s first: %s has the key %v", first, a, got)
			}
			w.mustScrape(a)
		}
		if p := w.scraper.Pins(); len(p) != 1 || p[0].Key != c.PublicKey() || w.disk.Pins["a"].Key != c.PublicKey() {
			t.Errorf("%s first: pins %+v, on the disk %+v", first, p, w.disk.Pins)
		}
		if n := w.net.Links(app.AliasKeys(seed, "a").Public) + w.net.Links(app.AliasKeys(seed, "b").Public); n != 0 {
			t.Errorf("%s first: %d connections of singles are left", first, n)
		}
		c.close()
		if left := w.aliases(); len(left) != 0 {
			t.Errorf("%s first: no goodbye for %v", first, left)
		}
	}
}

// A scraper that rejects all targets does not keep their set.
func TestSetMovesWhereAllItsTargetsArePinned(t *testing.T) {
	w := newWorld(t)
	w.net.NoSets = true
	w.startScraper(func(c *app.ScraperConfig) { c.PinAliases = true })
	transport := portstest.NewTransport(w.net)
	transport.Proves = true
	c := w.startSet(func(c *app.ClientConfig) { c.Transport, c.RegisterInterval = transport, time.Hour }, "a", "b")
	w.loop.Advance(5 * time.Second)
	for _, a := range []string{"a", "b"} {
		w.mustScrape(a)
	}
	w.net.NoSets = false
	w.loop.Advance(time.Hour)
	for _, a := range []string{"a", "b"} {
		if got := w.status(a).Key; got != c.PublicKey() {
			t.Errorf("%s has the key %v", a, got)
		}
		w.mustScrape(a)
		if s := c.TargetStatus(domain.Alias(a)); s.Requests != 2 {
			t.Errorf("the client counts %d requests for %s", s.Requests, a)
		}
	}
	if s := c.Status(); s.Requests != 4 || s.Registrations < 3 {
		t.Errorf("the client counts %+v", s)
	}
	c.close()
	if left := w.aliases(); len(left) != 0 {
		t.Errorf("no goodbye for %v", left)
	}
}

// A scraper of an older version reads the table, and requests metrics of the key of the set without a target.
func TestScrapeWithoutATargetRegistersTheSetAgain(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startSet(func(c *app.ClientConfig) { c.RegisterInterval = 24 * time.Hour }, "a", "b")
	w.loop.Advance(time.Second)
	w.closeScraper()
	w.net.NoSets, w.net.Texts = true, true
	w.startScraper(nil)
	w.loop.Advance(time.Second)
	if got := w.status("a").Key; got != c.PublicKey() {
		t.Fatalf("a has the key %v", got)
	}
	if _, _, err := w.scrape("a", 0); err == nil {
		t.Error("a request without a target was answered")
	}
	w.loop.Advance(5 * time.Second)
	for _, a := range []domain.Alias{"a", "b"} {
		if got := w.status(string(a)).Key; got != app.AliasKeys(seed, a).Public {
			t.Errorf("%s has the key %v", a, got)
		}
		w.mustScrape(string(a))
	}
	if n := len(of[domain.AliasAttempt](c.events)); n != 4 { // of the set twice, and of each target
		t.Errorf("%d registrations", n)
	}
}

// The targets register by themselves while the scraper, which was updated, takes the set: an alias may go back to its own key, and the client
// then gives it up.
func TestSetKeepsTargetsThatRegisterByThemselvesMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.net.NoSets = true
	w.startScraper(nil)
	transport := portstest.NewTransport(w.net)
	aliases := numbered(200)
	c := w.startSet(func(c *app.ClientConfig) { c.Transport = transport }, aliases...)
	w.loop.Advance(time.Minute)
	if n := len(w.aliases()); n != len(aliases) {
		t.Fatalf("%d aliases", n)
	}
	w.net.NoSets = false
	w.loop.Turn(func() { transport.Move(ports.MoveElsewhere) }) // all register, within a second
	w.loop.Advance(10 * time.Second)
	if n := len(w.aliases()); n != len(aliases) {
		t.Errorf("%d aliases, want %d", n, len(aliases))
	}
	for _, a := range w.scraper.Aliases() {
		if a.Key != c.PublicKey() {
			t.Errorf("%s has the key %v", a.Alias, a.Key)
		}
	}
}

// A process of an older version that runs with the same seed takes an alias, and removes it when it stops.
func TestSetRenewsTargetsThatAnOlderProcessTook(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startSet(func(c *app.ClientConfig) { c.RegisterInterval = time.Hour }, "a", "b")
	w.loop.Advance(time.Second)
	old := w.startClient("a", 7, func(c *app.ClientConfig) { c.Keys = app.AliasKeys(seed, "a") })
	w.loop.Advance(time.Second)
	if got := w.status("a").Key; got != old.PublicKey() {
		t.Fatalf("a has the key %v", got)
	}
	w.mustScrape("a")
	old.close()
	wantNames(t, w.aliases(), "b")
	w.loop.Advance(time.Hour)
	if got := w.status("a").Key; got != c.PublicKey() {
		t.Errorf("a has the key %v", got)
	}
	w.mustScrape("a")
}

// A pin of a key that is not the client's holds, whatever its set proves.
func TestPinOfAnotherKeyIsNotMoved(t *testing.T) {
	w := newWorld(t)
	w.startScraper(w.withPins)
	w.loop.Turn(func() { w.scraper.Pin("a", pair(99).Public, func(domain.Pin, error) {}) })
	w.loop.Advance(time.Second)
	w.startSet(nil, "a", "b")
	w.loop.Advance(time.Second)
	wantNames(t, w.aliases(), "b")
	if p := w.scraper.Pins(); len(p) != 1 || p[0].Key != pair(99).Public {
		t.Errorf("%+v", p)
	}
}

func TestTargetsOfAScraperWithoutSetsAreServedByThemselves(t *testing.T) {
	w := newWorld(t)
	w.net.NoSets = true
	w.startScraper(nil)
	aliases := numbered(300)
	c := w.startSet(nil, aliases...)
	w.loop.Advance(time.Minute)
	if n := len(w.aliases()); n != 256 {
		t.Errorf("%d aliases", n)
	}
	w.mustScrape("target-0000")
	w.mustScrape("target-0255")
	told := of[domain.SetUnsupported](c.events)
	if len(told) != 1 || told[0].Targets != 300 || told[0].Served != 256 {
		t.Errorf("%+v", told)
	}
	if s := c.TargetStatus("target-0255"); !s.Registered || s.Requests != 1 {
		t.Errorf("served: %+v", s)
	}
	if s := c.Status(); !s.Registered || s.LastError != nil || s.Registrations != 256 || s.Connections != 256 || s.Requests != 2 || len(s.Scrapers) != 1 || s.Scrapers[0].Bytes == 0 {
		t.Errorf("of all: %+v", s)
	}
	if s := c.TargetStatus("target-0256"); s.Registered || s.LastError == nil {
		t.Errorf("not served: %+v", s)
	}
	// Its targets change.
	next := w.targetsOf("target-0001", "new")
	next[0].Service = "other"
	c.set(next)
	w.loop.Advance(time.Minute)
	wantNames(t, w.aliases(), "new", "target-0001")
	if w.status("target-0001").Service != "other" {
		t.Errorf("%+v", w.status("target-0001"))
	}
	w.mustScrape("new")
	c.close()
	if left := w.aliases(); len(left) != 0 {
		t.Errorf("no goodbye for %v", left)
	}
}

// The aliases of a scraper that is updated move to the set. One that a registration by itself, sent before, takes back from it goes with its
// goodbye: the set is registered again after that, and not an interval later.
func TestSetIsWholeAfterItsScraperIsUpdated(t *testing.T) {
	w := newWorld(t)
	w.net.NoSets = true
	late, by := false, domain.Entry{}
	w.startScraper(func(c *app.ScraperConfig) {
		tell := c.OnEvent
		c.OnEvent = func(e domain.Event) {
			tell(e)
			if _, taken := e.(domain.SetTargets); taken && !late {
				late = true
				r := domain.Register{Alias: "b", Key: by.Key, Hostname: by.Hostname, Service: by.Service, Instance: by.Instance}
				w.loop.Post(func() { w.scraper.PutAlias(r, func(bool, error) {}) })
			}
		}
	})
	c := w.startSet(func(c *app.ClientConfig) { c.RegisterInterval = time.Hour }, "a", "b")
	w.loop.Advance(5 * time.Second)
	w.net.NoSets = false
	by = w.status("b").Entry
	w.loop.Until(2*time.Hour, func() bool { return late })
	w.loop.Advance(10 * time.Second)
	for _, a := range []string{"a", "b"} {
		if got := w.aliases(); !slices.Contains(got, a) {
			t.Fatalf("aliases %v", got)
		}
		if got := w.status(a).Key; got != c.PublicKey() {
			t.Errorf("%s belongs to %v", a, got)
		}
	}
}

// Of two scrapers without sets, one is updated: what was registered by itself ends there, and stays with the other.
func TestUpdatedScraperIsLeftByTargetsThatAnotherServes(t *testing.T) {
	w := newWorld(t)
	elder := &elderTransport{ScraperTransport: portstest.NewTransport(w.net), older: true}
	w.startScraper(func(c *app.ScraperConfig) { c.Transport = &elderTransport{ScraperTransport: c.Transport, older: true} })
	first := w.scraper
	w.disk, w.targets = portstest.NewDisk(), portstest.NewTargets(w.loop)
	w.startScraper(func(c *app.ScraperConfig) { c.Keys, c.Transport = pair(11), elder })
	c := w.startSet(func(c *app.ClientConfig) {
		c.Scrapers, c.RegisterInterval = []app.ClientScraper{{Key: pair(11).Public, Secret: secret}}, time.Hour
	}, "a", "b")
	keys := func(s *app.Scraper) (keys []domain.PublicKey) {
		for _, a := range s.Aliases() {
			keys = append(keys, a.Key)
		}
		return keys
	}
	alone := []domain.PublicKey{app.AliasKeys(seed, "a").Public, app.AliasKeys(seed, "b").Public}
	w.loop.Advance(time.Minute)
	if a, b := keys(first), keys(w.scraper); !slices.Equal(a, alone) || !slices.Equal(b, alone) {
		t.Fatalf("before: %v and %v", a, b)
	}
	elder.older = false
	w.mustScrape("a")
	before := c.Status().Scrapers[1]
	for range 3 {
		w.loop.Advance(time.Hour)
		set := []domain.PublicKey{c.PublicKey(), c.PublicKey()}
		if a, b := keys(first), keys(w.scraper); !slices.Equal(a, alone) || !slices.Equal(b, set) {
			t.Errorf("after: %v and %v, want %v and %v", a, b, alone, set)
		}
	}
	if after := c.Status().Scrapers[1]; !after.Registered || after.Requests != before.Requests || after.Registrations <= before.Registrations {
		t.Errorf("counted before: %+v, after: %+v", before, after)
	}
}

// elderTransport is the transport of a scraper without sets, while older is set.
type elderTransport struct {
	ports.ScraperTransport
	older bool
}

func (e *elderTransport) ListenAliases(l ports.AliasListen, ready func(error)) (ports.Listener, error) {
	open := l.OnOpen
	l.OnOpen = func(c ports.Conn) ports.AliasHandlers {
		h := open(c)
		if e.older {
			h.OnSet = nil
		}
		return h
	}
	return e.ScraperTransport.ListenAliases(l, ready)
}

// Runs with the same seed are identical.
func TestClientsAreReleasedInOrder(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	aliases := numbered(20)
	for i, a := range aliases {
		w.startClient(a, byte(100+i), nil)
	}
	w.loop.Advance(5 * time.Second)
	w.events = nil
	w.startSet(nil, aliases...)
	w.loop.Advance(5 * time.Second)
	var order []domain.PublicKey
	for _, e := range of[domain.ConnectionClose](w.events) {
		if e.Side == domain.SideScrape {
			order = append(order, e.Peer.Key)
		}
	}
	if len(order) != len(aliases) {
		t.Fatalf("%d clients were released", len(order))
	}
	for i, key := range order {
		if key != pair(byte(100+i)).Public {
			t.Errorf("%d. is %v", i, key)
		}
	}
}

// Runs with the same seed are identical.
func TestAliasesAreRegisteredByThemselvesInOrder(t *testing.T) {
	w := newWorld(t)
	w.net.NoSets = true
	w.startScraper(nil)
	w.disk, w.targets = portstest.NewDisk(), portstest.NewTargets(w.loop)
	w.startScraper(func(c *app.ScraperConfig) { c.Keys = pair(11) })
	w.net.Cut(pair(11).Public, true)
	c := w.startSet(func(c *app.ClientConfig) {
		c.Scrapers = []app.ClientScraper{{Key: pair(11).Public, Secret: secret}}
	}, numbered(20)...)
	w.loop.Advance(time.Minute)
	w.net.Cut(pair(11).Public, false)
	w.loop.Advance(5 * time.Minute)
	var order []string
	for _, e := range of[domain.AliasAttempt](c.events) {
		if e.Scraper == pair(11).Public && e.Register.Alias != "" {
			order = append(order, string(e.Register.Alias))
		}
	}
	if len(order) < 20 || !slices.IsSorted(order[:20]) {
		t.Errorf("%v", order)
	}
}

func TestClientRegistersItsSetAgainWithAnotherSecret(t *testing.T) {
	for _, without := range []bool{false, true} {
		w := newWorld(t)
		w.net.NoSets = without
		w.startScraper(nil)
		c := w.startSet(nil, "a", "b")
		w.loop.Advance(5 * time.Second)
		other := domain.SecretFrom([32]byte{9})
		w.loop.Turn(func() {
			if n := c.SetSecrets([]app.ClientScraper{{Key: pair(1).Public, Secret: secret}, {Key: pair(77).Public, Secret: other}}); n != 0 {
				t.Errorf("the same secret: %d changed", n)
			}
			if err := w.scraper.SetSecrets([]domain.Secret{other}); err != nil {
				t.Error(err)
			}
			if n := c.SetSecrets([]app.ClientScraper{{Key: pair(1).Public, Secret: other}}); n != 1 {
				t.Errorf("another secret: %d changed", n)
			}
		})
		before := w.scraper.Stats().Registrations
		w.loop.Advance(3 * time.Second)
		if n := w.scraper.Stats().Registrations - before; n == 0 || w.scraper.Stats().Rejected[domain.ReasonUnauthorised] != 0 {
			t.Errorf("without sets %v: %d registrations with the new secret", without, n)
		}
	}
}

// Fields of a caller that a target did not ask for stay at the scraper.
func TestTargetGetsTheHeaderFieldsThatItAsksFor(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	targets := w.targetsOf("a", "b")
	fields, err := domain.ParseFields([]string{"X-Tenant"})
	if err != nil {
		t.Fatal(err)
	}
	targets[0].Fields = fields
	w.startSet(func(c *app.ClientConfig) { c.Targets = targets })
	w.loop.Advance(time.Second)
	header := []domain.HeaderField{{Name: "Accept", Value: "text/plain"}, {Name: "Authorization", Value: "Bearer x"}, {Name: "X-Tenant", Value: "blue"}}
	for i, want := range [][]domain.HeaderField{{header[0], header[2]}, {header[0]}} {
		over := false
		w.loop.Turn(func() {
			w.scraper.Request(targets[i].Alias, domain.ScrapeRequest{Header: header}, ports.ScrapeHandlers{
				OnHead: func(domain.ScrapeHead) {}, OnData: func([]byte) {}, OnEnd: func(error) { over = true },
			})
		})
		w.loop.Until(time.Minute, func() bool { return over })
		last := targets[i].Source.(*portstest.Source).Last
		if !slices.Equal(last.Header, want) || last.Target != string(targets[i].Alias) {
			t.Errorf("%s got %+v", targets[i].Alias, last)
		}
	}
}

// A scraper that sends more than a target asks for does not get it through, and a target that is not there is its error.
func TestClientPassesOnWhatItsTargetsAskFor(t *testing.T) {
	w := newWorld(t)
	targets := w.targetsOf("a", "b")
	targets[0].Fields, _ = domain.ParseFields([]string{"X-Tenant"})
	c := w.startSet(func(c *app.ClientConfig) { c.Targets = targets })
	s := scraperOf(w, c)
	header := []domain.HeaderField{{Name: "Accept", Value: "text/plain"}, {Name: "Authorization", Value: "Bearer x"}, {Name: "Cookie", Value: "x"}, {Name: "X-Tenant", Value: "blue"}}
	var got []error
	for _, target := range []string{"a", "b", "c", ""} {
		w.loop.Turn(func() {
			s.Scrape(domain.ScrapeRequest{Target: target, Header: slices.Clone(header), Within: time.Second}, ends(&got))
		})
		w.loop.Advance(200 * time.Millisecond)
	}
	for i, want := range [][]domain.HeaderField{{header[0], header[3]}, {header[0]}} {
		if last := targets[i].Source.(*portstest.Source).Last; !slices.Equal(last.Header, want) {
			t.Errorf("%s got %+v", targets[i].Alias, last)
		}
	}
	if len(got) != 4 || got[0] != nil || got[1] != nil {
		t.Fatalf("%v", got)
	}
	for _, err := range got[2:] {
		if failure, ok := errors.AsType[*domain.ScrapeError](err); !ok || failure.Fault != domain.FaultRequest {
			t.Errorf("%v", err)
		}
	}
	if failed := of[domain.MetricsError](c.events); len(failed) != 2 || failed[0].Target != "c" {
		t.Errorf("%+v", failed)
	}
}

func TestTargetsOfAClientAreChecked(t *testing.T) {
	w := newWorld(t)
	good := w.targetsOf("a", "b")
	for want, spoil := range map[string]func(*app.ClientConfig){
		`duplicate alias "a"`: func(c *app.ClientConfig) { c.Targets[1].Alias = "a" },
		"source of metrics":   func(c *app.ClientConfig) { c.Targets[1].Source = nil },
		"alias is empty":      func(c *app.ClientConfig) { c.Targets[1].Alias = "" },
		"Targets: want Source, Alias, Service and Hostname in the targets only": func(c *app.ClientConfig) { c.Alias = "x" },
	} {
		cfg := app.ClientConfig{Host: w.loop, Transport: portstest.NewTransport(w.net), Scraper: pair(1).Public, Secret: secret, Targets: slices.Clone(good)}
		spoil(&cfg)
		if _, err := app.NewClient(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	c := w.startSet(nil, "a")
	w.loop.Turn(func() {
		if err := c.SetTargets([]app.ClientTarget{good[0], good[0]}); err == nil || c.Set().Len() != 1 {
			t.Errorf("%v, %d targets", err, c.Set().Len())
		}
	})
	single := w.startClient("single", 3, nil)
	w.loop.Turn(func() {
		if err := single.SetTargets(good); err == nil {
			t.Error("a single target was replaced")
		}
	})
}

func TestAliasKeysDependOnSeedAndNameAlone(t *testing.T) {
	a := app.AliasKeys(seed, "web")
	if b := app.AliasKeys(seed, "web"); a.Public != b.Public {
		t.Error("the same alias has two keys")
	}
	for name, other := range map[string]domain.KeyPair{
		"another alias": app.AliasKeys(seed, "web2"), "another seed": app.AliasKeys(pair(8).Seed, "web"), "the seed itself": pair(7), "the set": app.AliasKeys(seed, ""),
	} {
		if other.Public == a.Public {
			t.Errorf("%s has the same key", name)
		}
	}
	// Operators have pinned keys: this must never change.
	if got := a.Public.String(); got != "4ztscq3a3fopy1h8an99i8kas53yota3btsam57o5jeked41wtho" {
		t.Errorf("the key of a known seed and alias has become %s", got)
	}
}
