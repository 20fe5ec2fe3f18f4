package app_test

import (
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

func TestDetailsHaveTheTimelineAndThePaths(t *testing.T) {
	w, _, _ := takenOver(t)
	detail := func() domain.AliasDetail { d, _ := w.scraper.Alias("web"); return d }
	if d := detail(); len(d.Timeline) != 0 {
		t.Errorf("a timeline before the first scrape: %+v", d.Timeline)
	}
	for range 3 {
		if _, _, err := w.scrape("web", 0); err != nil {
			t.Fatal(err)
		}
		w.loop.Advance(domain.TimelineStep)
	}
	w.loop.Advance(time.Hour) // the client registers once an hour
	d := detail()
	scrapes, registrations := 0, 0
	for _, e := range d.Timeline {
		scrapes += e.Scrapes
		registrations += e.Registrations
		if e.Failed != 0 || e.Scrapes > 0 && e.Bytes == 0 || e.From.Before(noon) {
			t.Errorf("%+v", e)
		}
	}
	if got := w.scraper.Scrapes("web"); !slices.Equal(got, d.Scrapes) || len(got) != 3 || w.scraper.Scrapes("unknown") != nil {
		t.Errorf("scrapes %+v, in the details %+v", got, d.Scrapes)
	}
	if scrapes != 3 || registrations != 1 {
		t.Errorf("%d scrapes, %d registrations: %+v", scrapes, registrations, d.Timeline)
	}
	var paths []domain.Path
	for _, p := range d.Paths {
		paths = append(paths, p.Path)
	}
	if len(paths) != 3 || paths[0] != domain.PathDirect || paths[1] != domain.PathRelay || paths[2] != domain.PathDirect {
		t.Errorf("paths %v", paths)
	}
	if at := d.Paths[1].From; at.Before(noon.Add(20*time.Minute)) || at.After(noon.Add(21*time.Minute)) {
		t.Errorf("the relay took over at %v", at)
	}
	if d.Detour != (domain.Detour{}) {
		t.Errorf("a detour on a direct path: %+v", d.Detour)
	}
	w.loop.Turn(func() { w.net.TakePath(d.Key, domain.PathRelay) })
	if got := detail().Detour.Reason; got != domain.DetourTakeover {
		t.Errorf("the reason of the relay is %d", got)
	}
	w.loop.Turn(func() { w.net.TakePath(d.Key, domain.PathDirect) })
	w.loop.Advance(time.Second)
	// Without a connection there is no path.
	w.loop.Turn(func() { w.net.Break(d.Key) })
	w.loop.Advance(time.Second)
	d = detail()
	if broken := d.Paths[len(d.Paths)-1]; broken.Path != domain.PathUnknown || d.Detour != (domain.Detour{}) {
		t.Errorf("%+v", d.Paths)
	}
}
