package app_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/portstest"
)

// setFor is a registration of a set under a key that is not proven.
func setFor(t *testing.T, key domain.PublicKey, dial byte, aliases ...string) ports.Registration {
	t.Helper()
	var targets []domain.Target
	for _, a := range aliases {
		targets = append(targets, domain.Target{Alias: domain.Alias(a)})
	}
	set, err := domain.NewTargetSet(targets)
	if err != nil {
		t.Fatal(err)
	}
	return ports.Registration{
		Scraper: pair(1).Public, Dial: pair(dial), Secret: secret, Register: domain.Register{Key: key}, Set: &ports.SetRegistration{Targets: set},
	}
}

// A holder of the secret could drop the aliases of another client's set, and then take them.
func TestUnprovenSetDropsNoAliasThatBelongsToItsKey(t *testing.T) {
	w := newWorld(t)
	w.startScraper(func(c *app.ScraperConfig) { c.PinAliases = true })
	c := w.startSet(nil, "a", "b")
	w.loop.Advance(time.Second)
	stranger := portstest.NewTransport(w.net)
	stranger.Unproven = true
	var got error
	w.loop.Turn(func() {
		stranger.RegisterAlias(setFor(t, c.PublicKey(), 99, "b"), func(_ bool, err error) { got = err })
	})
	w.loop.Advance(time.Second)
	if got == nil {
		t.Error("a set without a proof was registered")
	}
	wantNames(t, w.aliases(), "a", "b")
	if _, err := w.send(registration("a", 9)); err == nil {
		t.Error("a was taken")
	}
	if w.scraper.Stats().Rejected[domain.ReasonNoProof] != 1 {
		t.Errorf("%v", w.scraper.Stats().Rejected)
	}
}

// A client whose targets change all the time registers changes only.
func TestTargetsStayWhileOthersOfTheirSetChange(t *testing.T) {
	w := newWorld(t)
	w.startScraper(func(c *app.ScraperConfig) { c.CheckInterval = time.Minute })
	c := w.startSet(nil, "a", "x")
	w.loop.Advance(time.Second)
	for i := range 3 * 24 {
		c.set(w.targetsOf("a", fmt.Sprint("x", i)))
		w.loop.Advance(20 * time.Minute)
		if !slices.Contains(w.aliases(), "a") {
			t.Fatalf("a has expired after %d changes", i+1)
		}
	}
}

// The registration does not wait for an end of the changes.
func TestTargetsThatChangeAllTheTimeAreRegistered(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startSet(nil, "a")
	w.loop.Advance(time.Second)
	for i := range 100 {
		c.set(w.targetsOf("a", fmt.Sprint("x", i)))
		w.loop.Advance(200 * time.Millisecond)
	}
	if n := len(of[domain.SetTargets](w.events)); n < 8 || n > 25 {
		t.Errorf("%d registrations in 20 s", n)
	}
}

// Other clients register while a large set is being written.
func TestSetThatIsBeingWrittenLeavesRoomForOthers(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.disk.Hold = true
	w.startSet(nil, numbered(domain.MaxTargets)...)
	w.loop.Advance(time.Second)
	w.startClient("other", 2, nil)
	w.loop.Advance(time.Second)
	w.disk.Hold = false
	w.disk.Release()
	w.loop.Advance(time.Second)
	if n := len(w.aliases()); n != domain.MaxTargets+1 || len(w.scraper.Stats().Rejected) > 0 {
		t.Errorf("%d aliases; rejected: %v", n, w.scraper.Stats().Rejected)
	}
}

