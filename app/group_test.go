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
	"github.com/dhtprom/dhtprom/ports/scrape"
)

// fellows is a group of scrapers in a world.
type fellows struct {
	*world
	group   *portstest.Members
	by      map[string]*fellow
	passed  int                  // scrapes that went from one member to another
	silent  string               // member that does not answer others
	header  []domain.HeaderField // of the last scrape that was passed on
	changed func(*app.ScraperConfig)
}

// fellow is one of them.
type fellow struct {
	of        *fellows
	name      string
	app       *app.Scraper
	transport *portstest.Transport
	events    events
}

func newFellows(t *testing.T, names ...string) *fellows {
	w := newWorld(t)
	f := &fellows{world: w, group: portstest.NewMembers(w.disk), by: map[string]*fellow{}}
	for _, name := range names {
		f.start(name)
	}
	return f
}

func (f *fellows) start(name string) *fellow {
	f.t.Helper()
	m := &fellow{of: f, name: name, transport: portstest.NewTransport(f.net)}
	group, store := f.group.Member(f.loop, name)
	cfg := app.ScraperConfig{
		Host: f.loop, Transport: m.transport, Clock: f.clock, Store: store, Keys: pair(1), Secrets: []domain.Secret{secret},
		OnEvent: m.events.add,
		Group:   &app.GroupConfig{Group: group, Members: f, Member: domain.Member{Name: name, URL: "http://" + name}},
	}
	if f.changed != nil {
		f.changed(&cfg)
	}
	var err error
	if m.app, err = app.NewScraper(cfg); err != nil {
		f.t.Fatal(err)
	}
	f.by[name] = m
	started := false
	f.loop.Turn(func() {
		m.app.Start(func(err error) {
			started = true
			if err != nil {
				f.t.Errorf("%s: %v", name, err)
			}
		})
	})
	f.loop.Advance(3 * time.Second)
	if !started || !m.app.Ready() {
		f.t.Fatalf("%s did not start: started %v, ready %v", name, started, m.app.Ready())
	}
	return m
}

// Source implements ports.Members.
func (f *fellows) Source(m domain.Member, a domain.Alias) ports.MetricsSource {
	return passing{f, m, a}
}

// passing passes scrapes on to a member.
type passing struct {
	of    *fellows
	to    domain.Member
	alias domain.Alias
}

// Scrape implements ports.MetricsSource.
func (p passing) Scrape(r domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	p.of.passed++
	p.of.header = r.Header
	if p.to.Name == p.of.silent {
		return scrape.Send(p.of.loop, scrape.Page{}, fmt.Errorf("%w: refused", domain.ErrNoAnswer), h)
	}
	r.PassedOn = true
	return p.of.by[p.to.Name].app.Request(p.alias, r, h)
}

// vanish ends a member as kill -9 does.
func (f *fellows) vanish(name string) {
	f.group.Vanish(name)
	f.loop.Turn(func() { f.by[name].transport.Close(func() {}) })
}

func (f *fellow) scrape(alias string) (body string, err error) {
	f.of.t.Helper()
	finished := false
	f.of.loop.Turn(func() {
		f.app.Scrape(domain.Alias(alias), 5*time.Second, func(b []byte, e error) { finished, body, err = true, string(b), e })
	})
	if !f.of.loop.Until(time.Minute, func() bool { return finished }) {
		f.of.t.Fatalf("a scrape of %q at %s hangs", alias, f.name)
	}
	return body, err
}

func (f *fellow) mustScrape(alias string) {
	f.of.t.Helper()
	if body, err := f.scrape(alias); err != nil || !strings.Contains(body, "# "+alias+"\n") {
		f.of.t.Errorf("%s: %q, %v", f.name, body, err)
	}
}

func (f *fellow) aliases() (all []string) {
	for _, a := range f.app.Aliases() {
		all = append(all, string(a.Alias))
	}
	return all
}

func TestEachMemberServesTheTableAndTheLeaderHoldsTheClients(t *testing.T) {
	f := newFellows(t, "a", "b", "c")
	f.startClient("web", 2, nil)
	f.loop.Advance(time.Second)
	for _, name := range []string{"a", "b", "c"} {
		if got := f.by[name].aliases(); !slices.Equal(got, []string{"web"}) {
			t.Errorf("%s has %v", name, got)
		}
		f.by[name].mustScrape("web")
	}
	if f.passed != 2 {
		t.Errorf("%d scrapes went to another member, want 2", f.passed)
	}
	if n := f.net.Links(pair(2).Public); n != 1 {
		t.Errorf("%d connections to the client, want that of the leader", n)
	}
	for name, holder := range map[string]string{"a": "", "b": "a"} {
		if got := f.by[name].app.Aliases()[0].Holder; got != holder {
			t.Errorf("%s: held by %q, want %q", name, got, holder)
		}
	}
	if _, err := f.by["b"].scrape("none"); !errors.Is(err, domain.ErrUnknownAlias) {
		t.Errorf("an alias that does not exist: %v", err)
	}
}

