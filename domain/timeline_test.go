package domain

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"
	"unsafe"
)

func TestTimelineCountsByTime(t *testing.T) {
	var line Timeline
	if got := line.Entries(); got != nil {
		t.Errorf("an empty one has %v", got)
	}
	start := time.Unix(1_700_000_100, 0).Truncate(TimelineStep)
	at := func(steps int, plus time.Duration) time.Time {
		return start.Add(time.Duration(steps)*TimelineStep + plus)
	}
	scrape := func(when time.Time, took time.Duration, bytes int, err error) {
		line.AddScrape(Scrape{At: when, Took: took, Bytes: bytes, Err: err})
	}
	scrape(at(0, 0), 30*time.Millisecond, 100, nil)
	scrape(at(0, time.Minute), 20*time.Millisecond, 90, nil)
	scrape(at(0, TimelineStep-1), 9*time.Second, 0, errors.New("late"))
	scrape(at(2, 0), 100*time.Microsecond, 80, nil)
	line.AddRegistration(at(3, time.Second))
	want := []TimelineEntry{
		{From: at(0, 0), Scrapes: 3, Failed: 1, Longest: 30 * time.Millisecond, Bytes: 90},
		{From: at(2, 0), Scrapes: 1, Longest: time.Millisecond, Bytes: 80},
		{From: at(3, 0), Registrations: 1},
	}
	same := func(a, b TimelineEntry) bool { f := a.From; a.From = b.From; return f.Equal(b.From) && a == b }
	if got := line.Entries(); !slices.EqualFunc(got, want, same) {
		t.Errorf("%+v", got)
	}
	// The wall clock was set back a little: the entry is at its time.
	scrape(at(1, 0), time.Millisecond, 70, nil)
	if got := line.Entries(); len(got) != 4 || !got[1].From.Equal(at(1, 0)) {
		t.Errorf("%+v", got)
	}
	// Steps that are too old are left out, one by one.
	scrape(at(timelineSteps, 0), time.Millisecond, 60, nil)
	if got := line.Entries(); len(got) != 4 || !got[0].From.Equal(at(1, 0)) {
		t.Errorf("%+v", got)
	}
	for name, when := range map[string]time.Time{"far later": at(5*timelineSteps, 0), "far earlier": at(-timelineSteps, 0)} {
		line.AddRegistration(when)
		if got := line.Entries(); len(got) != 1 || !got[0].From.Equal(when) || got[0].Registrations != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestTimelineKeepsItsSize(t *testing.T) {
	if size := unsafe.Sizeof(Timeline{}); size > 832 {
		t.Errorf("a timeline has %d bytes", size)
	}
	var line Timeline
	at := time.Unix(1_700_000_000, 0)
	for range 100_000 {
		line.AddScrape(Scrape{At: at, Took: time.Hour, Bytes: math.MaxInt})
		line.AddScrape(Scrape{At: at, Err: ErrTimeout})
		line.AddRegistration(at)
	}
	got := line.Entries()
	if len(got) != 1 || got[0].Scrapes != 65535 || got[0].Failed != 65535 || got[0].Registrations != 255 || uint64(got[0].Bytes) != min(math.MaxUint32, math.MaxInt) || got[0].Longest != 65535*time.Millisecond {
		t.Errorf("%+v", got)
	}
}

func TestPathHistoryHasTheLastChanges(t *testing.T) {
	var h PathHistory
	start := time.Unix(1_700_000_000, 0)
	add := func(second int, p Path) { h.Add(start.Add(time.Duration(second)*time.Second), p) }
	add(0, PathRelay)
	add(1, PathRelay)
	add(2, PathUnknown)
	add(2, PathPunched) // in the same second
	add(5, PathUnknown)
	add(5, PathPunched) // as before
	add(9, PathUnknown)
	want := []PathSpan{{start, PathRelay}, {start.Add(2 * time.Second), PathPunched}, {start.Add(9 * time.Second), PathUnknown}}
	if got := h.Spans(); !slices.EqualFunc(got, want, func(a, b PathSpan) bool { return a.From.Equal(b.From) && a.Path == b.Path }) {
		t.Errorf("%v", got)
	}
	for i := range 1000 {
		add(10+2*i, PathDirect)
		add(11+2*i, PathUnknown)
	}
	if got := h.Spans(); len(got) != historyPaths || !got[len(got)-1].From.Equal(start.Add(2009*time.Second)) {
		t.Errorf("%d changes, the last %v", len(got), got[len(got)-1])
	}
	if cap(h.changes) != historyPaths {
		t.Errorf("the history has grown to %d", cap(h.changes))
	}
}
