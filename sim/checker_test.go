package sim

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// blame plays a scenario with one false report to the checker, and demands that it reports that and nothing else.
func blame(t *testing.T, rule string, lie func(w *World, s *scraper, c *client)) {
	t.Helper()
	withScenario(t, &Scenario{Name: "lie", Nodes: 4, Clients: 1, For: time.Minute, Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{})
		c := w.addClient(s, clientSetup{})
		w.until("it is registered", time.Minute, func() bool { return c.app.Status().Registered })
		w.run(10 * time.Second)
		lie(w, s, c)
	}})
	r, err := Run(Options{Scenario: "lie", Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Failures) == 0 {
		t.Errorf("no failure")
	}
	for _, f := range r.Failures {
		if f.Check != rule {
			t.Errorf("blamed for %s, want %s", f, rule)
		}
	}
}

func TestCheckerNoticesEachBrokenRule(t *testing.T) {
	tests := []struct {
		name, rule string
		lie        func(w *World, s *scraper, c *client)
	}{
		{"a page of another client", "identity", func(w *World, s *scraper, c *client) {
			c.source.key = w.keysOf("somebody else").Public
			_, _ = w.scrapeNow(s, c.alias)
		}},
		{"a page that says nothing", "identity", func(w *World, s *scraper, c *client) {
			s.ledger.served(c.alias, s.ledger.asks(c.alias), []byte("up 1\n"))
		}},
		{"an alias served after its time", "expiry", func(w *World, s *scraper, c *client) {
			q := s.ledger.asks(c.alias)
			q.at = q.expires
			s.ledger.served(c.alias, q, []byte(keyLine+c.keys.Public.String()+"\n"))
		}},
		{"an entry that has become younger on the disk", "expiry", func(w *World, s *scraper, c *client) {
			s.ledger.account(c.alias).stored = s.ledger.now()
			s.crash()
			s.restart()
			w.run(time.Second)
		}},
		{"a client that lets a stranger in", "stranger", func(w *World, s *scraper, c *client) {
			peer := domain.Peer{Key: w.keysOf("stranger").Public}
			w.onClientEvent(c, c.boots, domain.ConnectionOpen{Side: domain.SideMetrics, Peer: peer})
			w.onClientEvent(c, c.boots, domain.ConnectionClose{Side: domain.SideMetrics, Peer: peer})
		}},
		{"an alias given to a peer without the secret", "stranger", func(w *World, s *scraper, c *client) {
			w.onScraperEvent(s, s.boots, domain.SetAlias{Entry: domain.Entry{Alias: "stolen", Key: w.keysOf("stranger").Public}})
		}},
		{"a registration that is not on the disk", "acknowledged", func(w *World, s *scraper, c *client) {
			s.ledger.account("lost").expires = s.ledger.now().Add(time.Hour)
			c.alias = "lost"
			w.onClientEvent(c, c.boots, domain.RegisterAliasSuccess{Alias: "lost", Scraper: s.keys.Public})
		}},
		{"a disk that has lost an alias", "acknowledged", func(w *World, s *scraper, c *client) {
			s.crash()
			s.disk = s.disk.CopyAt(0)
			s.restart()
			w.run(time.Second)
			s.ledger.leaves(c)
		}},
		{"an alias dropped before its time", "acknowledged", func(w *World, s *scraper, c *client) {
			for _, e := range s.disk.Entries() {
				w.onScraperEvent(s, s.boots, domain.AliasExpired{Entry: e})
			}
		}},
		{"attempts without a pause", "retries", func(w *World, s *scraper, c *client) {
			for range 3 {
				w.onClientEvent(c, c.boots, domain.AliasAttempt{})
			}
		}},
		{"attempts that go on and on", "retries", func(w *World, s *scraper, c *client) {
			for range maxAttempts + 5 {
				w.run(2 * time.Second)
				w.onClientEvent(c, c.boots, domain.AliasAttempt{})
			}
		}},
		{"a dial without a pause", "retries", func(w *World, s *scraper, c *client) {
			w.onScraperEvent(s, s.boots, domain.SessionWait{Key: c.keys.Public, Err: errors.New("x")})
		}},
		{"a connection that opens twice", "connections", func(w *World, s *scraper, c *client) {
			for range 2 {
				w.onClientEvent(c, c.boots, domain.ConnectionOpen{Side: domain.SideRegister})
			}
			w.onClientEvent(c, c.boots, domain.ConnectionClose{Side: domain.SideRegister})
		}},
		{"the end of a connection that was not open", "connections", func(w *World, s *scraper, c *client) {
			w.onClientEvent(c, c.boots, domain.ConnectionClose{Side: domain.SideRegister})
		}},
		{"a connection that never ends", "connections", func(w *World, s *scraper, c *client) {
			w.onClientEvent(c, c.boots, domain.ConnectionOpen{Side: domain.SideRegister})
		}},
		{"a crashed program that goes on talking", "connections", func(w *World, s *scraper, c *client) {
			w.onClientEvent(c, c.boots-1, domain.AliasAttempt{})
		}},
		{"a timer that is left", "leftovers", func(w *World, s *scraper, c *client) {
			s.host.AfterFunc(24*time.Hour, func() {})
		}},
		{"thousands of timers", "bounds", func(w *World, s *scraper, c *client) {
			for range 2 * maxTimers {
				timer := c.host.AfterFunc(time.Hour, func() {})
				w.net.AfterFunc(auditEvery, func() { timer.Stop() })
			}
			w.run(auditEvery)
		}},
		{"thousands of timers of an attacker", "bounds", func(w *World, s *scraper, c *client) {
			c.isAttacker = true
			for range 2 * maxTimers {
				timer := c.host.AfterFunc(time.Hour, func() {})
				w.net.AfterFunc(auditEvery, func() { timer.Stop() })
			}
			w.run(auditEvery)
		}},
		{"timers that stay after a storm", "bounds", func(w *World, s *scraper, c *client) {
			before := w.count(w.machines)
			for range 2 * underWay * timersEach {
				timer := c.host.AfterFunc(time.Hour, func() {})
				w.net.AfterFunc(10*time.Minute, func() { timer.Stop() })
			}
			w.mustShrink(w.machines, before)
			w.run(10 * time.Minute)
		}},
		{"datagrams that cannot be read", "readable", func(w *World, s *scraper, c *client) {
			w.breakStreams(c, 1, 0)
		}},
		{"a stream that breaks long after a start of its server", "readable", func(w *World, s *scraper, c *client) {
			s.restart()
			w.run(auditEvery + repeatedFor + time.Second)
			w.breakStreams(c, 1, 0)
		}},
		{"two streams that break after a start of their server", "readable", func(w *World, s *scraper, c *client) {
			s.restart()
			w.run(time.Second)
			w.breakStreams(c, 2, 0)
		}},
		{"two streams that break after a start of their server, in two audits", "readable", func(w *World, s *scraper, c *client) {
			s.restart()
			w.run(time.Second)
			w.breakStreams(c, 1, 0)
			if len(w.result.Failures) > 0 {
				panic("the first one is not explained")
			}
			w.run(auditEvery)
			w.breakStreams(c, 1, 0)
		}},
		{"an open stream that breaks after a start of its server", "readable", func(w *World, s *scraper, c *client) {
			s.restart()
			w.run(time.Second)
			w.breakStreams(c, 0, 1)
		}},
		{"an open stream that breaks while faults are drawn", "readable", func(w *World, s *scraper, c *client) {
			w.result.faulty = true
			w.breakStreams(c, 0, 1)
		}},
		{"a session that outlives its deadline", "deadlines", func(w *World, s *scraper, c *client) {
			w.check.timely(s.machine, func(_ time.Duration, tell func(string)) { tell("session: in a state for too long") })
		}},
		{"a secret in the transcript", "secret", func(w *World, s *scraper, c *client) {
			w.log.say("the secret is %s", w.secret.RevealText())
		}},
		{"a client that cannot be scraped after all", "liveness", func(w *World, s *scraper, c *client) {
			c.source.err = errors.New("broken")
			w.mustHeal(10 * time.Second)
		}},
		{"a scrape that is never answered", "liveness", func(w *World, s *scraper, c *client) {
			s.scrape = func(domain.Alias, time.Duration, func([]byte, error)) func() { return func() {} }
			w.scrape(s, c.alias, func(time.Duration, error) {})
			w.run(time.Minute)
		}},
		{"scrapes that are never answered where all must be scraped", "liveness", func(w *World, s *scraper, c *client) {
			s.scrape = func(domain.Alias, time.Duration, func([]byte, error)) func() { return func() {} }
			w.mustHeal(5 * time.Second)
			s.scrape = s.app.Scrape
		}},
		{"a server that cannot be found", "outcome", func(w *World, s *scraper, c *client) {
			(&lookupStats{asked: 2, found: 1}).report(w)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { blame(t, test.rule, test.lie) })
	}
}

// Another client takes the alias over, and leaves, before the first one has the answer to its registration.
func TestAliasThatWasTakenOverMayBeGone(t *testing.T) {
	withScenario(t, &Scenario{Name: "takeover", Nodes: 4, Clients: 1, For: time.Minute, Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{at: open})
		c := w.addClient(s, clientSetup{at: open})
		w.until("the client is registered", startWithin, func() bool { return c.app.Status().Registered })
		acc := s.ledger.account("gone")
		acc.expires = s.ledger.now().Add(time.Hour)
		acc.give(c.keys.Public)
		acc.give(w.keysOf("another client").Public)
		c.alias = "gone"
		w.onClientEvent(c, c.boots, domain.RegisterAliasSuccess{Alias: "gone", Scraper: s.keys.Public})
	}})
	r, err := Run(Options{Scenario: "takeover", Seed: 1})
	if err != nil || len(r.Failures) > 0 {
		t.Errorf("%v, %v", err, r.Failures)
	}
}

