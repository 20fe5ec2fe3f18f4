package app_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// offers makes a client offer the connections of its registrations, at which interval it registers.
func offers(f *fellows, every time.Duration) func(*app.ClientConfig) {
	return func(c *app.ClientConfig) {
		t := portstest.NewTransport(f.net)
		t.Proves = true
		c.Transport, c.RegisterInterval = t, every
	}
}

// pinned returns the names of the members that have pinned a client, as a member sees it.
func (f *fellows) pinned(at string, key domain.PublicKey) (names []string) {
	g, _ := f.by[at].app.Group()
	for _, m := range g.Members {
		if m.Pinned.Has(key) {
			names = append(names, m.Name)
		}
	}
	return names
}

// missed counts the clients that members report, as a member sees it.
func (f *fellows) missed(at string) (n int) {
	g, _ := f.by[at].app.Group()
	for _, m := range g.Members {
		n += m.Missed.Len() + m.Pinned.Len()
	}
	return n
}

func (f *fellows) wantPinned(key domain.PublicKey, want ...string) {
	f.t.Helper()
	if got := f.pinned("a", key); !slices.Equal(got, want) {
		f.t.Errorf("pinned by %q, want %q", got, want)
	}
}

// The client can be reached by neither member's dials, and the leader takes the connection that it offers.
func TestTheLeaderPinsAClientWhoseHolderMissesIt(t *testing.T) {
	f := newFellows(t, "a", "b")
	n := f.keyOf("b", "a", "b")
	key := pair(n).Public
	f.by["a"].transport.Block(key, true)
	f.by["b"].transport.Block(key, true)
	f.startClient("web", n, offers(f, 2*time.Minute))
	f.loop.Advance(20 * time.Second)
	if n := f.missed("a"); n != 0 {
		t.Errorf("%d clients are missed or pinned at once", n)
	}
	f.wantPinned(key)
	f.loop.Advance(140 * time.Second)
	f.wantPinned(key, "a")
	if f.missed("a") != 1 {
		t.Error("the former holder misses it still")
	}
	for _, name := range []string{"a", "b"} {
		f.by[name].mustScrape("web")
	}
	if links := f.net.Links(key); f.passed != 1 || links != 1 {
		t.Errorf("%d scrapes were passed on, want that of b; %d connections to the client, want 1", f.passed, links)
	}
	if got := f.by["b"].app.Aliases()[0].Holder; got != "a" {
		t.Errorf("held by %q", got)
	}
	f.loop.Advance(time.Hour)
	f.wantPinned(key, "a")
}

// Such a client registers once an hour: the leader asks it to register again if its holder has not connected.
func TestAClientThatItsHolderCannotReachOffersItsConnectionAgain(t *testing.T) {
	for _, set := range []bool{false, true} {
		f := newFellows(t, "a", "b")
		n := f.keyOf("b", "a", "b")
		key := pair(n).Public
		f.by["a"].transport.Block(key, true)
		f.by["b"].transport.Block(key, true)
		c := f.startClient("web", n, func(c *app.ClientConfig) {
			offers(f, time.Hour)(c)
			if set {
				c.Targets = []app.ClientTarget{{Target: domain.Target{Alias: c.Alias, Hostname: "h", Service: "s"}, Source: c.Source}}
				c.Alias, c.Source, c.Hostname, c.Service = "", nil, "", ""
			}
		})
		f.loop.Advance(2 * time.Minute)
		f.wantPinned(key, "a")
		for _, name := range []string{"a", "b"} {
			f.by[name].mustScrape("web")
		}
		f.loop.Advance(50 * time.Minute)
		f.wantPinned(key, "a")
		if n := c.Status().Registrations; n != 2 {
			t.Errorf("%d registrations, want the first one and that which the leader took", n)
		}
	}
}

// A client that cannot offer the connection of its registration, as the JavaScript ones, is not asked to register again.
func TestAClientWithoutAnOfferIsNotAskedToRegisterAgain(t *testing.T) {
	f := newFellows(t, "a", "b")
	n := f.keyOf("b", "a", "b")
	f.net.Cut(pair(n).Public, true)
	c := f.startClient("web", n, func(c *app.ClientConfig) { c.RegisterInterval = time.Hour })
	f.loop.Advance(50 * time.Minute)
	if n := c.Status().Registrations; n != 1 {
		t.Errorf("%d registrations", n)
	}
}

