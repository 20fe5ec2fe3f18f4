package web

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// Each counter of the transport has a name on the page.
func TestCountersOfTheNodeHaveWords(t *testing.T) {
	files, err := filepath.Glob("../dht/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	named := map[string]bool{}
	for _, group := range counterWords {
		for _, w := range group.words {
			if named[w.name] || w.words == "" {
				t.Errorf("%s is named twice, or has no words", w.name)
			}
			named[w.name] = true
		}
	}
	used := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`Name: +"([a-z_]+)",\s*Help:`).FindAllStringSubmatch(string(source), -1) {
			if used[m[1]] = true; !named[m[1]] {
				t.Errorf("%s: %s has no words in counterWords", file, m[1])
			}
		}
	}
	for name := range named {
		if !used[name] {
			t.Errorf("the transport has no counter %s", name)
		}
	}
}

func TestCountersAreGroupedAndNoneIsLeftOut(t *testing.T) {
	node := []ports.Counter{
		{Name: "path_takeovers", Value: 1}, {Name: "dht_requests", Value: 2}, {Name: "new_one", Help: "Something new.", Value: 3},
		{Name: "holepunch_results", Value: 4, Labels: []ports.Label{{Name: "kind", Value: "random"}, {Name: "result", Value: "lost"}}},
		{Name: "handshakes_refused", Value: 5, Labels: []ports.Label{{Name: "reason", Value: "a_new_one"}}},
	}
	stats := domain.ScraperStats{
		Scrapes: 11, ScrapesFailed: map[string]uint64{domain.ReasonTimeout: 12}, Registrations: 13, Rejected: map[string]uint64{domain.ReasonPinned: 14},
		Takeovers: 15, SharedIdentities: 16, Expired: 17, Left: 18, Forgotten: 19, Dials: 20, StoreFailures: 21, StoreDamages: 22, TargetsFailures: 23,
		Paths:             domain.DialStats{FirstConnected: 24, FirstFailed: 25, SecondDirect: 26, SecondRelayed: 27, SecondFailed: 28},
		ConnectionsDenied: map[string]uint64{domain.LimitKey: 29},
	}
	got := map[string]string{}
	var names []string
	zeros := 0
	for _, s := range sectionsOf(stats, node) {
		names = append(names, s.Name)
		for _, f := range s.Facts {
			got[f.Value] = s.Name + "/" + f.Name
		}
		for _, f := range s.Zeros {
			if f.Value != "0" {
				t.Errorf("%s is folded and %s", f.Name, f.Value)
			}
			zeros++
		}
	}
	if want := []string{"Scrapes", "Dials to clients", "Registrations", "DHT", "Hole punching", "Relays", "Limits", otherCounters}; !slices.Equal(names, want) {
		t.Errorf("sections %q, want %q", names, want)
	}
	for value, want := range map[string]string{
		"1": "Relays/Took over from a bad direct path", "2": "DHT/Requests sent", "3": "Other/Something new", "4": "Hole punching/Ended: random ports, failed",
		"5": "Limits/Handshakes dropped: a_new_one", "11": "Scrapes/Requested", "12": "Scrapes/Failed: no answer in time", "13": "Registrations/Accepted",
		"14": "Registrations/Rejected: alias belongs to another key", "16": "Registrations/Two running clients with one key", "20": "Dials to clients/All",
		"29": "Limits/Registrations cut off: connections of one key",
	} {
		if got[value] != want {
			t.Errorf("%s is %q, want %q", value, got[value], want)
		}
	}
	if want := len(domain.FailureReasons()) - 1 + len(domain.RejectionReasons()) - 1 + len(domain.Limits()) - 1; zeros != want {
		t.Errorf("%d counters are zero, want %d", zeros, want)
	}
	if len(got) != 5+19 {
		t.Errorf("%d of the counters are shown: %v", len(got), got)
	}
	for _, reason := range domain.FailureReasons() {
		if failureWords(reason) == reason {
			t.Errorf("no words for %s", reason)
		}
	}
}