func TestAnotherMemberTakesOverFromALeaderThatVanishes(t *testing.T) {
	f := newFellows(t, "a", "b")
	c := f.startClient("web", 2, nil)
	f.loop.Advance(time.Second)
	before := c.Status().Registrations
	f.vanish("a")
	f.loop.Advance(2 * time.Second)
	if f.group.Leads() != "b" {
		t.Fatalf("%q leads", f.group.Leads())
	}
	f.by["b"].mustScrape("web")
	if n := c.Status().Registrations - before; n > 1 {
		t.Errorf("the client registered %d times", n)
	}
	f.startClient("db", 3, nil)
	f.loop.Advance(time.Second)
	f.by["b"].mustScrape("db")
	if want := []string{"group-member", "group-lead"}; !slices.Equal(f.by["b"].events.names(want...), want[1:]) && len(f.by["b"].events.names("group-lead")) != 1 {
		t.Errorf("events %v", f.by["b"].events.names())
	}
}

func TestClientsStayWhereTheyAreWhenTheLeaderChanges(t *testing.T) {
	f := newFellows(t, "a", "b")
	f.startClient("of-a", f.keyOf("a", "a", "b"), nil)
	f.startClient("of-b", f.keyOf("b", "a", "b"), nil)
	f.loop.Advance(time.Second)
	dials := f.net.Dials
	f.group.Depose()
	f.loop.Advance(time.Second)
	if _, err := f.send(registration("new", 4)); err == nil {
		t.Error("a group without a leader takes a registration")
	}
	f.loop.Advance(time.Minute)
	for _, name := range []string{"a", "b"} {
		f.by[name].mustScrape("of-a")
		f.by[name].mustScrape("of-b")
	}
	f.group.Elect("b")
	f.loop.Advance(2 * time.Second)
	f.by["a"].mustScrape("of-b")
	f.by["b"].mustScrape("of-a")
	if f.passed != 4 {
		t.Errorf("%d scrapes went to another member, want 4", f.passed)
	}
	if n := f.net.Dials - dials; n > 1 {
		t.Errorf("%d dials, want that of the registration that failed", n)
	}
	if _, err := f.send(registration("new", 4)); err != nil {
		t.Error(err)
	}
}

func TestSessionsStayWhileTheNextHolderDials(t *testing.T) {
	f := newFellows(t, "a")
	n := f.keyOf("b", "a", "b")
	f.startClient("web", n, nil)
	f.loop.Advance(time.Second)
	f.net.Mute(pair(n).Public, true) // new connections have no channel
	f.start("b")
	f.by["a"].mustScrape("web")
	if f.passed != 0 {
		t.Errorf("%d scrapes went to the next holder, which has no connection yet", f.passed)
	}
	f.net.Mute(pair(n).Public, false)
	f.loop.Advance(time.Minute)
	f.by["a"].mustScrape("web")
	if links := f.net.Links(pair(n).Public); f.passed != 1 || links != 1 {
		t.Errorf("%d scrapes went to another member, want 1; %d connections to the client", f.passed, links)
	}
}

// keyOf returns the number of a key that a member of several holds.
func (f *fellows) keyOf(holder string, names ...string) byte {
	var g domain.Group
	for _, name := range names {
		g.Members = append(g.Members, domain.Member{ID: domain.MemberID(name), Name: name})
	}
	for n := byte(20); ; n++ {
		if m, _ := g.Holder(pair(n).Public); m.Name == holder {
			return n
		}
	}
}

func TestHandOverWaitsForTheNextLeader(t *testing.T) {
	f := newFellows(t, "a", "b")
	f.startClient("web", 2, nil)
	f.startClient("dead", 3, nil)
	f.loop.Advance(time.Second)
	f.net.Refuse(pair(3).Public, true)
	f.net.Break(pair(3).Public)
	done := 0
	f.loop.Turn(func() {
		f.by["a"].app.HandOver(func() { done++ })
		f.by["a"].app.HandOver(func() { done++ })
		if _, in := f.by["a"].app.Group(); !in {
			t.Error("it has left the group")
		}
	})
	for range 20 {
		f.by["a"].mustScrape("web")
		f.by["b"].mustScrape("web")
		f.loop.Advance(100 * time.Millisecond)
	}
	if done != 2 {
		t.Errorf("%d of 2 calls ended within two seconds", done)
	}
	if f.group.Leads() != "b" {
		t.Errorf("%q leads", f.group.Leads())
	}
	closed := false
	f.loop.Turn(func() { f.by["a"].app.Close(func() { closed = true }) })
	f.loop.Advance(5 * time.Second)
	if g, _ := f.by["b"].app.Group(); !closed || len(g.Members) != 1 {
		t.Errorf("closed %v, members %v", closed, g.Members)
	}
	f.by["b"].mustScrape("web")
}