// A client that its holder reaches registers once, also where the leader is another member.
func TestAClientThatItsHolderReachesRegistersOnce(t *testing.T) {
	for every, want := range map[time.Duration]uint64{time.Hour: 1, 4 * time.Minute: 13} {
		f := newFellows(t, "a", "b")
		c := f.startClient("web", f.keyOf("b", "a", "b"), offers(f, every))
		f.loop.Advance(50 * time.Minute)
		if n := c.Status().Registrations; n < want || n > want+1 {
			t.Errorf("%d registrations in 50 minutes, with an interval of %v", n, every)
		}
	}
}

// Other members try by themselves, without a scrape or a registration.
func TestAMemberThatReachesAMissedClientPinsIt(t *testing.T) {
	f := newFellows(t, "a", "b", "c")
	n := f.keyOf("b", "a", "b", "c")
	key := pair(n).Public
	f.by["a"].transport.Block(key, true)
	f.by["b"].transport.Block(key, true)
	f.startClient("web", n, nil)
	f.loop.Advance(time.Minute)
	f.wantPinned(key, "c")
	f.loop.Advance(5 * time.Minute)
	for _, name := range []string{"a", "b", "c"} {
		f.by[name].mustScrape("web")
	}
	if links := f.net.Links(key); links != 1 {
		t.Errorf("%d connections to the client, want that of c", links)
	}
}

func TestOfTwoMembersThatPinOneKeepsTheClient(t *testing.T) {
	f := newFellows(t, "a", "b", "c")
	n := f.keyOf("b", "a", "b", "c")
	key := pair(n).Public
	f.by["b"].transport.Block(key, true)
	f.startClient("web", n, nil)
	f.loop.Advance(5 * time.Minute)
	if got := f.pinned("a", key); len(got) != 1 {
		t.Errorf("pinned by %q", got)
	}
	if links := f.net.Links(key); links != 1 {
		t.Errorf("%d connections to the client", links)
	}
	for _, name := range []string{"a", "b", "c"} {
		f.by[name].mustScrape("web")
	}
}

// A client that is gone is dialled by its holder, and seldom by the others.
func TestTrialsAreRare(t *testing.T) {
	f := newFellows(t, "a", "b")
	f.startClient("web", f.keyOf("b", "a", "b"), nil)
	f.loop.Advance(time.Minute)
	f.net.Refuse(pair(1).Public, true)
	f.net.Break(pair(f.keyOf("b", "a", "b")).Public)
	dials := func() (n uint64) { return f.by["a"].app.Stats().Dials }
	before := dials()
	f.loop.Advance(time.Hour)
	if n := dials() - before; n < 6 || n > 60 {
		t.Errorf("%d dials of the member that does not hold the client in an hour, want those of six trials", n)
	}
	before = dials()
	f.loop.Advance(11 * time.Minute)
	if dials() == before {
		t.Error("it is not tried again")
	}
}

func TestAPinGoesWithItsConnection(t *testing.T) {
	f := newFellows(t, "a", "b")
	n := f.keyOf("b", "a", "b")
	key := pair(n).Public
	f.by["a"].transport.Block(key, true)
	f.by["b"].transport.Block(key, true)
	f.startClient("web", n, offers(f, time.Minute))
	f.loop.Advance(3 * time.Minute)
	f.wantPinned(key, "a")
	f.by["b"].transport.Block(key, false)
	f.net.Refuse(pair(1).Public, true) // no registration, and no dial
	f.by["a"].transport.Block(key, true)
	f.loop.Advance(20 * time.Second)
	f.wantPinned(key, "a") // it may come back
	f.loop.Advance(time.Minute)
	f.wantPinned(key)
	f.net.Refuse(pair(1).Public, false)
	f.loop.Advance(5 * time.Minute)
	f.by["a"].mustScrape("web")
	f.by["b"].mustScrape("web")
	if got := f.by["a"].app.Aliases()[0].Holder; got != "b" {
		t.Errorf("held by %q", got)
	}
}

func TestAPinGoesWithItsMember(t *testing.T) {
	f := newFellows(t, "a", "b", "c")
	n := f.keyOf("b", "a", "b", "c")
	key := pair(n).Public
	f.by["b"].transport.Block(key, true)
	f.by["c"].transport.Block(key, true)
	f.startClient("web", n, offers(f, time.Minute))
	f.loop.Advance(2 * time.Minute)
	f.wantPinned(key, "a")
	f.vanish("a")
	f.loop.Advance(3 * time.Minute)
	if got := f.pinned("b", key); !slices.Equal(got, []string{f.group.Leads()}) && f.group.Leads() != "b" {
		t.Errorf("pinned by %q, while %s leads", got, f.group.Leads())
	}
	f.by["b"].mustScrape("web")
	f.by["c"].mustScrape("web")
}

