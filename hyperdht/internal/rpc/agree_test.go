package rpc

import (
	"net/netip"
	"testing"

	"github.com/dhtprom/dhtprom/hyperdht/internal/nat"
)

func TestMostAgreeLeavesOutWhoContradictsMost(t *testing.T) {
	at := netip.MustParseAddrPort
	sample := func(from, seen string) nat.Sample { return nat.Sample{Seen: at(seen), From: at(from)} }
	for _, c := range []struct {
		name    string
		samples []nat.Sample
		host    string // empty for no majority
		size    int
	}{
		{"none", nil, "", 0},
		{"all", []nat.Sample{sample("1.0.0.1:1", "9.0.0.1:7"), sample("1.0.0.2:1", "9.0.0.1:7")}, "9.0.0.1", 2},
		{"one of two", []nat.Sample{sample("1.0.0.1:1", "9.0.0.1:7"), sample("1.0.0.2:1", "9.0.0.2:7")}, "", 0},
		{"two of three", []nat.Sample{
			sample("1.0.0.1:1", "9.0.0.1:7"), sample("1.0.0.2:1", "9.0.0.2:7"), sample("1.0.0.3:1", "9.0.0.1:7"),
		}, "9.0.0.1", 2},
		{"three of five", []nat.Sample{
			sample("1.0.0.1:1", "9.0.0.1:7"), sample("1.0.0.2:1", "9.0.0.2:7"), sample("1.0.0.3:1", "9.0.0.1:7"),
			sample("1.0.0.4:1", "9.0.0.2:7"), sample("1.0.0.5:1", "9.0.0.1:7"),
		}, "", 0},
		{"three of five, for an interface", []nat.Sample{
			sample("1.0.0.1:1", "8.0.0.1:7"), sample("1.0.0.2:1", "9.0.0.2:7"), sample("1.0.0.3:1", "8.0.0.1:7"),
			sample("1.0.0.4:1", "9.0.0.3:7"), sample("1.0.0.5:1", "8.0.0.1:7"),
		}, "8.0.0.1", 3},
		{"half, for an interface", []nat.Sample{sample("1.0.0.1:1", "8.0.0.1:7"), sample("1.0.0.2:1", "9.0.0.1:7")}, "", 0},
		{"three of four", []nat.Sample{
			sample("1.0.0.1:1", "9.0.0.1:7"), sample("1.0.0.2:1", "9.0.0.2:7"), sample("1.0.0.3:1", "9.0.0.1:7"), sample("1.0.0.4:1", "9.0.0.1:7"),
		}, "9.0.0.1", 3},
		{"one machine has one voice, by however many ports", []nat.Sample{
			sample("1.0.0.1:1", "9.0.0.1:7"), sample("1.0.0.1:2", "9.0.0.1:7"), sample("1.0.0.1:3", "9.0.0.1:7"),
			sample("1.0.0.1:4", "9.0.0.1:7"), sample("1.0.0.2:1", "9.0.0.2:7"),
		}, "", 0},
		{"a machine with two answers has no voice", []nat.Sample{
			sample("1.0.0.1:1", "9.0.0.1:7"), sample("1.0.0.1:2", "9.0.0.2:7"), sample("1.0.0.2:1", "9.0.0.1:7"),
			sample("1.0.0.3:1", "9.0.0.1:7"),
		}, "9.0.0.1", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := mostAgree(c.samples, []netip.Addr{netip.MustParseAddr("8.0.0.1")}, 0)
			host := ""
			if got.Host().IsValid() {
				host = got.Host().String()
			}
			if host != c.host || got.Len() != c.size {
				t.Errorf("%d samples for %q, want %d for %q", got.Len(), host, c.size, c.host)
			}
		})
	}
}

func TestMostAgreeCountsWhoHasYetToAnswerAsOthers(t *testing.T) {
	seen := netip.MustParseAddrPort("9.0.0.1:7")
	var samples []nat.Sample
	for i := range byte(9) {
		samples = append(samples, nat.Sample{Seen: seen, From: netip.AddrPortFrom(netip.AddrFrom4([4]byte{1, 0, 0, i}), 1)})
	}
	for unanswered, want := range map[int]int{0: 9, 3: 9, 4: 0} {
		if got := mostAgree(samples, nil, unanswered).Len(); got != want {
			t.Errorf("9 of %d: %d samples, want %d", 9+unanswered, got, want)
		}
	}
	if got := mostAgree(samples[:2], nil, 1).Len(); got != 2 {
		t.Errorf("2 of 3: %d samples", got)
	}
}
