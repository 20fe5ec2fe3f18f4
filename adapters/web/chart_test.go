package web

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

func TestSparklinesShowDurationsAndFailures(t *testing.T) {
	ok := func(ms int) domain.Scrape { return domain.Scrape{Took: time.Duration(ms) * time.Millisecond} }
	failed := domain.Scrape{Took: 5 * time.Second, Err: domain.ErrTimeout}
	for name, c := range map[string]struct {
		scrapes            []domain.Scrape
		line, strip, fails string
		label              string
	}{
		"two":              {[]domain.Scrape{ok(10), ok(20)}, "M84 10h0L92 2", "M81 24h14", "", "Last 2 scrapes: 10 ms to 20 ms"},
		"a gap":            {[]domain.Scrape{ok(20), failed, ok(20), ok(10)}, "M68 2h0M84 2h0L92 10", "M65 24h6M81 24h14", "M76 2V25", "Last 4 scrapes: 1 failed, the others took 10 ms to 20 ms"},
		"nothing but gaps": {[]domain.Scrape{failed, failed}, "", "", "M84 2V25M92 2V25", "Last 2 scrapes: all failed"},
		"no time at all":   {[]domain.Scrape{ok(0), ok(0)}, "M84 18h0L92 18", "M81 24h14", "", "Last 2 scrapes: under 1 ms to under 1 ms"},
	} {
		got := sparklineOf(c.scrapes)
		if got == nil || *got != (sparkline{c.line, c.strip, c.fails, c.label}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if sparklineOf([]domain.Scrape{ok(1)}) != nil || sparklineOf(nil) != nil {
		t.Error("one scrape is a line")
	}
	// The oldest ones are left out where there are more than fit.
	many := sparklineOf(append(make([]domain.Scrape, 100), failed))
	if want := sparkSide + (sparkScrapes-1)*sparkStep; many.Fails != fmt.Sprintf("M%d 2V25", want) || want > sparkWidth-sparkSide {
		t.Errorf("%+v", many)
	}
}

func TestBarOfPathsCountsConnections(t *testing.T) {
	alias := func(key byte, up bool, p domain.Path) domain.AliasStatus {
		return domain.AliasStatus{Entry: domain.Entry{Key: domain.PublicKey{key}}, SessionUp: up, Peer: domain.Peer{Addr: netip.AddrPort{}, Path: p}}
	}
	got := barOf([]domain.AliasStatus{
		alias(1, true, domain.PathLAN), alias(1, true, domain.PathLAN), alias(2, true, domain.PathRelay), alias(3, true, domain.PathRelay),
		alias(4, true, domain.PathLAN), alias(5, false, domain.PathPunched),
	})
	want := []pathPart{
		{Word: "LAN", Class: "lan", Count: 2, From: 0, Width: 50},
		{Word: "Relayed", Class: "relayed", Count: 2, From: 50, Width: 50},
	}
	if !slices.Equal(got.Parts, want) || got.Label != "Connections: 2 lan, 2 relayed" {
		t.Errorf("%+v", got)
	}
	if got := barOf(nil); len(got.Parts) != 0 {
		t.Errorf("%+v", got)
	}
}
