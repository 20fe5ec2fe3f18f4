package web

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

func TestPictureDrawsTheLastHours(t *testing.T) {
	if pictureOf(domain.AliasDetail{}, time.Now()) != nil {
		t.Error("a picture of nothing")
	}
	now := time.Unix(1_700_000_000, 0).Truncate(time.Hour).Add(58 * time.Minute)
	step := func(minutes int) time.Time { return now.Truncate(time.Hour).Add(time.Duration(minutes) * time.Minute) }
	d := domain.AliasDetail{
		AliasStatus: domain.AliasStatus{Entry: domain.Entry{Registered: step(2), Renewed: step(46)}},
		Timeline: []domain.TimelineEntry{
			{From: step(5), Scrapes: 20, Longest: 40 * time.Millisecond, Bytes: 40_000},
			{From: step(10), Scrapes: 20, Failed: 1, Longest: 90 * time.Millisecond, Bytes: 45_000},
			{From: step(20), Scrapes: 3, Failed: 3, Registrations: 1},
			{From: step(45), Scrapes: 1, Longest: 10 * time.Millisecond, Bytes: 20_000, Registrations: 2},
		},
		Paths: []domain.PathSpan{{From: step(3), Path: domain.PathLAN}, {From: step(20), Path: domain.PathUnknown}, {From: step(30), Path: domain.PathRelay}},
	}
	got := *pictureOf(d, now)
	if got.Axis.Title != "Last hour" || !reflect.DeepEqual(got.Axis.Words, []string{"1 h ago", "30 min", "now"}) || got.Axis.Grid != "M720 0V60" {
		t.Errorf("axis %+v", got.Axis)
	}
	got.Axis = axis{}
	for i := range got.Lanes {
		got.Lanes[i].took = 0
	}
	want := picture{
		Took: plot{
			Line: "M120 38H240V12H360M1080 53H1200", Area: "M120 58V38H240V12H360V58H120ZM1080 58V53H1200V58H1080Z",
			Top: "100 ms", Text: "44 scrapes; the longest that succeeded took 90 ms.",
		},
		Size: plot{
			Line: "M120 17H240V12H360M1080 38H1200", Area: "M120 58V17H240V12H360V58H120ZM1080 58V38H1200V58H1080Z",
			Top: "50 kB", Text: "20.0 kB at last; 20.0 kB to 45.0 kB.",
		},
		Fails: "M300 0V60M540 0V60", Failed: "4 failed",
		Lanes: []lane{
			{Word: "LAN", Class: "lan", Rects: []laneRect{{72, 408}}}, {Word: "Relayed", Class: "relayed", Rects: []laneRect{{720, 672}}},
			{Word: "None", Class: "none", Rects: []laneRect{{480, 240}}},
		},
		Connected: "LAN for 17 min, relayed for 28 min, not connected for 10 min.",
		Marks:     "M540 0V8M1140 0V8M60 0V8", Registered: "Registered 4 times.",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v,\nwant %+v", got, want)
	}
}

func TestPictureIsAsLongAsNeeded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for before, want := range map[time.Duration]string{
		0: "Last hour", 54 * time.Minute: "Last hour", 61 * time.Minute: "Last 2 hours", 3 * time.Hour: "Last 6 hours", 50 * time.Hour: "Last 6 hours",
	} {
		got := pictureOf(domain.AliasDetail{Paths: []domain.PathSpan{{From: now.Add(-before), Path: domain.PathDirect}}}, now)
		if got.Axis.Title != want {
			t.Errorf("%s: %s, want %s", before, got.Axis.Title, want)
		}
		if before > 50*time.Hour && got.Connected != "Direct for 6 h." {
			t.Errorf("%s", got.Connected)
		}
	}
	// Times that a wall clock has moved are left out.
	odd := domain.AliasDetail{
		Timeline: []domain.TimelineEntry{{From: now.Add(-50 * time.Hour), Scrapes: 1}, {From: now.Add(5 * time.Hour), Scrapes: 1, Failed: 1}},
		Paths:    []domain.PathSpan{{From: now.Add(time.Hour), Path: domain.PathDirect}},
	}
	got := pictureOf(odd, now)
	if got.Took.Line != "" || got.Fails != "" || len(got.Lanes) != 0 || got.Took.Text != "No scrapes." || got.Connected != "No connection yet." {
		t.Errorf("%+v", got)
	}
}

func TestScalesAreRound(t *testing.T) {
	for n, want := range map[int64]int64{1: 1, 2: 2, 3: 5, 5: 5, 6: 10, 51: 100, 499: 500, 1_000_001: 2_000_000, 1 << 40: 2_000_000_000_000} {
		if got := roundUp(n); got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
	if strings.Contains(pictureOf(domain.AliasDetail{Timeline: []domain.TimelineEntry{{From: time.Now(), Scrapes: 1}}}, time.Now()).Took.Line, "-") {
		t.Error("a scrape that took no time is below the axis")
	}
}