func TestHandOverEndsAtOnceWithoutAnotherMember(t *testing.T) {
	f := newFellows(t, "a")
	f.startClient("web", 2, nil)
	f.loop.Advance(time.Second)
	done := false
	f.loop.Turn(func() { f.by["a"].app.HandOver(func() { done = true }) })
	f.loop.Advance(time.Second)
	if !done {
		t.Error("it waits for nothing")
	}
	f.by["a"].mustScrape("web")
}

func TestMembersWithoutTheStoreScrapeOn(t *testing.T) {
	f := newFellows(t, "a", "b")
	c := f.startClient("web", 2, nil)
	f.loop.Advance(time.Second)
	f.group.Disconnect("b", true)
	f.group.Disconnect("a", true)
	f.loop.Advance(10 * time.Second)
	for _, name := range []string{"a", "b"} {
		m := f.by[name]
		m.mustScrape("web")
		if !m.app.Loaded() || !m.app.Ready() || !slices.Equal(m.aliases(), []string{"web"}) {
			t.Errorf("%s: loaded %v, ready %v, %v", name, m.app.Loaded(), m.app.Ready(), m.aliases())
		}
		var err error
		f.loop.Turn(func() {
			m.app.PutAlias(domain.Register{Alias: "x", Key: pair(9).Public, Hostname: "h"}, func(_ bool, e error) { err = e })
		})
		f.loop.Advance(time.Second)
		if !errors.Is(err, domain.ErrNotLeader) || !errors.Is(err, domain.ErrStoreUnreachable) {
			t.Errorf("%s: a registration ends with %v", name, err)
		}
	}
	f.group.Disconnect("a", false)
	f.group.Disconnect("b", false)
	f.loop.Advance(time.Minute)
	if _, err := f.send(registration("new", 4)); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"a", "b"} {
		f.by[name].mustScrape("web")
		if !slices.Equal(f.by[name].aliases(), []string{"new", "web"}) {
			t.Errorf("%s has %v", name, f.by[name].aliases())
		}
	}
	if !c.Status().Registered {
		t.Error("the client is not registered")
	}
}

