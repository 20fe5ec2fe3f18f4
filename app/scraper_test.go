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

// Issue row 6.1: one alias with a colon deletes the others at a restart.
func TestAliasWithColonKeepsTheOthersAcrossARestart(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	names := []string{"a", "host:9100", "path/with?query=1&x#y%20", "z"}
	for i, alias := range names {
		w.startClient(alias, byte(10+i), nil)
	}
	w.loop.Advance(time.Second)
	for range 2 {
		wantNames(t, w.aliases(), names...)
		for _, alias := range names {
			w.mustScrape(alias)
		}
		w.startScraper(nil) // kill -9: the old one is abandoned
	}
}

func TestEntriesAreBackAfterKillWithoutANewRegistration(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	attempts := len(of[domain.AliasAttempt](c.events))
	w.startScraper(nil)
	w.mustScrape("web")
	if len(of[domain.AliasAttempt](c.events)) != attempts {
		t.Error("it took a registration")
	}
	if load := of[domain.LoadAliases](w.events); len(load) != 1 || load[0].Entries != 1 || len(load[0].Skipped) != 0 {
		t.Errorf("load: %+v", load)
	}
}

// Issue row 6.5: expiry starts again at each restart.
func TestRestartDoesNotMakeAnEntryYounger(t *testing.T) {
	w := newWorld(t)
	short := func(c *app.ScraperConfig) { c.Expiry, c.CheckInterval = time.Hour, time.Minute }
	w.startScraper(short)
	c := w.startClient("web", 2, func(cfg *app.ClientConfig) { cfg.RegisterInterval = 23 * time.Hour })
	w.loop.Advance(time.Second)
	expires := w.status("web").Expires
	w.loop.Advance(30 * time.Minute)
	w.startScraper(short)
	if got := w.status("web").Expires; !got.Equal(expires) {
		t.Errorf("expires %v, before the restart %v", got, expires)
	}
	w.loop.Advance(31 * time.Minute)
	if got := w.aliases(); len(got) != 0 {
		t.Errorf("outlived its expiry: %v", got)
	}
	if w.net.Links(c.PublicKey()) > 1 { // the abandoned scraper still has its session
		t.Error("the session outlived its alias")
	}
}

func TestExpiryIsCheckedAndAnExpiredAliasIsNeverServed(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, func(cfg *app.ClientConfig) { cfg.RegisterInterval = 24 * time.Hour })
	w.loop.Advance(3*time.Hour - 2*time.Minute)
	w.mustScrape("web")
	w.loop.Advance(2*time.Minute + 10*time.Second) // past the expiry, before the check
	if _, _, err := w.scrape("web", 0); !errors.Is(err, domain.ErrUnknownAlias) {
		t.Errorf("scrape of an expired alias: %v", err)
	}
	w.loop.Advance(time.Hour)
	expired := of[domain.AliasExpired](w.events)
	if len(expired) != 1 || expired[0].Entry.Alias != "web" || len(w.disk.Entries) != 0 || w.net.Links(c.PublicKey()) != 0 {
		t.Errorf("expired %+v, on disk %d, links %d", expired, len(w.disk.Entries), w.net.Links(c.PublicKey()))
	}
	if w.scraper.Stats().Expired != 1 {
		t.Error("not counted")
	}
}

func TestAliasThatIsRenewedDoesNotExpire(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.startClient("web", 2, nil)
	w.loop.Advance(26 * time.Hour)
	w.mustScrape("web")
	if len(of[domain.AliasExpired](w.events)) != 0 {
		t.Error("expired in between")
	}
}

// Issue row 6.2: a scrape of a peer that opens no channel hangs.
func TestScrapeOfAHalfDeadClientIsBounded(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.newClient("web", 2, nil)
	w.net.Mute(c.PublicKey(), true)
	w.loop.Turn(func() { c.Start(func(error) {}) })
	w.loop.Advance(200 * time.Millisecond)
	_, took, err := w.scrape("web", 0)
	if !errors.Is(err, domain.ErrTimeout) || !strings.Contains(err.Error(), "metrics channel") || took != 5*time.Second {
		t.Errorf("after %s: %v", took, err)
	}
	w.loop.Advance(6 * time.Second) // the connection is closed
	closed := of[domain.ConnectionError](w.events)
	if len(closed) == 0 || !errors.Is(closed[0].Err, domain.ErrTimeout) {
		t.Errorf("errors: %+v", closed)
	}
	w.net.Mute(c.PublicKey(), false)
	w.loop.Advance(time.Minute)
	w.mustScrape("web")
}

func TestScrapeWithoutAConnectionFailsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	w.net.Cut(c.PublicKey(), true)
	w.loop.Advance(10 * time.Minute)
	failures := w.scraper.Stats().ScrapesFailed[domain.ReasonNotConnected]
	_, took, err := w.scrape("web", 0)
	if !errors.Is(err, domain.ErrNotConnected) || !errors.Is(err, portstest.ErrPeerNotFound) || took > time.Second {
		t.Errorf("after %s: %v", took, err)
	}
	if w.scraper.Stats().ScrapesFailed[domain.ReasonNotConnected] != failures+1 {
		t.Error("not counted")
	}
	if s := w.status("web"); s.Session == domain.SessionOpen || s.Why == nil || s.Scrape.Err == nil {
		t.Errorf("status %+v", s)
	}
}

func TestScrapeWaitsForAConnectionThatIsBeingMade(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.startClient("web", 2, nil)
	if !w.loop.Until(time.Second, func() bool { return len(w.aliases()) == 1 }) {
		t.Fatal("not registered")
	}
	w.mustScrape("web") // in the turn after the registration
}

// Issue row 6.15: the time-out is fixed at five seconds.
func TestScrapeTimeIsTheCallersAndCancelStopsTheClient(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	c.source.Silent = true
	for _, within := range []time.Duration{50 * time.Millisecond, 25 * time.Second} {
		_, took, err := w.scrape("web", within)
		if !errors.Is(err, domain.ErrTimeout) || took != within || !strings.Contains(err.Error(), "the answer") {
			t.Errorf("asked for %s, after %s: %v", within, took, err)
		}
	}
	called := false
	w.loop.Turn(func() {
		cancel := w.scraper.Scrape("web", 0, func([]byte, error) { called = true })
		cancel()
		cancel()
	})
	w.loop.Advance(time.Minute)
	if called || w.scraper.Stats().ScrapesFailed[domain.ReasonCanceled] != 1 {
		t.Error("a cancelled scrape called back, or was not counted once")
	}
}

// Issue rows 6.4, 6.8 and 6.20: two aliases on one key kill the JavaScript bridge, now and after each restart; or the
// new alias stays unconnected; or the old one's expiry closes the connection for good.
func TestTwoAliasesOnOneKeyShareOneConnection(t *testing.T) {
	w := newWorld(t)
	quick := func(c *app.ScraperConfig) { c.Expiry, c.CheckInterval = time.Hour, time.Minute }
	w.startScraper(quick)
	w.startClient("new", 2, nil)
	w.loop.Advance(time.Second)
	if _, err := w.send(registration("old", 2)); err != nil {
		t.Fatal(err)
	}
	scrapeBoth := func() {
		t.Helper()
		for _, alias := range []string{"old", "new"} {
			if _, _, err := w.scrape(alias, 0); err != nil {
				t.Errorf("%s: %v", alias, err)
			}
		}
	}
	scrapeBoth()
	if n := w.net.Links(pair(2).Public); n != 1 {
		t.Errorf("%d connections to one key", n)
	}
	w.closeScraper()
	w.startScraper(quick)
	scrapeBoth()
	w.loop.Advance(62 * time.Minute) // "old" is not renewed
	wantNames(t, w.aliases(), "new")
	if _, _, err := w.scrape("new", 0); err != nil {
		t.Errorf("after the other alias expired: %v", err)
	}
	if n := len(of[domain.ConnectionClose](w.events)) - registerConns(w.events); n != 0 {
		t.Errorf("the shared connection was closed %d times", n)
	}
}

func registerConns(e events) (n int) {
	for _, c := range of[domain.ConnectionClose](e) {
		if c.Side == domain.SideRegister {
			n++
		}
	}
	return n
}

// Issue row 6.6: a scrape of a healthy alias waits while any other peer is unreachable.
func TestAbsentClientDoesNotDelayTheOthers(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	absent := w.startClient("absent", 2, nil)
	w.startClient("healthy", 3, nil)
	w.loop.Advance(time.Second)
	w.net.Cut(absent.PublicKey(), true)
	w.startScraper(nil)
	if _, took, err := w.scrape("healthy", 0); err != nil || took > 100*time.Millisecond {
		t.Errorf("the first scrape after a restart took %s: %v", took, err)
	}
}

