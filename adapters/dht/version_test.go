package dht_test

import (
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/dht"
	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

// measure scrapes a client 200 times and returns what the scraper knows of the connection.
func measure(t *testing.T, version string, loss float64) (l domain.LinkStats, reported string) {
	n := newNet(t, 1)
	client, scraper := n.peer("client", dht.Config{Version: version}), n.peer("scraper", dht.Config{})
	n.net.SetLinks(client.host, scraper.host, simnet.Link{Delay: 40 * time.Millisecond, Loss: loss})
	n.listenMetrics(client)
	n.wait("metrics ready")
	s := n.dial(scraper)
	if l := s.Stats(); l != (domain.LinkStats{}) || s.Version() != "" {
		t.Errorf("before the dial: %+v, version %q", l, s.Version())
	}
	n.wait("session ready")
	for range 200 {
		if _, err := n.scrape(scraper, s); err != nil {
			t.Fatal(err)
		}
	}
	l, reported = s.Stats(), s.Version()
	scraper.host.Do(func() { s.Close(nil) })
	n.wait("session close")
	return l, reported
}

func TestSessionKnowsRoundTripLossAndVersion(t *testing.T) {
	clean, version := measure(t, "1.2.3", 0)
	if clean.RTT < 80*time.Millisecond || clean.RTT > 110*time.Millisecond || clean.Sent < 200 || clean.ResentShare() > 0.01 || version != "1.2.3" {
		t.Errorf("%+v, version %q", clean, version)
	}
	lossy, version := measure(t, "", 0.1)
	if share := lossy.ResentShare(); share < 0.05 || share > 0.3 || lossy.Sent <= clean.Sent || version != "" {
		t.Errorf("%+v, share %.2f, version %q", lossy, share, version)
	}
	if again, _ := measure(t, "", 0.1); again != lossy {
		t.Errorf("the same seed: %+v, %+v", lossy, again)
	}
}