// Sets that are being written count.
func TestSetsOfAllClientsAreLimitedWhileTheyAreWritten(t *testing.T) {
	w := newWorld(t)
	send := w.startOpenScraper(func(c *app.ScraperConfig) { c.MaxAliases = 10 })
	var all []domain.Target
	for _, a := range numbered(domain.MaxTargets) {
		all = append(all, domain.Target{Alias: domain.Alias(a)})
	}
	for _, fails := range []bool{true, false} {
		rejected := 0
		w.disk.Hold = true
		for i := range byte(3) {
			req := ports.SetRequest{Key: pair(50 + i).Public, Revision: domain.Revision{1}, Content: &ports.SetContent{Targets: all}}
			send(req, func(r ports.SetReply) {
				if strings.Contains(r.Message, "the sets of all clients") {
					rejected++
				}
			})
		}
		if rejected != 2 {
			t.Errorf("%d rejected, want 2", rejected)
		}
		if w.disk.Fail = nil; fails {
			w.disk.Fail = errors.New("the disk is full")
		}
		w.disk.Release()
		w.loop.Advance(time.Second)
		w.disk.Fail = nil
		w.loop.Advance(time.Minute) // what a failed write may have left is written over
	}
}

// A process that stops while its set is being written leaves nothing behind.
func TestGoodbyeWaitsForTheWriteOfItsSet(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startSet(nil, "a", "b")
	w.loop.Advance(time.Second)
	w.disk.Hold = true
	c.set(w.targetsOf("b", "c"))
	w.loop.Advance(2 * time.Second)
	w.loop.Turn(func() { c.Close(func() {}) })
	w.loop.Advance(500 * time.Millisecond)
	w.disk.Hold = false
	w.disk.Release()
	w.loop.Advance(5 * time.Second)
	if left := w.aliases(); len(left) != 0 {
		t.Errorf("%v are left", left)
	}
}

// A scraper may accept less than a client.
func TestTargetThatTurnsBadIsDropped(t *testing.T) {
	w := newWorld(t)
	send := w.startOpenScraper(func(*app.ScraperConfig) {})
	ask := func(req ports.SetRequest) (r ports.SetReply) {
		req.Key = pair(50).Public
		send(req, func(reply ports.SetReply) { r = reply })
		w.loop.Advance(time.Second)
		return r
	}
	first := []domain.Target{{Alias: "a"}, {Alias: "b"}}
	ask(ports.SetRequest{Revision: domain.Revision{1}})
	if r := ask(ports.SetRequest{Revision: domain.Revision{1}, Content: &ports.SetContent{Targets: first}}); !r.Success || r.Need != 0 {
		t.Fatalf("%+v", r)
	}
	for i := range byte(3) {
		since, next := domain.Revision{1 + i}, domain.Revision{2 + i}
		content := &ports.SetContent{Since: since, Targets: []domain.Target{{Alias: "b", Hostname: string(make([]byte, 300))}}}
		if i > 0 {
			content = &ports.SetContent{Since: since, Bad: []domain.Alias{"b"}}
		}
		r := ask(ports.SetRequest{Revision: next, Base: since, Content: content})
		if want := []domain.RejectedTarget{{Alias: "b", Reason: domain.ReasonBadName}}; !r.Success || !slices.Equal(r.Rejected, want) {
			t.Errorf("%+v", r)
		}
		wantNames(t, w.aliases(), "a")
	}
}

// An operator changes a pin while a client moves it to its set.
func TestPinOfTheOperatorStaysWhileASetMovesIt(t *testing.T) {
	for _, do := range []string{"pin", "unpin"} {
		w := newWorld(t)
		send := w.startOpenScraper(w.withPins)
		w.loop.Turn(func() { w.scraper.Pin("a", pair(7).Public, func(domain.Pin, error) {}) })
		w.loop.Advance(time.Second)
		w.disk.Hold = true
		w.loop.Turn(func() {
			if do == "pin" {
				w.scraper.Pin("a", pair(99).Public, func(domain.Pin, error) {})
			} else {
				w.scraper.Unpin("a", func(bool, error) {})
			}
		})
		var told []domain.RejectedTarget
		content := &ports.SetContent{Targets: []domain.Target{{Alias: "a"}, {Alias: "b"}}, Former: map[domain.Alias]domain.PublicKey{"a": pair(7).Public}}
		send(ports.SetRequest{Key: pair(50).Public, Revision: domain.Revision{1}, Content: content}, func(r ports.SetReply) { told = r.Rejected })
		w.disk.Release()
		w.loop.Advance(time.Second)
		pins := w.scraper.Pins()
		if do == "pin" && (len(pins) != 1 || pins[0].Key != pair(99).Public || w.disk.Pins["a"].Key != pair(99).Public) || do == "unpin" && len(pins)+len(w.disk.Pins) != 0 {
			t.Errorf("%s: %+v, on the disk %+v", do, pins, w.disk.Pins)
		}
		if want := []domain.RejectedTarget{{Alias: "a", Reason: domain.ReasonPinned}}; !slices.Equal(told, want) {
			t.Errorf("%s: rejected %v", do, told)
		}
		wantNames(t, w.aliases(), "b")
	}
}