// Issue row 6.7: hostname and service are not updated when the key is unchanged.
func TestHostnameAndServiceFollowTheLastRegistration(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	r := registration("web", 2)
	steps := []struct {
		name    string
		change  func()
		updated bool
	}{
		{"new", func() {}, true},
		{"the same again", func() {}, false},
		{"other hostname", func() { r.Hostname = "h2" }, true},
		{"other service", func() { r.Service = "s2" }, true},
		{"the same again", func() {}, false},
		{"other key", func() { r.Key = pair(3).Public }, true},
	}
	for _, step := range steps {
		step.change()
		if updated, err := w.send(r); err != nil || updated != step.updated {
			t.Errorf("%s: updated %t, %v", step.name, updated, err)
		}
		if s := w.status("web"); s.Hostname != r.Hostname || s.Service != r.Service || s.Key != r.Key {
			t.Errorf("%s: entry %+v", step.name, s.Entry)
		}
		if on := w.disk.Entries["web"]; on.Hostname != r.Hostname || on.Service != r.Service || on.Key != r.Key {
			t.Errorf("%s: on disk %+v", step.name, on)
		}
	}
	if w.scraper.Stats().Takeovers != 1 {
		t.Error("the take-over was not counted")
	}
	if success := of[domain.AliasSuccess](w.events); success[len(success)-1].TakenFrom != pair(2).Public {
		t.Error("the takeover does not name the previous key")
	}
}

func TestLatestKeyWinsAndTheOldConnectionCloses(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	old := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	now := w.startClient("web", 3, nil)
	w.loop.Advance(time.Second)
	w.mustScrape("web")
	if old.source.Asked != 0 || now.source.Asked != 1 {
		t.Error("the old client was scraped")
	}
	if w.net.Links(old.PublicKey()) != 0 {
		t.Error("the connection to the old client is still held")
	}
}

// A client that proves its key and reports that it has no connection is believed at once.
func TestProvenClientIsScrapedAtItsReturn(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	proves := func(cfg *app.ClientConfig) { cfg.Transport.(*portstest.Transport).Proves = true }
	c := w.startClient("web", 2, proves)
	w.loop.Advance(time.Minute)
	w.mustScrape("web")
	dials := w.scraper.Stats().Dials
	w.net.Freeze(c.PublicKey()) // killed: the old connection is open and dead
	w.startClient("web", 2, proves)
	w.loop.Advance(300 * time.Millisecond)
	w.mustScrape("web")
	if got := w.scraper.Stats().Dials; got != dials+1 {
		t.Errorf("%d dials for the new connection", got-dials)
	}
	w.loop.Advance(3 * time.Hour) // renewals of a client that is connected cost no connection
	if got := w.scraper.Stats().Dials; got != dials+1 {
		t.Errorf("%d dials in three hours of renewals", got-dials-1)
	}
	w.mustScrape("web")
}

// Issue row 6.9: slow recovery of a client that was killed and came back under its key.
func TestKilledClientIsScrapedWithinSecondsOfItsReturn(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	w.net.Freeze(c.PublicKey()) // killed: the old connection is open and dead
	w.loop.Advance(2 * time.Second)
	w.startClient("web", 2, nil)
	w.loop.Advance(5 * time.Second)
	w.mustScrape("web")
	if len(of[domain.ConnectionError](w.events)) != 1 {
		t.Error("the end of the dead connection was not reported")
	}
}

// cutOff configures a client that cannot register either while its key is cut.
func cutOff(cfg *app.ClientConfig) { cfg.DialKeys = cfg.Keys }

// Issue row 6.9: a registration resets the backoff.
func TestRegistrationEndsALongWait(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, cutOff)
	w.loop.Advance(time.Second)
	w.net.Cut(c.PublicKey(), true)
	w.loop.Advance(30 * time.Minute)
	waits := of[domain.SessionWait](w.events)
	if last := waits[len(waits)-1]; last.RetryIn < 30*time.Second || last.RetryIn > time.Minute {
		t.Fatalf("the wait after half an hour is %s", last.RetryIn)
	}
	if !w.loop.Until(time.Minute, func() bool { return w.status("web").Session == domain.SessionWaiting }) {
		t.Fatal("not waiting")
	}
	w.net.Cut(c.PublicKey(), false)
	if _, err := w.send(registration("web", 2)); err != nil {
		t.Fatal(err)
	}
	w.mustScrape("web")
}

