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

// The scrapes of an alias that a set takes over were those of another client.
func TestSetTakesOverNoScrapesOfTheClientBefore(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.startClient("a", 2, nil)
	c := w.startClient("b", 3, nil)
	w.loop.Advance(time.Second)
	w.mustScrape("a")
	w.mustScrape("b")
	set := w.startSet(nil, "a")
	w.loop.Advance(time.Second)
	if got := w.status("a"); got.Key != set.PublicKey() || !got.Scrape.At.IsZero() {
		t.Errorf("the alias of the set has the scrape %+v", got.Scrape)
	}
	if got := w.status("b"); got.Key != c.PublicKey() || got.Scrape.At.IsZero() {
		t.Errorf("the other one has the scrape %+v", got.Scrape)
	}
	w.mustScrape("a")
	scraped := w.status("a").Scrape.At
	set.set(w.targetsOf("a", "c")) // its own renewal keeps them
	w.loop.Advance(3 * time.Second)
	if got := w.status("a").Scrape.At; !got.Equal(scraped) {
		t.Errorf("after a change of the set the last scrape is at %v, want %v", got, scraped)
	}
}

// A few goodbyes wait for the write of their set; a process needs one.
func TestGoodbyesThatWaitForAWriteAreLimited(t *testing.T) {
	w := newWorld(t)
	transport := &openTransport{Transport: portstest.NewTransport(w.net)}
	w.startScraper(func(c *app.ScraperConfig) { c.Transport = transport })
	key := pair(50).Public
	var answers []ports.AliasReply
	w.disk.Hold = true
	w.loop.Turn(func() {
		h := transport.open(quietConn{pair(60).Public})
		h.OnSet(ports.SetRequest{
			Secret: secret, Key: key, Instance: domain.Instance{1}, Proven: true, Revision: domain.Revision{1},
			Content: &ports.SetContent{Targets: []domain.Target{{Alias: "a"}}},
		}, func(ports.SetReply) {})
		for i := range 7 {
			h.OnLeave(ports.AliasRequest{
				Secret: secret, Proven: true, Register: domain.Register{Key: key, Instance: domain.Instance{byte(i)}},
			}, func(r ports.AliasReply) { answers = append(answers, r) })
		}
	})
	if len(answers) != 3 {
		t.Errorf("%d of 7 goodbyes are answered at once, want 3", len(answers))
	}
	for _, r := range answers {
		if r.Success || !strings.Contains(r.Message, "an earlier registration of the set is being written") {
			t.Errorf("%+v", r)
		}
	}
	w.disk.Hold = false
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(time.Second)
	if left := w.aliases(); len(answers) != 7 || len(left) != 0 {
		t.Errorf("%d answers, %v are left", len(answers), left)
	}
}

// Of the targets that are registered each by itself, a few start at a time. One that is closed meanwhile gives its place to the next one.
func TestTargetThatIsClosedWhileItStartsLeavesItsPlace(t *testing.T) {
	w := newWorld(t)
	w.net.NoSets = true
	w.startScraper(nil)
	w.net.Silent = true // nothing is announced, so that no start ends
	all := numbered(30)
	c := w.startSet(nil, all...)
	started := func() (names []string) {
		for _, e := range of[domain.AliasAttempt](c.events) {
			if a := string(e.Register.Alias); a != "" && !slices.Contains(names, a) {
				names = append(names, a)
			}
		}
		slices.Sort(names)
		return names
	}
	w.loop.Advance(20 * time.Second)
	wantNames(t, started(), all[:8]...)
	c.set(w.targetsOf(all[:20]...)) // without some that wait
	w.loop.Advance(20 * time.Second)
	wantNames(t, started(), all[:8]...)
	c.set(w.targetsOf(all[3:20]...)) // without three that start
	w.loop.Advance(20 * time.Second)
	wantNames(t, started(), all[:11]...)
	c.set(w.targetsOf(all[11:20]...)) // without all that start
	w.loop.Advance(20 * time.Second)
	wantNames(t, started(), all[:19]...)
}

// The connection of the scrapes serves changes of a set that a scraper has. After a failure it may be the reason, or the scraper may lack the
// set, so the next attempt dials.
func TestSetIsDialledAfterAFailure(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	var held []bool
	c := w.startSet(func(c *app.ClientConfig) {
		c.Transport = watchful{c.Transport, func(r ports.Registration) { held = append(held, r.Set.Held) }}
	}, "a")
	want := func(all ...bool) {
		t.Helper()
		if !slices.Equal(held, all) {
			t.Errorf("held: %v, want %v", held, all)
		}
		held = nil
	}
	w.loop.Advance(time.Second)
	want(false)
	c.set(w.targetsOf("a", "b"))
	w.loop.Advance(1500 * time.Millisecond)
	want(true)
	w.disk.Fail = errors.New("the disk is full")
	c.set(w.targetsOf("a", "c"))
	w.loop.Until(time.Minute, func() bool { return len(of[domain.RegisterAliasError](c.events)) > 0 })
	w.disk.Fail = nil
	c.set(w.targetsOf("a", "d")) // while it waits for the next attempt
	w.loop.Advance(time.Minute)
	want(true, false)
	wantNames(t, w.aliases(), "a", "d")
	w.disk.Hold = true
	c.set(w.targetsOf("a", "e"))
	w.loop.Advance(1500 * time.Millisecond)
	c.set(w.targetsOf("a", "f")) // while an attempt is under way
	w.disk.Hold = false
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(3 * time.Second)
	want(true, true)
	wantNames(t, w.aliases(), "a", "f")
}

// A target that is registered by itself no longer has a scraper, and may still have its connection.
func TestProbesOfAScraperThatWasDroppedFail(t *testing.T) {
	w := newWorld(t)
	w.net.NoSets = true
	l := &servers{ClientTransport: portstest.NewTransport(w.net), of: map[domain.PublicKey]ports.MetricsListen{}}
	w.startScraper(nil)
	w.startSet(func(c *app.ClientConfig) { c.Transport, c.RegisterInterval = l, time.Hour }, "a")
	w.loop.Advance(5 * time.Second)
	var single ports.MetricsHandlers
	w.loop.Turn(func() { single = l.of[app.AliasKeys(seed, "a").Public].OnOpen(quietConn{pair(1).Public}) })
	w.net.NoSets = false
	w.loop.Until(2*time.Hour, func() bool { return len(of[domain.SetTargets](w.events)) > 0 })
	w.loop.Advance(10 * time.Second)
	var got []error
	for i := range 2 {
		w.loop.Turn(func() {
			single.OnScrape(domain.ScrapeRequest{Query: fmt.Sprint("x=", i), Within: time.Second}, ends(&got))
		})
	}
	w.loop.Advance(5 * time.Second)
	if len(got) != 2 {
		t.Errorf("%d scrapes have ended", len(got))
	}
}

// servers keeps the servers of a transport's clients.
type servers struct {
	ports.ClientTransport
	of map[domain.PublicKey]ports.MetricsListen
}

func (s *servers) ListenMetrics(m ports.MetricsListen, ready func(error)) (ports.Listener, error) {
	s.of[m.Keys.Public] = m
	return s.ClientTransport.ListenMetrics(m, ready)
}