// Clients that can be reached change nothing in the store, and those that are gone little.
func TestOnlyClientsWithoutAConnectionAreMissed(t *testing.T) {
	f := newFellows(t, "a", "b")
	for i := range byte(6) {
		f.startClient(string('a'+rune(i)), 20+i, nil)
	}
	f.loop.Advance(2 * time.Minute)
	if n := f.missed("a"); n != 0 {
		t.Errorf("%d clients are missed or pinned, though all are connected", n)
	}
	f.net.Refuse(pair(1).Public, true) // no registrations
	for i := range byte(6) {
		f.net.Cut(pair(20+i).Public, true)
	}
	before := f.group.Updates
	f.loop.Advance(20 * time.Minute)
	if n := f.missed("a"); n != 6 {
		t.Errorf("%d of 6 clients that are gone are missed", n)
	}
	if n := f.group.Updates - before; n > 4 {
		t.Errorf("%d updates of two members, want two of each at most: for the clients, and for the number of connections", n)
	}
}

// gone puts aliases of clients that are switched off, whose holder is a member, with keys before another one in the order of bytes.
func (f *fellows) gone(holder string, before domain.PublicKey, n int) {
	f.t.Helper()
	g, _ := f.by[holder].app.Group()
	for seed := 0; n > 0; seed++ {
		key := domain.KeyPairFromSeed(domain.SeedFrom([32]byte{1, 1, byte(seed), byte(seed >> 8)})).Public
		if m, _ := g.Holder(key); m.Name != holder || bytes.Compare(key[:], before[:]) > 0 {
			continue
		}
		n--
		f.loop.Turn(func() {
			r := domain.Register{Alias: domain.Alias(fmt.Sprintf("gone-%d", seed)), Key: key}
			f.by[f.group.Leads()].app.PutAlias(r, func(_ bool, err error) {
				if err != nil {
					f.t.Error(err)
				}
			})
		})
	}
	f.loop.Advance(time.Second)
}

// Of more clients than a member reports, those that register are reported first: a restarted member begins to miss all at once.
func TestClientsThatAreGoneDoNotHideOneThatRegisters(t *testing.T) {
	f := newFellows(t, "a", "b")
	n := f.keyOf("b", "a", "b")
	for more := n; more < 200; more++ {
		g, _ := f.by["a"].app.Group()
		if m, _ := g.Holder(pair(more).Public); m.Name == "b" && pair(more).Public[0] > pair(n).Public[0] {
			n = more
		}
	}
	key := pair(n).Public
	f.gone("b", key, 400)
	f.vanish("b")
	f.by["a"].transport.Block(key, true)
	f.startClient("web", n, offers(f, 2*time.Minute))
	f.loop.Advance(20 * time.Second)
	f.start("b").transport.Block(key, true)
	f.loop.Advance(10 * time.Minute)
	if n := f.missed("a"); n < 256 {
		t.Errorf("%d of 400 clients that are gone are missed", n)
	}
	f.wantPinned(key, "a")
	f.by["b"].mustScrape("web")
}

// Nothing but the pin's end makes the former holder dial again: neither a scrape nor a registration.
func TestTheHolderDialsAgainWhenAPinEnds(t *testing.T) {
	f := newFellows(t, "a", "b")
	n := f.keyOf("b", "a", "b")
	key := pair(n).Public
	f.by["b"].transport.Block(key, true)
	f.startClient("web", n, func(c *app.ClientConfig) { c.RegisterInterval = time.Hour })
	f.loop.Advance(2 * time.Minute)
	f.wantPinned(key, "a")
	f.net.Refuse(pair(1).Public, true)
	f.by["b"].transport.Block(key, false)
	f.by["a"].transport.Block(key, true)
	f.loop.Advance(40 * time.Second)
	f.wantPinned(key)
	if n := f.by["b"].app.Sessions()[domain.SessionWaiting]; n != 1 {
		t.Errorf("b dials %d clients, want the one whose pin has ended", n)
	}
	f.net.Refuse(pair(1).Public, false)
	f.loop.Advance(20 * time.Second)
	if links := f.net.Links(key); links != 1 {
		t.Errorf("%d connections to the client, want that of b", links)
	}
}

