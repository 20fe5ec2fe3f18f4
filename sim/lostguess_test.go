package sim

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// A guess that is lost after the healing gives a client more time: the node's rest after it, and the usual bound. A minute is the most. Nothing
// else that becomes of a punch does.
func TestOnlyALostGuessGivesMoreTime(t *testing.T) {
	const lost = 7 * time.Second // after the healing
	guess := hyperdht.AttemptEvent{Step: hyperdht.AttemptPunching, Ours: hyperdht.NATRandom, Theirs: hyperdht.NATConsistent}
	toRandom := hyperdht.AttemptEvent{Step: hyperdht.AttemptPunching, Ours: hyperdht.NATConsistent, Theirs: hyperdht.NATRandom}
	usual := hyperdht.AttemptEvent{Step: hyperdht.AttemptPunching, Ours: hyperdht.NATConsistent, Theirs: hyperdht.NATConsistent}
	toOpen := hyperdht.AttemptEvent{Step: hyperdht.AttemptPunching, Ours: hyperdht.NATRandom, Theirs: hyperdht.NATOpen}
	failed := hyperdht.AttemptEvent{Step: hyperdht.AttemptPunchFailed}
	path := hyperdht.AttemptEvent{Step: hyperdht.AttemptPath}
	closed := hyperdht.AttemptEvent{Step: hyperdht.AttemptClosed}
	for _, test := range []struct {
		name   string
		steps  []hyperdht.AttemptEvent
		before time.Duration // since the healing; lost by default
		dialer func(*scraper, *client) (*machine, domain.PublicKey)
		relay  bool
		late   time.Duration // the scraper's next dial, since the healing
		want   time.Duration
	}{
		{name: "lost", steps: []hyperdht.AttemptEvent{guess, failed, closed}, want: lost + guessRest + healWithin},
		{name: "lost by the scraper", steps: []hyperdht.AttemptEvent{toRandom, failed, closed}, want: lost + guessRest + healWithin, dialer: byScraper},
		{name: "lost late", steps: []hyperdht.AttemptEvent{guess, failed, closed}, before: 20 * time.Second, want: guessWithin},
		{name: "lost before the healing", steps: []hyperdht.AttemptEvent{guess, failed, closed}, before: -time.Second, want: healWithin},
		{name: "lost with another peer", steps: []hyperdht.AttemptEvent{guess, failed, closed}, want: healWithin, dialer: toAnother},
		{name: "lost beside a relay", steps: []hyperdht.AttemptEvent{guess, failed, closed}, relay: true, want: healWithin},
		{name: "lost before a late dial", steps: []hyperdht.AttemptEvent{guess, failed, closed}, late: 45 * time.Second, want: 45*time.Second + healWithin},
		{name: "won", steps: []hyperdht.AttemptEvent{guess, path, failed, closed}, want: healWithin},
		{name: "given up", steps: []hyperdht.AttemptEvent{guess, closed}, want: healWithin},
		{name: "a punch without a guess", steps: []hyperdht.AttemptEvent{usual, failed, closed}, want: healWithin},
		{name: "no NAT to guess at", steps: []hyperdht.AttemptEvent{toOpen, failed, closed}, want: healWithin},
		{name: "no punch", steps: []hyperdht.AttemptEvent{failed, closed}, want: healWithin},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got time.Duration
			withScenario(t, &Scenario{Name: "lostguess", Nodes: 4, Clients: 1, For: time.Minute, Play: func(w *World) {
				w.bootNodes(w.opts.Nodes)
				s := w.addScraper("scraper", scraperSetup{at: home})
				c := w.addClient(s, clientSetup{at: home})
				if test.relay {
					w.addRelay("relay")
				}
				w.mustHeal(healWithin)
				from, to := c.machine, s.keys.Public
				if test.dialer != nil {
					from, to = test.dialer(s, c)
				}
				w.run(time.Minute)
				since := test.before
				if since == 0 {
					since = lost
				}
				healed := w.net.Now() - since
				for _, e := range test.steps {
					e.Attempt, e.Key = 1<<40, id.PublicKey(to)
					w.observe(from.host, e)
				}
				if test.late > 0 {
					next := &w.check.triesOf(s.name + " dials " + w.nameOf(c.keys.Public)).next
					next.late, next.begun, next.due = true, healed-time.Minute, healed+test.late
				}
				got = w.patience(c, healWithin, healed)
			}})
			r, err := Run(Options{Scenario: "lostguess", Seed: 1})
			if err != nil || len(r.Failures) > 0 {
				t.Fatalf("%v, %v", err, r.Failures)
			}
			if got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func byScraper(s *scraper, c *client) (*machine, domain.PublicKey) { return s.machine, c.keys.Public }

func toAnother(_ *scraper, c *client) (*machine, domain.PublicKey) {
	return c.machine, domain.KeyPairFromSeed(domain.SeedFrom([domain.KeySize]byte{9})).Public
}