func TestRegistrationOfALivingClientKeepsItsConnection(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, func(cfg *app.ClientConfig) { cfg.RegisterInterval = time.Minute })
	w.loop.Advance(time.Hour)
	if n := len(of[domain.ConnectionClose](c.events)); n != 0 {
		t.Errorf("its connection was closed %d times", n)
	}
	if c.source.Asked != 0 {
		t.Errorf("registrations cost %d collections", c.source.Asked)
	}
}

// Issue row 6.10: idle connections are closed, so that rare scrapes connect again each time.
func TestConnectionIsHeldHoweverRareTheScrapes(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	for range 5 {
		w.loop.Advance(150 * time.Minute)
		w.mustScrape("web")
	}
	if n := len(of[domain.ConnectionOpen](c.events)); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// First dials measure how well paths are found; repeated ones add nothing.
func TestFirstDialsAreCounted(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, cutOff)
	w.loop.Advance(2 * time.Minute)
	w.net.Break(c.PublicKey()) // and the second connection
	w.loop.Advance(2 * time.Minute)
	w.net.Cut(c.PublicKey(), true) // and a third that fails, again and again
	w.loop.Advance(2 * time.Minute)
	w.net.Cut(c.PublicKey(), false)
	w.loop.Advance(2 * time.Minute)
	p := w.scraper.Stats().Paths
	opened := uint64(0)
	for _, n := range p.Took[domain.PathDirect].Within {
		opened += n
	}
	if p.FirstConnected != 2 || p.FirstFailed != 1 || opened != 3 {
		t.Errorf("%d first dials connected, %d failed, %d connections: %+v", p.FirstConnected, p.FirstFailed, opened, p)
	}
}

func TestLostConnectionIsOpenedAgainWithBoundedBackoff(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, cutOff)
	w.loop.Advance(2 * time.Minute)
	w.net.Break(c.PublicKey())
	w.loop.Advance(1100 * time.Millisecond)
	w.mustScrape("web")
	w.net.Cut(c.PublicKey(), true)
	for _, test := range []struct {
		lasts       time.Duration
		least, most uint64
	}{{15 * time.Minute, 60, 125}, {time.Hour, 60, 125}} { // as often as it is scraped at first, and then once a minute
		before := w.scraper.Stats().Dials
		w.loop.Advance(test.lasts)
		if dials := w.scraper.Stats().Dials - before; dials < test.least || dials > test.most {
			t.Errorf("%d dials in %v", dials, test.lasts)
		}
	}
	for _, e := range of[domain.SessionWait](w.events) {
		if e.RetryIn < time.Second || e.RetryIn > time.Minute {
			t.Errorf("a wait of %s", e.RetryIn)
		}
	}
}

// Issue row 6.11: any holder of the secret can take any alias, silently. The last one wins on the wire, but not
// silently.
func TestTakeoverIsReportedAndCounted(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	for _, key := range []byte{2, 3} {
		if _, err := w.send(registration("victim", key)); err != nil {
			t.Fatal(err)
		}
	}
	success := of[domain.AliasSuccess](w.events)
	if len(success) != 2 || !success[0].TakenFrom.IsZero() || success[1].TakenFrom != pair(2).Public || w.scraper.Stats().Takeovers != 1 {
		t.Errorf("events %+v", success)
	}
	if _, _, err := w.scrape("victim", 0); err == nil {
		t.Error("a key without a holder was scraped")
	}
}

func TestAnyOfSeveralSecretsIsGood(t *testing.T) {
	w := newWorld(t)
	next := domain.SecretFrom([32]byte{77})
	w.startScraper(func(c *app.ScraperConfig) { c.Secrets = []domain.Secret{secret, next} })
	r := registration("b", 3)
	r.Secret = next
	for _, r := range []ports.Registration{registration("a", 2), r} {
		if _, err := w.send(r); err != nil {
			t.Error(err)
		}
	}
	if prints := w.scraper.Fingerprints(); len(prints) != 2 || prints[0] == prints[1] || len(prints[0]) != 8 {
		t.Errorf("fingerprints %v", prints)
	}
}

