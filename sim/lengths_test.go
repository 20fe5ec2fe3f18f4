package sim

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
)

// A changed length costs the scrapes of its client around the end of the connection, and no others.
func TestOnlyScrapesAroundAChangedLengthMayFail(t *testing.T) {
	const second = time.Second
	late := &domain.TimeoutError{Waiting: "the answer", After: scrapeWithin}
	changed := fmt.Errorf("on the way: %w", hyperdht.ErrUnendedMessage)
	for _, test := range []struct {
		name   string
		err    error
		side   domain.Side
		alias  domain.Alias
		after  time.Duration // from the end of the connection to that of the scrape
		scrape error         // of the scrape
		ends   int           // of connections
		failed int
	}{
		{"the scrape waited", changed, domain.SideScrape, "client-0", -8 * second, late, 1, 0},
		{"no other connection yet", changed, domain.SideScrape, "client-0", 2 * second, late, 1, 0},
		{"the client has recognised it", changed, domain.SideMetrics, "client-0", 0, late, 1, 0},
		{"it ended before", changed, domain.SideScrape, "client-0", -10 * second, late, 1, 1},
		{"long after", changed, domain.SideScrape, "client-0", 4 * second, late, 1, 1},
		{"of another client", changed, domain.SideScrape, "client-1", 0, late, 1, 1},
		{"on a registration", changed, domain.SideRegister, "client-0", 0, late, 1, 1},
		{"another error", errors.New("reset"), domain.SideScrape, "client-0", 0, late, 1, 1},
		{"the client answered", changed, domain.SideScrape, "client-0", 0, &domain.RemoteError{}, 1, 1},
		{"as often as old datagrams do it", changed, domain.SideScrape, "client-0", 0, late, mostLengthened, 0},
		{"too often", changed, domain.SideScrape, "client-0", 0, late, mostLengthened + 1, 1},
		{"of the one that is switched off", changed, domain.SideScrape, "client-2", 4 * second, late, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var scrapes, failed int
			withScenario(t, &Scenario{Name: "length", Nodes: 4, Clients: 3, For: time.Minute, Play: func(w *World) {
				w.bootNodes(w.opts.Nodes)
				s := w.addScraper("scraper", scraperSetup{at: open})
				w.populateAt(s, w.opts.Clients, setting{clients: []place{open}}, clientSetup{})
				c := w.clients[0]
				o := &scrapesOf{w: w, but: w.clients[2]}
				o.begin()
				w.run(30 * second)
				o.ended("client-1", nil)
				o.ended(test.alias, test.scrape)
				for i := range o.failed {
					o.failed[i].at += test.after
				}
				e := domain.ConnectionError{Side: test.side, Err: test.err}
				for range test.ends {
					if test.side == domain.SideMetrics {
						e.Peer.Key = s.keys.Public
						w.onClientEvent(c, c.boots, e)
					} else {
						e.Peer.Key = c.keys.Public
						w.onScraperEvent(s, s.boots, e)
					}
				}
				scrapes, failed = o.count()
			}})
			r, err := Run(Options{Scenario: "length", Seed: 1})
			if err != nil || len(r.Failures) > 0 {
				t.Fatalf("%v, %v", err, r.Failures)
			}
			want := 2
			if test.alias == "client-2" {
				want = 1
			}
			if scrapes != want || failed != test.failed {
				t.Errorf("%d scrapes, %d failed; want %d, %d", scrapes, failed, want, test.failed)
			}
		})
	}
}