// Where the operator changes a pin twice, it stays until the second change is written.
func TestPinOfTheOperatorStaysUntilItsLastChangeIsWritten(t *testing.T) {
	w := newWorld(t)
	send := w.startOpenScraper(w.withPins)
	w.loop.Turn(func() { w.scraper.Pin("a", pair(7).Public, func(domain.Pin, error) {}) })
	w.loop.Advance(time.Second)
	var told []domain.RejectedTarget
	content := &ports.SetContent{Targets: []domain.Target{{Alias: "a"}, {Alias: "b"}}, Former: map[domain.Alias]domain.PublicKey{"a": pair(7).Public}}
	w.disk.Hold = true
	w.loop.Turn(func() {
		w.scraper.Pin("a", pair(7).Public, func(domain.Pin, error) {
			send(ports.SetRequest{Key: pair(50).Public, Revision: domain.Revision{1}, Content: content}, func(r ports.SetReply) { told = r.Rejected })
		})
		w.scraper.Pin("a", pair(99).Public, func(domain.Pin, error) {})
	})
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(time.Second)
	if pins := w.scraper.Pins(); len(pins) != 1 || pins[0].Key != pair(99).Public || w.disk.Pins["a"].Key != pair(99).Public {
		t.Errorf("%+v, on the disk %+v", pins, w.disk.Pins)
	}
	if want := []domain.RejectedTarget{{Alias: "a", Reason: domain.ReasonPinned}}; !slices.Equal(told, want) {
		t.Errorf("rejected %v", told)
	}
	wantNames(t, w.aliases(), "b")
}

// While a set moves a pin, no other registration of its alias is written: one under the former key would take the alias back, and one under the
// next key would have it against the pin if the set cannot be written.
func TestAliasStaysWithASetThatMovesItsPin(t *testing.T) {
	for _, fails := range []bool{false, true} {
		w := newWorld(t)
		send := w.startOpenScraper(w.withPins)
		w.loop.Turn(func() { w.scraper.Pin("a", pair(7).Public, func(domain.Pin, error) {}) })
		w.loop.Advance(time.Second)
		w.disk.Hold = true
		content := &ports.SetContent{Targets: []domain.Target{{Alias: "a"}}, Former: map[domain.Alias]domain.PublicKey{"a": pair(7).Public}}
		move := ports.SetRequest{Key: pair(50).Public, Revision: domain.Revision{1}, Content: content}
		send(move, func(ports.SetReply) {})
		var rejected []error
		single := func(key byte) {
			w.loop.Turn(func() {
				portstest.NewTransport(w.net).RegisterAlias(registration("a", key), func(_ bool, err error) { rejected = append(rejected, err) })
			})
		}
		single(7)
		single(50)
		move.Key = pair(7).Public
		var told []domain.RejectedTarget
		send(move, func(r ports.SetReply) { told = r.Rejected })
		w.loop.Advance(time.Second)
		if fails {
			w.disk.Fail = errors.New("the disk is full")
		}
		w.loop.Turn(w.disk.Release)
		w.disk.Fail = nil
		want, n := pair(50).Public, 1
		if fails {
			want, n = pair(7).Public, 0
		}
		if pins := w.scraper.Pins(); len(pins) != 1 || pins[0].Key != want {
			t.Errorf("fails %v: %+v", fails, pins)
		}
		if all := w.scraper.Aliases(); len(all) != n || n > 0 && all[0].Key != want {
			t.Errorf("fails %v: %+v", fails, all)
		}
		if len(rejected) != 2 || w.scraper.Stats().Rejected[domain.ReasonPinned] != 3 {
			t.Errorf("fails %v: registrations ended with %v; rejected: %v", fails, rejected, w.scraper.Stats().Rejected)
		}
		if want := []domain.RejectedTarget{{Alias: "a", Reason: domain.ReasonPinned}}; !fails && !slices.Equal(told, want) {
			t.Errorf("fails %v: the set of the former key: rejected %v", fails, told)
		}
		single(7)
		w.loop.Advance(time.Minute)
		if accepted := rejected[2] == nil; accepted != fails {
			t.Errorf("fails %v: the former key afterwards: %v", fails, rejected[2])
		}
		if w.disk.Pins["a"].Key != want || w.disk.Entries["a"].Key != want {
			t.Errorf("fails %v: on the disk %+v, %+v", fails, w.disk.Pins, w.disk.Entries)
		}
	}
}