// The store loses sight of a member that has pinned a client, so that another one pins it, too.
func TestOfTwoPinsOneEnds(t *testing.T) {
	f := newFellows(t, "a", "b", "c")
	n := f.keyOf("b", "a", "b", "c")
	key := pair(n).Public
	f.by["b"].transport.Block(key, true)
	f.by["c"].transport.Block(key, true)
	f.startClient("web", n, nil)
	f.loop.Advance(2 * time.Minute)
	f.wantPinned(key, "a")
	f.group.Disconnect("a", true)
	f.by["c"].transport.Block(key, false)
	f.loop.Advance(12 * time.Minute)
	if got := f.pinned("b", key); !slices.Equal(got, []string{"c"}) {
		t.Errorf("without a it is pinned by %q", got)
	}
	f.group.Disconnect("a", false)
	if f.loop.Turn(func() {}); len(f.pinned("b", key)) != 2 {
		t.Errorf("pinned by %q at once, want the pins of both", f.pinned("b", key))
	}
	f.loop.Advance(10 * time.Second)
	if got := f.pinned("b", key); len(got) != 1 {
		t.Errorf("pinned by %q, want one of them", got)
	}
	if f.loop.Advance(time.Minute); f.net.Links(key) != 1 {
		t.Errorf("%d connections to the client", f.net.Links(key))
	}
	for _, m := range f.by {
		m.mustScrape("web")
	}
}

// A member tries few clients at a time, and each of them within ten minutes; those of which none is reported are not tried.
func TestTrialsAreFewAtATime(t *testing.T) {
	f := newFellows(t, "a", "b")
	f.gone("b", domain.PublicKey{255}, 300)
	at := func() (sessions int) {
		for _, n := range f.by["a"].app.Sessions() {
			sessions += n
		}
		return sessions
	}
	most := 0
	for range 150 {
		f.loop.Advance(time.Second)
		most = max(most, at())
	}
	if n := f.missed("a"); n != 256 {
		t.Errorf("%d of 300 clients are reported, want 256", n)
	}
	if most < 50 || most > 110 {
		t.Errorf("%d clients are tried at a time, want about 96: eight in five seconds, for a minute each", most)
	}
}

// Of those that have not registered, the latest come first.
func TestClientsThatAreGoneForLongGiveWay(t *testing.T) {
	f := newFellows(t, "a", "b")
	f.gone("b", domain.PublicKey{200}, 300)
	f.loop.Advance(2 * time.Minute)
	var late domain.PublicKey
	g, _ := f.by["a"].app.Group()
	for n := byte(20); late[0] < 200 || g.Missed(late); n++ {
		if holder, _ := g.Holder(pair(n).Public); holder.Name == "b" {
			late = pair(n).Public
		}
	}
	f.loop.Turn(func() { f.by["a"].app.PutAlias(domain.Register{Alias: "late", Key: late}, func(bool, error) {}) })
	f.loop.Advance(time.Minute)
	if g, _ := f.by["a"].app.Group(); !g.Missed(late) {
		t.Error("the latest one is not reported")
	}
}

// A visit alone is no reason for a pin: the client's holder has not missed it.
func TestVisitsDoNotPin(t *testing.T) {
	f := newFellows(t, "a", "b")
	n := f.keyOf("b", "a", "b")
	f.startClient("web", n, nil)
	f.loop.Advance(time.Second)
	f.silent = "b"
	for range 6 {
		f.by["a"].mustScrape("web")
		f.loop.Advance(5 * time.Second)
	}
	f.wantPinned(pair(n).Public)
}

// Where more clients are missed than can be tried in ten minutes, those that were not tried come before a second trial of others.
func TestEachMissedClientIsTried(t *testing.T) {
	f := newFellows(t, "a", "b", "c", "d", "e")
	for _, holder := range []string{"b", "c", "d", "e"} {
		f.gone(holder, domain.PublicKey{255}, 250)
	}
	tried := map[domain.Alias]bool{}
	for range 26 {
		f.loop.Advance(30 * time.Second)
		for _, one := range f.by["a"].app.Aliases() {
			if one.Session != domain.SessionClosed {
				tried[one.Alias] = true
			}
		}
	}
	if n := f.missed("a"); n != 4*250 || len(tried) != n {
		t.Errorf("%d clients are missed, %d of them were tried", n, len(tried))
	}
}