// Issue row 6.13: names are not limited.
func TestBadNamesAreRefusedAtTheDoorWithTheReason(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	for name, spoil := range map[string]func(*ports.Registration){
		"empty alias":        func(r *ports.Registration) { r.Alias = "" },
		"megabyte alias":     func(r *ports.Registration) { r.Alias = domain.Alias(strings.Repeat("a", 1<<20)) },
		"control character":  func(r *ports.Registration) { r.Alias = "a\nb" },
		"long hostname":      func(r *ports.Registration) { r.Hostname = strings.Repeat("h", 256) },
		"newline in service": func(r *ports.Registration) { r.Service = "x\ny" },
		"no key":             func(r *ports.Registration) { r.Key = domain.PublicKey{} },
	} {
		r := registration("web", 2)
		spoil(&r)
		_, err := w.send(r)
		remote, ok := errors.AsType[*domain.RemoteError](err)
		if !ok || !strings.HasPrefix(remote.Message, "Failed to register alias (uid ") || len(remote.Message) > 200 {
			t.Errorf("%s: %.300v", name, err)
		}
	}
	if len(w.aliases()) != 0 || len(w.disk.Entries) != 0 {
		t.Error("a bad name got in")
	}
	if w.scraper.Stats().Rejected[domain.ReasonBadName] != 6 {
		t.Errorf("rejected: %v", w.scraper.Stats().Rejected)
	}
	r := registration(strings.Repeat("é", 64), 2) // the longest
	r.Hostname, r.Service = strings.Repeat("h", 52), ""
	if _, err := w.send(r); err != nil {
		t.Error(err)
	}
}