// A set that cannot be written restores no pin that the operator changes meanwhile.
func TestPinOfTheOperatorStaysWhileASetIsRestored(t *testing.T) {
	w := newWorld(t)
	send := w.startOpenScraper(w.withPins)
	w.loop.Turn(func() { w.scraper.Pin("a", pair(7).Public, func(domain.Pin, error) {}) })
	w.loop.Advance(time.Second)
	w.disk.Fail, w.disk.Hold = errors.New("the disk is full"), true
	content := &ports.SetContent{Targets: []domain.Target{{Alias: "a"}}, Former: map[domain.Alias]domain.PublicKey{"a": pair(7).Public}}
	send(ports.SetRequest{Key: pair(50).Public, Revision: domain.Revision{1}, Content: content}, func(ports.SetReply) {
		w.disk.Fail = nil
	})
	w.loop.Turn(func() { w.scraper.Pin("a", pair(99).Public, func(domain.Pin, error) {}) })
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(time.Minute)
	if pins := w.scraper.Pins(); len(pins) != 1 || pins[0].Key != pair(99).Public || w.disk.Pins["a"].Key != pair(99).Public {
		t.Errorf("%+v, on the disk %+v", pins, w.disk.Pins)
	}
}

// openTransport lets a test send requests as they are, on a connection of its own.
type openTransport struct {
	*portstest.Transport
	open func(ports.Conn) ports.AliasHandlers
}

func (t *openTransport) ListenAliases(a ports.AliasListen, ready func(error)) (ports.Listener, error) {
	t.open = a.OnOpen
	return t.Transport.ListenAliases(a, ready)
}

// quietConn is a connection without an end.
type quietConn struct{ key domain.PublicKey }

func (c quietConn) Peer() domain.Peer {
	return domain.Peer{Key: c.key, Addr: netip.MustParseAddrPort("192.0.2.7:1")}
}
func (quietConn) Trust()      {}
func (quietConn) Close(error) {}

// startOpenScraper starts a scraper, and returns a function that sends it requests with the secret on one connection.
func (w *world) startOpenScraper(change func(*app.ScraperConfig)) func(ports.SetRequest, func(ports.SetReply)) {
	w.t.Helper()
	transport := &openTransport{Transport: portstest.NewTransport(w.net)}
	w.startScraper(func(c *app.ScraperConfig) {
		change(c)
		c.Transport = transport
	})
	var handlers ports.AliasHandlers
	w.loop.Turn(func() { handlers = transport.open(quietConn{pair(60).Public}) })
	return func(req ports.SetRequest, reply func(ports.SetReply)) {
		req.Secret, req.Instance, req.Proven = secret, domain.Instance{1}, true
		w.loop.Turn(func() { handlers.OnSet(req, reply) })
	}
}