func TestClientsOfAMemberThatDoesNotAnswerAreVisited(t *testing.T) {
	f := newFellows(t, "a", "b")
	f.startClient("web", 2, nil)
	f.loop.Advance(time.Second)
	f.silent = "a"
	f.by["b"].mustScrape("web")
	if n := f.net.Links(pair(2).Public); n != 2 {
		t.Errorf("%d connections to the client, want one of each member", n)
	}
	if got, want := f.by["b"].app.Stats().Group, (domain.GroupStats{PassedOn: 1, TakenBack: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	f.loop.Advance(30 * time.Second)
	f.by["b"].mustScrape("web")
	if f.passed != 1 {
		t.Errorf("%d scrapes went to the other member, want 1: the second one has a connection", f.passed)
	}
	f.loop.Advance(2 * time.Minute)
	if n := f.net.Links(pair(2).Public); n != 1 {
		t.Errorf("%d connections to the client after the visit", n)
	}
	f.by["a"].mustScrape("web")
}

// Other members get no more of a caller's header than the client does.
func TestCredentialsOfCallersAreNotPassedOn(t *testing.T) {
	f := newFellows(t, "a", "b")
	f.startClient("web", 2, nil)
	f.loop.Advance(time.Second)
	header := []domain.HeaderField{{Name: "Accept", Value: "text/plain"}, {Name: "Authorization", Value: "Basic x"}, {Name: "Cookie", Value: "y"}}
	f.loop.Turn(func() {
		scrape.Collect(requests{f.by["b"].app, "web"}, domain.ScrapeRequest{Within: time.Second, Header: header}, 1<<20, func(scrape.Page, error) {})
	})
	f.loop.Advance(2 * time.Second)
	if f.passed != 1 || !slices.Equal(f.header, header[:1]) {
		t.Errorf("passed on %d times, with %v", f.passed, f.header)
	}
}

func TestPassedOnScrapesAreNotPassedOnAgain(t *testing.T) {
	f := newFellows(t, "a", "b")
	f.startClient("web", 2, nil)
	f.loop.Advance(time.Second)
	var page scrape.Page
	var err error
	f.loop.Turn(func() {
		scrape.Collect(requests{f.by["b"].app, "web"}, domain.ScrapeRequest{Within: time.Second, PassedOn: true}, 1<<20, func(p scrape.Page, e error) { page, err = p, e })
	})
	f.loop.Advance(2 * time.Second)
	if f.passed != 0 || err != nil || !strings.Contains(string(page.Body), "# web\n") {
		t.Errorf("passed on %d times, %q, %v", f.passed, page.Body, err)
	}
}

// requests is a scraper as a source of the metrics of an alias.
type requests struct {
	app   *app.Scraper
	alias domain.Alias
}

// Scrape implements ports.MetricsSource.
func (r requests) Scrape(what domain.ScrapeRequest, h ports.ScrapeHandlers) ports.Scrape {
	return r.app.Request(r.alias, what, h)
}

func TestChangesAtAMemberThatDoesNotLeadNameTheLeader(t *testing.T) {
	f := newFellows(t, "a", "b")
	f.startClient("web", 2, nil)
	f.loop.Advance(time.Second)
	var errs []error
	f.loop.Turn(func() {
		b := f.by["b"].app
		b.Forget("web", func(_ bool, err error) { errs = append(errs, err) })
		b.Pin("web", domain.PublicKey{}, func(_ domain.Pin, err error) { errs = append(errs, err) })
		f.by["a"].app.Pin("web", domain.PublicKey{}, func(_ domain.Pin, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	})
	f.loop.Advance(time.Second)
	f.loop.Turn(func() { f.by["b"].app.Unpin("web", func(_ bool, err error) { errs = append(errs, err) }) })
	f.loop.Advance(time.Second)
	if len(errs) != 3 {
		t.Fatalf("%v", errs)
	}
	for _, err := range errs {
		if !errors.Is(err, domain.ErrNotLeader) || !strings.Contains(err.Error(), "a does, at http://a") {
			t.Errorf("%v", err)
		}
	}
	if pins := f.by["b"].app.Pins(); len(pins) != 1 || pins[0].Alias != "web" {
		t.Errorf("the other member has the pins %v", pins)
	}
}

func TestTableOfEachMemberFollowsTheLeaders(t *testing.T) {
	f := newFellows(t, "a", "b")
	first := f.startClient("web", 2, nil)
	f.startClient("db", 3, nil)
	f.loop.Advance(time.Second)
	first.close()
	second := f.startClient("web", 4, nil) // another key
	f.loop.Advance(time.Second)
	b := f.by["b"].app
	if all := b.Aliases(); len(all) != 2 || all[1].Alias != "web" || all[1].Key != pair(4).Public {
		t.Errorf("%v", all)
	}
	second.close()
	f.loop.Advance(time.Second)
	if all := f.by["b"].aliases(); !slices.Equal(all, []string{"db"}) {
		t.Errorf("%v", all)
	}
	late := f.start("c")
	if all := late.aliases(); !slices.Equal(all, []string{"db"}) {
		t.Errorf("a member that joins has %v", all)
	}
}

func TestOnlyTheLeaderRemovesExpiredAliases(t *testing.T) {
	f := newFellows(t)
	f.changed = func(c *app.ScraperConfig) { c.Expiry, c.CheckInterval = time.Hour, time.Minute }
	f.start("a")
	f.start("b")
	if _, err := f.send(registration("web", 2)); err != nil {
		t.Fatal(err)
	}
	f.loop.Advance(59 * time.Minute)
	f.vanish("a") // b begins with the grace
	f.loop.Advance(5 * time.Minute)
	if all := f.by["b"].aliases(); len(all) != 1 {
		t.Errorf("%v: the new leader gives no time to register", all)
	}
	f.loop.Advance(time.Hour)
	if all := f.by["b"].aliases(); len(all) != 0 {
		t.Errorf("%v has not expired", all)
	}
	if len(f.disk.Entries) != 0 {
		t.Error("it is still on the disk")
	}
}

func TestMembersAreRefusedAndNamed(t *testing.T) {
	f := newFellows(t, "a")
	f.changed = func(c *app.ScraperConfig) { c.Keys = pair(7) }
	m := &fellow{of: f, name: "x", transport: portstest.NewTransport(f.net)}
	group, store := f.group.Member(f.loop, "x")
	var err error
	if m.app, err = app.NewScraper(app.ScraperConfig{
		Host: f.loop, Transport: m.transport, Clock: f.clock, Store: store, Keys: pair(7), Secrets: []domain.Secret{secret},
		Group: &app.GroupConfig{Group: group, Member: domain.Member{Name: "x"}},
	}); err != nil {
		t.Fatal(err)
	}
	f.loop.Turn(func() { m.app.Start(func(e error) { err = e }) })
	f.loop.Advance(time.Second)
	if !errors.Is(err, domain.ErrGroup) {
		t.Errorf("a scraper with another key: %v", err)
	}
	f.changed = nil
	f.start("b")
	if got := of[domain.GroupMember](f.by["a"].events); len(got) != 1 || got[0].Member.Name != "b" || got[0].Left {
		t.Errorf("%v", got)
	}
}
