package domain

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// Repetitions are one entry, with the times of the first and the last one. What differs in any part is another entry, and so is what
// comes again after another one.
func TestHistoriesMergeRepetitions(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	a, b := Peer{Key: PublicKey{1}}, Peer{Key: PublicKey{2}}
	late, gone := errors.New("late"), errors.New("gone")
	t.Run("sessions", func(t *testing.T) {
		var h SessionHistory
		for i, c := range []SessionChange{
			{State: SessionWaiting, Err: late}, {State: SessionWaiting, Err: errors.New("late")}, {State: SessionWaiting, Err: late},
			{State: SessionWaiting, Err: gone}, {State: SessionWaiting, Err: late}, {State: SessionOpen, Err: late},
			{State: SessionOpen, Peer: a}, {State: SessionOpen, Peer: b}, {State: SessionOpen, Peer: b},
		} {
			c.First = at(i)
			h.Add(c)
		}
		var got []string
		for _, c := range h.Changes() {
			got = append(got, fmt.Sprint(c.State, " ", c.First.Unix(), "-", c.Last.Unix(), " ", c.Count, " ", c.Peer.Key[0], " ", c.Err))
		}
		if want := []string{
			"waiting 0-2 3 0 late", "waiting 3-3 1 0 gone", "waiting 4-4 1 0 late", "open 5-5 1 0 late", "open 6-6 1 1 <nil>", "open 7-8 2 2 <nil>",
		}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
	t.Run("refusals", func(t *testing.T) {
		var h RefusalHistory
		for i, r := range []Refusal{
			{Peer: a, Alias: "x", Reason: "pin"}, {Peer: a, Alias: "x", Reason: "pin"}, {Peer: b, Alias: "x", Reason: "pin"},
			{Peer: b, Alias: "y", Reason: "pin"}, {Peer: b, Alias: "y", Reason: "secret"}, {Peer: a, Alias: "x", Reason: "pin"},
		} {
			r.First = at(i)
			h.Add(r)
		}
		var got []string
		for _, r := range h.Refusals() {
			got = append(got, fmt.Sprint(r.First.Unix(), "-", r.Last.Unix(), " ", r.Count, " ", r.Peer.Key[0], " ", r.Alias, " ", r.Reason))
		}
		if want := []string{"0-1 2 1 x pin", "2-2 1 2 x pin", "3-3 1 2 y pin", "4-4 1 2 y secret", "5-5 1 1 x pin"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// Beyond their limits, histories drop the oldest entry.
func TestHistoriesKeepTheLastEntries(t *testing.T) {
	const more = 5
	var sessions SessionHistory
	var refusals RefusalHistory
	var scrapes ScrapeHistory
	for i := range historyRefusals + more {
		sessions.Add(SessionChange{State: SessionWaiting, Err: fmt.Errorf("failure %d", i)})
		refusals.Add(Refusal{Reason: fmt.Sprint(i)})
		scrapes.Add(Scrape{Bytes: i})
	}
	const last = historyRefusals + more - 1
	if c := sessions.Changes(); len(c) != historyLines || c[len(c)-1].Err.Error() != fmt.Sprint("failure ", last) || c[0].Err.Error() != fmt.Sprint("failure ", last-historyLines+1) {
		t.Errorf("%d changes: %v to %v", len(c), c[0], c[len(c)-1])
	}
	if r := refusals.Refusals(); len(r) != historyRefusals || r[0].Reason != fmt.Sprint(more) || r[len(r)-1].Reason != fmt.Sprint(last) {
		t.Errorf("%d refusals: %v to %v", len(r), r[0], r[len(r)-1])
	}
	if s := scrapes.Scrapes(); len(s) != historyScrapes || s[0].Bytes != last-historyScrapes+1 || scrapes.Last().Bytes != last {
		t.Errorf("%d scrapes: %v to %v", len(s), s[0], scrapes.Last())
	}
}