// The connection of the scrapes lasts, unlike those of other registrations.
func TestSetsOverASessionAreLimited(t *testing.T) {
	w := newWorld(t)
	transport := &sessionTransport{Transport: portstest.NewTransport(w.net)}
	w.startScraper(func(c *app.ScraperConfig) { c.Transport = transport })
	c := w.startSet(nil, "a")
	w.loop.Advance(time.Second)
	limited := 0
	flood := func(n int) {
		w.loop.Turn(func() {
			for range n {
				transport.onSet(ports.SetRequest{Secret: secret, Key: c.PublicKey(), Revision: domain.Revision{1}}, func(r ports.SetReply) {
					if r.Message == "Too many requests" {
						limited++
					}
				})
			}
		})
	}
	flood(100)
	if limited < 60 || uint64(limited) != w.scraper.Stats().Rejected[domain.ReasonRateLimit] {
		t.Errorf("%d of 100 were limited; rejected: %v", limited, w.scraper.Stats().Rejected)
	}
	limited = 0
	for range 60 { // one that changes all the time
		w.loop.Advance(time.Second)
		flood(3)
	}
	if limited > 0 {
		t.Errorf("%d limited at a slow pace", limited)
	}
}

// sessionTransport lets a test send requests on the last session's connection.
type sessionTransport struct {
	*portstest.Transport
	onSet func(ports.SetRequest, func(ports.SetReply))
}

func (t *sessionTransport) DialMetrics(d ports.MetricsDial) ports.MetricsSession {
	t.onSet = d.OnSet
	return t.Transport.DialMetrics(d)
}

func TestSetThatIsBeingWrittenIsNotReplaced(t *testing.T) {
	w := newWorld(t)
	send := w.startOpenScraper(func(c *app.ScraperConfig) { c.MaxAliases = 2 })
	w.disk.Hold = true
	var replies []ports.SetReply
	for i := range byte(2) {
		content := &ports.SetContent{Targets: []domain.Target{{Alias: "a"}, {Alias: "b"}, {Alias: "c"}}}
		send(ports.SetRequest{Key: pair(50).Public, Revision: domain.Revision{1 + i}, Content: content}, func(r ports.SetReply) { replies = append(replies, r) })
	}
	w.disk.Release()
	w.loop.Advance(time.Second)
	full := []domain.RejectedTarget{{Alias: "c", Reason: domain.ReasonTableFull}}
	if len(replies) != 2 || replies[0].Success || !replies[1].Success || !slices.Equal(replies[1].Rejected, full) {
		t.Errorf("%+v", replies)
	}
}

// listening keeps the server of a client, whose firewall it bypasses.
type listening struct {
	ports.ClientTransport
	server ports.MetricsListen
}

func (l *listening) ListenMetrics(m ports.MetricsListen, ready func(error)) (ports.Listener, error) {
	l.server = m
	return l.ClientTransport.ListenMetrics(m, ready)
}

// A scraper may be dropped between its handshake and its first request.
func TestScrapesOfPeersThatAreNotAdmittedFail(t *testing.T) {
	w := newWorld(t)
	l := &listening{ClientTransport: portstest.NewTransport(w.net)}
	w.startSet(func(c *app.ClientConfig) { c.Transport = l }, "a")
	w.loop.Advance(time.Second)
	var got []error
	w.loop.Turn(func() {
		h := l.server.OnOpen(quietConn{pair(99).Public})
		for _, query := range []string{"", "x=1"} {
			h.OnScrape(domain.ScrapeRequest{Target: "a", Query: query, Within: time.Second}, ends(&got))
		}
	})
	w.loop.Advance(2 * time.Second)
	if len(got) != 2 || got[0] == nil || got[1] == nil {
		t.Errorf("%v", got)
	}
}
