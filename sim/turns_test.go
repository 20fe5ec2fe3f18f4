package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

// Ports are guessed for one peer at a time. The others come soon after each other, without the backoff for a peer that is
// gone.
func TestClientsOfARandomNATComeOneAfterTheOther(t *testing.T) {
	for _, test := range []struct {
		name            string
		scraper, client simnet.NAT
	}{
		{"the scraper's NAT is random", simnet.SymmetricRandom(), simnet.PortRestricted()},
		{"the clients' NATs are random", simnet.PortRestricted(), simnet.SymmetricRandom()},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var took []time.Duration
			for seed := range uint64(5) {
				s := &Scenario{Name: "turns", Nodes: 12, Clients: 8, For: 10 * time.Minute, Play: func(w *World) {
					w.bootNodes(w.opts.Nodes)
					s := w.addScraper("scraper", scraperSetup{at: behind(test.scraper)})
					w.run(10 * time.Second)
					began := w.net.Now()
					for i := range w.opts.Clients {
						w.addClient(s, clientSetup{at: behind(test.client), alias: domain.Alias(fmt.Sprintf("web-%d", i))})
					}
					w.until("all are connected", w.opts.For, func() bool { return s.app.Sessions()[domain.SessionOpen] == w.opts.Clients })
					took = append(took, w.net.Now()-began)
				}}
				for _, f := range s.run(Options{Seed: seed + 1}).Failures {
					t.Errorf("seed %d: %v", seed+1, f)
				}
			}
			slices.Sort(took)
			if median := took[len(took)/2]; median > time.Minute {
				t.Errorf("the last of eight is connected after %v, want a median of a minute", took)
			}
		})
	}
}

// turnsCost is the cost of connecting all clients of a scraper.
type turnsCost struct {
	took             time.Duration
	datagrams, dials int // of all machines; of the scraper and its clients
}

// untilConnected lets time pass until the scraper is connected to all its clients. dials counts them.
func (w *World) untilConnected(s *scraper, dials func() int) turnsCost {
	began, before := w.net.Now(), w.net.Stats().Sent
	w.until("all are connected", w.opts.For, func() bool { return s.app.Sessions()[domain.SessionOpen] == w.opts.Clients })
	return turnsCost{w.net.Now() - began, int(w.net.Stats().Sent - before), dials()}
}

// registrationDials returns how often clients have dialled their scrapers.
func (w *World) registrationDials() (n int) {
	for _, c := range w.clients {
		st := c.app.Status()
		n += int(st.Registrations + st.RegistrationsFailed)
	}
	return n
}

// Clients wait for the time that the scraper names, and dial a few times each, however many they are. Without a queue each
// one dialled every few seconds: 100 clients 2,200 to 5,200 times, with 260,000 to 420,000 datagrams, 30 clients 220 to 450
// times. The time is that of the guesses, 1.6 s for each client.
func TestWaitingForATurnCostsFewDials(t *testing.T) {
	for _, test := range []struct {
		name            string
		scraper, client simnet.NAT
		clients         int
	}{
		{"8 clients of a random NAT", simnet.SymmetricRandom(), simnet.PortRestricted(), 8},
		{"8 clients with random NATs", simnet.PortRestricted(), simnet.SymmetricRandom(), 8},
		{"30 clients of a random NAT", simnet.SymmetricRandom(), simnet.PortRestricted(), 30},
		{"30 clients with random NATs", simnet.PortRestricted(), simnet.SymmetricRandom(), 30},
		{"100 clients of a random NAT", simnet.SymmetricRandom(), simnet.PortRestricted(), 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var starts, restarts []turnsCost
			s := &Scenario{Name: "turns", Nodes: 12, Clients: test.clients, For: 10 * time.Minute, Play: func(w *World) {
				w.bootNodes(w.opts.Nodes)
				s := w.addScraper("scraper", scraperSetup{at: behind(test.scraper)})
				w.run(10 * time.Second)
				for i := range w.opts.Clients {
					w.addClient(s, clientSetup{at: behind(test.client), alias: domain.Alias(fmt.Sprintf("web-%d", i))})
				}
				dials := func() int { return w.registrationDials() + int(s.app.Stats().Dials) }
				starts = append(starts, w.untilConnected(s, dials))
				w.run(2 * time.Minute)
				s.crash()
				w.run(time.Second)
				s.restart()
				w.until("the scraper listens", startWithin, func() bool { return s.app != nil && s.app.Ready() })
				began := w.registrationDials()
				restarts = append(restarts, w.untilConnected(s, func() int { return w.registrationDials() - began + int(s.app.Stats().Dials) }))
			}}
			for seed := range uint64(3) {
				for _, f := range s.run(Options{Seed: seed + 1}).Failures {
					t.Errorf("seed %d: %v", seed+1, f)
				}
			}
			judgeTurns(t, "start", starts, test.clients)
			judgeTurns(t, "restart", restarts, test.clients)
		})
	}
}

// judgeTurns compares the medians of some runs with the allowed cost of n clients. A guess in twenty is lost, and a lost
// one delays all that wait by half a minute, so that single runs differ much.
func judgeTurns(t *testing.T, what string, runs []turnsCost, n int) {
	t.Helper()
	median := func(of func(turnsCost) int) int {
		all := make([]int, len(runs))
		for i, c := range runs {
			all[i] = of(c)
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	took := time.Duration(median(func(c turnsCost) int { return int(c.took) }))
	dials, datagrams := median(func(c turnsCost) int { return c.dials }), median(func(c turnsCost) int { return c.datagrams })
	t.Logf("%s: %v, %d dials, %d datagrams", what, took.Round(step), dials, datagrams)
	if most := 10*time.Second + time.Duration(n)*2*time.Second; took > most {
		t.Errorf("%s: all are connected after %v, want %v", what, took, most)
	}
	if most := 8 * n; dials > most {
		t.Errorf("%s: %d dials, want at most %d", what, dials, most)
	}
	if most := 1800 * n; datagrams > most {
		t.Errorf("%s: %d datagrams, want at most %d", what, datagrams, most)
	}
}