func TestWhatEndsSoonIsNotBlamedForStaying(t *testing.T) {
	withScenario(t, &Scenario{Name: "storm", Nodes: 4, Clients: 1, For: time.Minute, Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		before := w.count(w.machines)
		for range 2 * underWay * timersEach {
			w.nodes[0].host.AfterFunc(5*time.Second, func() {})
		}
		w.mustShrink(w.machines, before)
	}})
	r, err := Run(Options{Scenario: "storm", Seed: 1})
	if err != nil || len(r.Failures) > 0 {
		t.Errorf("%v, %v", err, r.Failures)
	}
}

func TestReplayLineIsTheWholeCommand(t *testing.T) {
	o := Options{Scenario: "chaos", Seed: 7, Nodes: 9, Clients: 2, For: 90 * time.Second, Without: []string{faultSleeps}}
	if want := "go run ./sim/cmd/dhtprom-sim -scenario chaos -seed 7 -nodes 9 -clients 2 -for 1m30s -without sleeps"; o.Command() != want {
		t.Errorf("%s", o.Command())
	}
}

func TestEveryScenarioSaysWhatItIs(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Scenarios() {
		if seen[s.Name] || s.About == "" || strings.ContainsAny(s.Name, " -_") || s.Nodes == 0 || s.Clients == 0 || s.For == 0 {
			t.Errorf("scenario %q", s.Name)
		}
		seen[s.Name] = true
		if Find(s.Name) != s {
			t.Errorf("%q is not found", s.Name)
		}
	}
	if _, err := Run(Options{Scenario: "nonsense"}); err == nil {
		t.Error("nonsense can be played")
	}
}

// breakStreams audits a client whose streams broke: some before they were open, some later.
func (w *World) breakStreams(c *client, opening, open int) {
	for i := range opening + open {
		attempt := uint64(1_000_000 + i)
		w.observe(c.host, hyperdht.AttemptEvent{Attempt: attempt, Step: hyperdht.AttemptFirstPacket})
		if i >= opening {
			w.observe(c.host, hyperdht.AttemptEvent{Attempt: attempt, Step: hyperdht.AttemptOpen})
		}
		w.observe(c.host, hyperdht.AttemptEvent{Attempt: attempt, Step: hyperdht.AttemptClosed})
	}
	var broken hyperdht.Status
	broken.Peering.ConnectionsBroken = uint64(opening + open)
	w.check.readable(c.machine, broken)
}
