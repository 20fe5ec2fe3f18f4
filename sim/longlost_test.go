package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/app"
	"github.com/dhtprom/dhtprom/domain"
)

// An elder does not register when its machine wakes. A scraper that has not been connected to it for a quarter of an hour, or since its own
// start, dials it each minute, so that the bound counts from the next dial. It counts from the healing in all other cases, and there is one
// such dial.
func TestOnlyTheNextDialOfALongLostClientIsAwaited(t *testing.T) {
	const most = healWithin + retryMax // from the healing to the end of the longest wait for a client
	for _, test := range []struct {
		name   string
		sleeps time.Duration
		since  time.Duration // the least wait that the scraper begins right before the healing
		starts bool          // the scraper, when the client falls asleep
		before func(*World, *scraper)
		wakes  bool // at the healing
		fails  bool
		over   [2]time.Duration // from the healing to the success or the failure
	}{
		{name: "long lost, back at once", sleeps: 16 * time.Minute, since: 45 * time.Second, wakes: true, over: [2]time.Duration{healWithin, most}},
		{name: "lost since a start of the scraper, back at once", starts: true, sleeps: time.Minute, since: 45 * time.Second, wakes: true, over: [2]time.Duration{healWithin, most}},
		{name: "long lost, and away", sleeps: 16 * time.Minute, since: 45 * time.Second, fails: true, over: [2]time.Duration{45*time.Second + healWithin, most}},
		{name: "lost, and away", sleeps: 10 * time.Minute, since: time.Second, fails: true, over: [2]time.Duration{healWithin, healWithin + time.Second}},
		{
			name: "long lost, and the scraper starts again", sleeps: 16 * time.Minute, since: 45 * time.Second, fails: true, over: [2]time.Duration{healWithin, healWithin + time.Second},
			before: func(w *World, s *scraper) { s.crash(); s.restart() },
		},
		{
			name: "long lost, and it registers", sleeps: 16 * time.Minute, since: 45 * time.Second, fails: true, over: [2]time.Duration{healWithin, healWithin + time.Second},
			before: func(w *World, _ *scraper) { w.check.nudge("scraper dials client-0") },
		},
		{
			name: "lost, and a wait that is too long", sleeps: 10 * time.Minute, since: time.Second, fails: true, over: [2]time.Duration{healWithin, healWithin + time.Second},
			before: func(w *World, s *scraper) {
				s.crash()
				w.check.triesOf("scraper dials client-0").next.due += time.Minute
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var took time.Duration
			withScenario(t, &Scenario{Name: "longlost", Nodes: 4, Clients: 1, For: time.Minute, Play: func(w *World) {
				w.bootNodes(w.opts.Nodes)
				var wait time.Duration // begins in this instant
				s := w.addScraper("scraper", scraperSetup{at: home, transport: dht.Config{OwnConnections: true}, change: func(cfg *app.ScraperConfig) {
					tell := cfg.OnEvent
					cfg.OnEvent = func(e domain.Event) {
						if e, ok := e.(domain.SessionWait); ok {
							wait = e.RetryIn
						}
						tell(e)
					}
				}})
				c := w.addElder(s, home)
				w.mustHeal(healWithin)
				c.host.Sleep()
				if test.starts {
					s.crash()
					s.restart()
				}
				w.run(test.sleeps)
				wait = 0
				w.until("the scraper waits", 10*time.Minute, func() bool { return wait >= test.since })
				if test.before != nil {
					test.before(w, s)
				}
				if test.wakes {
					c.host.Wake()
				}
				healed := w.net.Now()
				w.mustHeal(healWithin)
				took = w.net.Now() - healed
			}})
			r, err := Run(Options{Scenario: "longlost", Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			blamed := slices.ContainsFunc(r.Failures, func(f Failure) bool { return f.Check == "liveness" })
			if blamed != test.fails || len(r.Failures) > 1 {
				t.Errorf("failures %v, want one: %v", r.Failures, test.fails)
			}
			if took < test.over[0] || took > test.over[1] {
				t.Errorf("over after %v, want %v to %v", took, test.over[0], test.over[1])
			}
		})
	}
}