func TestFullTableRefusesNewAliasesOnly(t *testing.T) {
	w := newWorld(t)
	w.startScraper(func(c *app.ScraperConfig) { c.MaxAliases = 2 })
	for i, alias := range []string{"a", "b"} {
		if _, err := w.send(registration(alias, byte(2+i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.send(registration("c", 9)); err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("a third alias of two: %v", err)
	}
	if _, err := w.send(registration("a", 9)); err != nil {
		t.Errorf("a known alias: %v", err)
	}
}

func TestRegistrationIsAcknowledgedOnlyWhenDurable(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.disk.Hold = true
	var answered bool
	var err error
	w.loop.Turn(func() {
		portstest.NewTransport(w.net).RegisterAlias(registration("web", 2), func(_ bool, e error) { answered, err = true, e })
	})
	w.loop.Advance(10 * time.Second)
	if answered || len(w.aliases()) != 0 {
		t.Error("acknowledged or listed before it was durable")
	}
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(time.Second)
	if !answered || err != nil || len(w.aliases()) != 1 {
		t.Errorf("after the write: answered %t, %v", answered, err)
	}
}

// Issue row 6.22: a failed write is a log line and the data is lost.
func TestRegistrationFailsWhenTheDiskDoes(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.disk.Fail = errors.New("no space left on /var/lib")
	_, err := w.send(registration("web", 2))
	remote, ok := errors.AsType[*domain.RemoteError](err)
	if !ok || strings.Contains(remote.Message, "space") {
		t.Errorf("answer: %v", err)
	}
	failed := of[domain.AliasError](w.events)
	if len(failed) != 1 || !errors.Is(failed[0].Err, w.disk.Fail) || !strings.Contains(remote.Message, failed[0].UID.String()) {
		t.Errorf("events: %+v", failed)
	}
	if len(of[domain.WriteAliasesError](w.events)) != 1 || w.scraper.Stats().StoreFailures != 1 {
		t.Error("the store's failure was not reported or counted")
	}
	w.disk.Fail = nil
	if updated, err := w.send(registration("web", 2)); err != nil || !updated {
		t.Errorf("the next try: %t, %v", updated, err)
	}
}

func TestRegistrationsOnTheirWayToTheDiskCount(t *testing.T) {
	w := newWorld(t)
	w.startScraper(func(c *app.ScraperConfig) { c.MaxAliases = 1 })
	w.disk.Hold = true
	results := map[string]error{}
	updated := map[string]bool{}
	for i, alias := range []string{"a", "b", "a"} {
		id := fmt.Sprint(i, alias)
		w.loop.Turn(func() {
			w.scraper.PutAlias(registration(alias, 2).Register, func(u bool, err error) { updated[id], results[id] = u, err })
		})
	}
	w.loop.Turn(w.disk.Release)
	w.loop.Advance(time.Second)
	if results["0a"] != nil || results["2a"] != nil || !errors.Is(results["1b"], domain.ErrTableFull) {
		t.Errorf("results %v", results)
	}
	if !updated["0a"] || updated["2a"] {
		t.Errorf("updated %v", updated)
	}
}

// Issue row 6.23: an alias put without a hostname makes every later write of the targets file fail.
func TestAliasWithoutHostnameIsWritten(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.loop.Turn(func() {
		w.scraper.PutAlias(domain.Register{Alias: "bare", Key: pair(2).Public}, func(updated bool, err error) {
			if !updated || err != nil {
				t.Errorf("updated %t, %v", updated, err)
			}
		})
	})
	w.loop.Advance(time.Second)
	if len(w.targets.Entries) != 1 || w.targets.Entries[0].Alias != "bare" {
		t.Errorf("targets %+v", w.targets.Entries)
	}
}

func TestTargetsFileFollowsTheTable(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	if w.targets.Writes != 1 {
		t.Errorf("%d writes at start", w.targets.Writes)
	}
	for i := range 100 {
		w.loop.Turn(func() {
			w.scraper.PutAlias(registration(fmt.Sprintf("a%03d", i), 2).Register, func(bool, error) {})
		})
	}
	w.loop.Advance(time.Second)
	if len(w.targets.Entries) != 100 || w.targets.Writes > 4 {
		t.Errorf("%d entries after %d writes", len(w.targets.Entries), w.targets.Writes)
	}
	writes := w.targets.Writes
	if _, err := w.send(registration("a000", 2)); err != nil {
		t.Fatal(err)
	}
	w.loop.Advance(time.Second)
	if w.targets.Writes != writes {
		t.Error("a renewal wrote the file")
	}
	w.targets.Err = errors.New("device busy")
	if _, err := w.send(registration("new", 3)); err != nil {
		t.Fatal(err)
	}
	w.loop.Advance(30 * time.Second)
	failed := of[domain.WriteAliasesError](w.events)
	if len(failed) < 3 || failed[0].What != "targets file" {
		t.Errorf("%d failures told", len(failed))
	}
	w.targets.Err = nil
	w.loop.Advance(time.Minute)
	if len(w.targets.Entries) != 101 {
		t.Error("the write was not tried again")
	}
}

func TestTargetsFileIsWrittenAFewTimesInAStorm(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	for i := range 600 { // for a minute
		w.loop.Turn(func() {
			w.scraper.PutAlias(registration(fmt.Sprintf("a%03d", i), 2).Register, func(bool, error) {})
		})
		w.loop.Advance(100 * time.Millisecond)
	}
	if n := w.targets.Writes; n < 60/4 || n > 60/3+8 {
		t.Errorf("%d writes in a minute of changes", n)
	}
	w.loop.Advance(10 * time.Second)
	writes := w.targets.Writes
	w.loop.Turn(func() { w.scraper.PutAlias(registration("after", 2).Register, func(bool, error) {}) })
	w.loop.Advance(200 * time.Millisecond)
	if len(w.targets.Entries) != 601 || w.targets.Writes != writes+1 {
		t.Errorf("a single change was not written at once: %d entries", len(w.targets.Entries))
	}
}

func TestLastChangesAreWrittenOnClose(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.loop.Turn(func() { w.scraper.PutAlias(registration("late", 2).Register, func(bool, error) {}) })
	w.closeScraper()
	if len(w.targets.Entries) != 1 || len(w.disk.Entries) != 1 {
		t.Errorf("targets %d, disk %d", len(w.targets.Entries), len(w.disk.Entries))
	}
	if n := w.loop.Timers(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

// stuck is a transport on a network with clients that have vanished: nothing on it ends by itself.
type stuck struct{ ports.ScraperTransport }

func (s stuck) ListenAliases(a ports.AliasListen, ready func(error)) (ports.Listener, error) {
	l, err := s.ScraperTransport.ListenAliases(a, ready)
	return stuckListener{l}, err
}

func (stuck) Close(func()) {}

type stuckListener struct{ ports.Listener }

func (stuckListener) Close(func()) {}

// closing is a store that records its close.
type closing struct {
	ports.AliasStore
	closed *bool
}

func (c closing) Close(done func(error)) {
	c.AliasStore.Close(func(err error) {
		*c.closed = true
		done(err)
	})
}

func TestTheTableIsClosedWhateverTheNetworkDoes(t *testing.T) {
	for _, keep := range []bool{false, true} {
		w := newWorld(t)
		stored, closed := false, false
		w.startScraper(func(c *app.ScraperConfig) {
			c.Transport, c.KeepTransport, c.Store = stuck{c.Transport}, keep, closing{c.Store, &stored}
		})
		w.loop.Turn(func() {
			w.scraper.PutAlias(registration("late", 2).Register, func(bool, error) {})
			w.scraper.Close(func() { closed = true })
		})
		w.loop.Advance(time.Second)
		if !stored || len(w.targets.Entries) != 1 || len(w.disk.Entries) != 1 {
			t.Errorf("after a second: closed %v, targets %d, disk %d", stored, len(w.targets.Entries), len(w.disk.Entries))
		}
		if w.loop.Advance(4 * time.Second); !closed {
			t.Error("it does not close")
		}
	}
}

// Issue row 6.22: an unreadable file means an empty start, and is overwritten.
func TestUnreadableStorePreventsTheStart(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.closeScraper()
	w.disk.Fail = errors.New("checksum error")
	var recorded events
	s, err := app.NewScraper(app.ScraperConfig{
		Host: w.loop, Transport: portstest.NewTransport(w.net), Clock: w.clock, Store: portstest.NewStore(w.loop, w.disk),
		Keys: pair(1), Secrets: []domain.Secret{secret}, OnEvent: recorded.add,
	})
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	w.loop.Turn(func() { s.Start(func(err error) { failed = err }) })
	w.loop.Advance(time.Second)
	if !errors.Is(failed, w.disk.Fail) || len(of[domain.LoadAliasesError](recorded)) != 1 || s.Ready() {
		t.Errorf("start: %v", failed)
	}
	closed := false
	w.loop.Turn(func() { s.Close(func() { closed = true }) })
	w.loop.Advance(time.Second)
	if !closed {
		t.Error("it does not close")
	}
}

// Issue row 6.1: loading stops at the first bad entry.
func TestBadRecordsAreSkippedAndReported(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.startClient("good", 2, nil)
	w.loop.Advance(time.Second)
	w.disk.Bad = []error{errors.New("record 7 is not JSON")}
	w.disk.Entries["bad\n"] = domain.Entry{Alias: "bad\n", Key: pair(9).Public, Expires: noon.Add(time.Hour)}
	w.startScraper(nil)
	w.mustScrape("good")
	load := of[domain.LoadAliases](w.events)
	if len(load) != 1 || load[0].Entries != 1 || len(load[0].Skipped) != 2 {
		t.Errorf("load: %+v", load)
	}
	if _, kept := w.disk.Entries["bad\n"]; !kept {
		t.Error("the bad record was deleted")
	}
}

func TestCloseEndsScrapesUnderWay(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	c := w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	c.source.Silent = true
	var got error
	w.loop.Turn(func() { w.scraper.Scrape("web", time.Minute, func(_ []byte, err error) { got = err }) })
	w.closeScraper()
	if !errors.Is(got, domain.ErrClosed) {
		t.Errorf("the scrape ended with %v", got)
	}
	if _, _, err := w.scrape("web", 0); !errors.Is(err, domain.ErrClosed) {
		t.Errorf("a scrape after the end: %v", err)
	}
	if w.net.Links(c.PublicKey()) != 0 || w.scraper.Ready() {
		t.Error("something is still open")
	}
}

func TestScraperTellsEverythingOfARegistrationAndAScrape(t *testing.T) {
	w := newWorld(t)
	w.startScraper(nil)
	w.startClient("web", 2, nil)
	w.loop.Advance(time.Second)
	w.mustScrape("web")
	want := []string{"alias-request", "set-alias", "alias-success"}
	wantNames(t, w.events.names(want...), want...)
	for _, name := range []string{"load-aliases", "connection-open", "connection-ignore", "connection-close", "aliases-updated"} {
		if !slices.Contains(w.events.names(), name) {
			t.Errorf("%s was not reported: %v", name, w.events.names())
		}
	}
	var sides []domain.Side
	for _, e := range of[domain.ConnectionOpen](w.events) {
		sides = append(sides, e.Side)
	}
	if !slices.Equal(sides, []domain.Side{domain.SideRegister, domain.SideScrape}) {
		t.Errorf("connections %v", sides)
	}
	s := w.status("web")
	if s.Session != domain.SessionOpen || !s.SessionUp || s.Peer.Path != domain.PathDirect || s.Link.RTT == 0 || s.Version != "1.2.3" || s.Scrape.Bytes == 0 || s.Scrape.Success.IsZero() {
		t.Errorf("status %+v", s)
	}
	if stats := w.scraper.Stats(); stats.Registrations != 1 || stats.Scrapes != 1 || stats.Dials != 1 {
		t.Errorf("stats %+v", stats)
	}
	if w.scraper.Sessions()[domain.SessionOpen] != 1 || w.scraper.Node().State != "online" || w.scraper.PublicKey() != pair(1).Public {
		t.Error("sessions, node or key are off")
	}
}

func TestScraperConfigSaysWhatIsWrong(t *testing.T) {
	loop := portstest.NewLoop(1)
	good := app.ScraperConfig{
		Host: loop, Transport: portstest.NewTransport(portstest.NewNetwork(loop)), Clock: portstest.NewClock(loop, noon),
		Store: portstest.NewStore(loop, portstest.NewDisk()), Keys: pair(1), Secrets: []domain.Secret{secret},
	}
	if _, err := app.NewScraper(good); err != nil {
		t.Error(err)
	}
	for field, spoil := range map[string]func(*app.ScraperConfig){
		"Host":           func(c *app.ScraperConfig) { c.Host = nil },
		"Transport":      func(c *app.ScraperConfig) { c.Transport = nil },
		"Clock":          func(c *app.ScraperConfig) { c.Clock = nil },
		"Store":          func(c *app.ScraperConfig) { c.Store = nil },
		"Keys":           func(c *app.ScraperConfig) { c.Keys = domain.KeyPair{} },
		"Secrets":        func(c *app.ScraperConfig) { c.Secrets = nil },
		"Secrets[1]":     func(c *app.ScraperConfig) { c.Secrets = append(c.Secrets, domain.Secret{}) },
		"Expiry":         func(c *app.ScraperConfig) { c.Expiry = time.Millisecond },
		"CheckInterval":  func(c *app.ScraperConfig) { c.CheckInterval = -time.Hour },
		"RequestTimeout": func(c *app.ScraperConfig) { c.RequestTimeout = -1 },
		"MaxAliases":     func(c *app.ScraperConfig) { c.MaxAliases = -1 },
	} {
		cfg := good
		spoil(&cfg)
		_, err := app.NewScraper(cfg)
		wrong, ok := errors.AsType[*app.ConfigError](err)
		if !ok || wrong.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestScraperIsReadyWhenItsTargetsFileIsThere(t *testing.T) {
	w := newWorld(t)
	wrote := false
	w.startScraper(func(cfg *app.ScraperConfig) {
		cfg.OnEvent = func(e domain.Event) {
			w.events.add(e)
			if _, ok := e.(domain.AliasesUpdated); ok {
				wrote = true
			}
			if !wrote && w.scraper.Ready() {
				t.Errorf("ready before the file, at %s", e.LogRecord().Name)
			}
		}
	})
	if !wrote || !w.scraper.Ready() {
		t.Errorf("written %v, ready %v", wrote, w.scraper.Ready())
	}
	w.closeScraper()
	w.targets.Err = errors.New("no such folder")
	w.startScraper(nil)
	if !w.scraper.Ready() {
		t.Error("a scraper that cannot write its file does not get ready")
	}
}

// writes counts the deletes of a store.
type writes struct {
	ports.AliasStore
	deletes int
}

func (w *writes) Delete(aliases []domain.Alias, done func(error)) {
	w.deletes++
	w.AliasStore.Delete(aliases, done)
}

// Checks for expired aliases are frequent, and each write costs a flush of the disk.
func TestNothingIsWrittenWhereNothingHasExpired(t *testing.T) {
	w := newWorld(t)
	store := &writes{}
	w.startScraper(func(cfg *app.ScraperConfig) {
		store.AliasStore = cfg.Store
		cfg.Store = store
		cfg.CheckInterval = time.Minute
	})
	w.startClient("web", 2, nil)
	w.loop.Advance(30 * time.Minute)
	if store.deletes != 0 {
		t.Errorf("%d writes", store.deletes)
	}
}
