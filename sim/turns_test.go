package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

// Guessing ports is done for one peer at a time. The others come soon after each other, and do not back off as from
// somebody who is not there.
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
