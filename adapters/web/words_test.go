package web

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

func TestConditionTellsScrapeAndConnectionTogether(t *testing.T) {
	at := time.Unix(1, 0)
	for _, c := range []struct {
		name   string
		status domain.AliasStatus
		want   condition
	}{
		{"connected and scraped", domain.AliasStatus{SessionUp: true, Scrape: domain.Scrape{At: at}}, up},
		{"the last scrape failed", domain.AliasStatus{SessionUp: true, Scrape: domain.Scrape{At: at, Err: domain.ErrTimeout}}, down},
		{"the connection broke after a good scrape", domain.AliasStatus{Scrape: domain.Scrape{At: at}, Why: errors.New("x")}, down},
		{"never reached", domain.AliasStatus{Why: errors.New("x")}, down},
		{"connected, not scraped yet", domain.AliasStatus{SessionUp: true}, waiting},
		{"connecting", domain.AliasStatus{}, waiting},
		{"expired", domain.AliasStatus{SessionUp: true, Overdue: true, Scrape: domain.Scrape{At: at}}, overdue},
	} {
		if got := conditionOf(c.status); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestErrorsAreSaidInWords(t *testing.T) {
	silent := &ports.ConnectionError{Err: errors.New("PEER_CONNECTION_FAILED: raw"), Cause: domain.CausePeerSilentAtFirst}
	if got, want := phrase("a", fmt.Errorf("%w: %w", domain.ErrNotConnected, silent), time.Second), "the client does not answer; is it running? [PEER_CONNECTION_FAILED] (client a, 1s)"; got != want {
		t.Errorf("status line %q, want %q", got, want)
	}
	for want, err := range map[string]error{
		"": nil,
		"The client could not collect its metrics: Failed (uid 1)":                                                         &domain.RemoteError{Message: "Failed\n(uid 1)"},
		"No connection to the client yet":                                                                                  domain.ErrNotConnected,
		"No connection to the client: peer not found":                                                                      fmt.Errorf("%w: %w", domain.ErrNotConnected, errors.New("peer not found")),
		"No answer in time: waited 9.5 s for the answer":                                                                   &domain.TimeoutError{Waiting: "the answer", After: 9500 * time.Millisecond},
		"The client does not answer; is it running? (PEER_CONNECTION_FAILED: raw)":                                         fmt.Errorf("%w: %w", domain.ErrNotConnected, silent),
		"No more packets arrive from the client; has it lost its network, or was it killed? (PEER_CONNECTION_FAILED: raw)": &ports.ConnectionError{Err: silent.Err, Cause: domain.CausePeerSilent},
		"The connection was closed":                                                                                        domain.ErrClosed,
		"Something else":                                                                                                   errors.New("something else"),
		"No connection to the client: timed out after 45s waiting for the connection":                                      fmt.Errorf("%w: %w", domain.ErrNotConnected, &domain.TimeoutError{Waiting: "the connection", After: 45 * time.Second}),
	} {
		if got := errorWords(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	for _, reason := range domain.RejectionReasons() {
		if reasonWords(reason) == reason {
			t.Errorf("no words for %s", reason)
		}
	}
	for _, limit := range domain.Limits() {
		if limitWords(limit) == "" {
			t.Errorf("no words for %s", limit)
		}
	}
	for _, p := range domain.Paths() {
		if word, meaning := pathWords(p); word == "" || meaning == "" {
			t.Errorf("no words for %s", p)
		}
	}
}

func TestTimesAndSizesAreForPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "under 1 ms", 38 * time.Millisecond: "38 ms", 2500 * time.Millisecond: "2.5 s", 45 * time.Second: "45 s", time.Minute: "1 min",
		61 * time.Second: "1 min 1 s", 2*time.Hour + 41*time.Minute + 9*time.Second: "2 h 41 min", 50 * time.Hour: "2 d 2 h", -time.Hour: "1 h",
	} {
		if got := span(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for want, at := range map[string]time.Time{
		"now": now, "3 s ago": now.Add(-3500 * time.Millisecond), "in 2 h 41 min": now.Add(2*time.Hour + 41*time.Minute), "1 d ago": now.Add(-24 * time.Hour),
	} {
		if got := momentAt(at, now).Words; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if !momentAt(time.Time{}, now).Zero {
		t.Error("never is a time")
	}
	for n, want := range map[int]string{0: "0 B", 999: "999 B", 48_211: "48.2 kB", 3_500_000: "3.5 MB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestViewIsReadFromTheURLAndWrittenBack(t *testing.T) {
	v := viewOf(map[string][]string{"state": {"down"}, "q": {" a b "}, "sort": {"-scrape"}, "page": {"3"}})
	if got := v.link("/p", func(*view) {}); got != "/p/?q=a+b&sort=-scrape&state=down" {
		t.Errorf("%s", got)
	}
	for name, bad := range map[string]map[string][]string{
		"state": {"state": {"nonsense"}}, "sort": {"sort": {"nonsense"}}, "page": {"page": {"-1"}}, "query": {"q": {strings.Repeat(" ", 5000)}},
	} {
		if got := viewOf(bad).link("", func(*view) {}); got != "/" {
			t.Errorf("a bad %s gives %s", name, got)
		}
	}
}

func TestReasonsOfClientsAreCut(t *testing.T) {
	for _, n := range []int{maxReason, maxReason + 1} {
		if got := oneLine(strings.Repeat("x", n)); len(got) != maxReason {
			t.Errorf("%d of %d bytes are shown", len(got), n)
		}
	}
}

func TestPageHasTheOwnAddressesOnceThereAreAny(t *testing.T) {
	for want, addrs := range map[string][]netip.AddrPort{
		"":                             nil,
		"192.0.2.1:49737, 192.0.2.2:1": {netip.MustParseAddrPort("192.0.2.1:49737"), netip.MustParseAddrPort("192.0.2.2:1")},
	} {
		shown := ""
		for _, f := range (&Handler{}).nodeFacts(ports.NodeStatus{Addrs: addrs}, time.Time{}) {
			if f.Name == "Own addresses" {
				shown = f.Value
			}
		}
		if want != shown {
			t.Errorf("shows %q, want %q", shown, want)
		}
	}
}

// Expired aliases are a choice only while there are any, or while they are selected.
func TestChoicesOfTheAliasList(t *testing.T) {
	for _, tc := range []struct {
		name   string
		state  condition
		counts map[condition]int
		want   string
	}{
		{"none is overdue", "", map[condition]int{up: 2}, "all up down new"},
		{"one is overdue", "", map[condition]int{up: 1, overdue: 1}, "all up down new expired"},
		{"none is overdue any more", overdue, map[condition]int{up: 2}, "all up down new expired"},
	} {
		var ids []string
		for _, c := range (&Handler{}).choices(view{state: tc.state}, 2, tc.counts) {
			ids = append(ids, c.ID)
			if chosen := c.ID == string(tc.state) || c.ID == "all" && tc.state == ""; c.Chosen != chosen {
				t.Errorf("%s: %s is chosen: %v", tc.name, c.ID, c.Chosen)
			}
		}
		if got := strings.Join(ids, " "); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}
