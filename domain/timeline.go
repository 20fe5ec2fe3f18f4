package domain

import (
	"math"
	"time"
)

const (
	// TimelineStep is the time that one element of a timeline covers.
	TimelineStep = 5 * time.Minute
	// TimelineSpan is the time that all elements of a timeline cover.
	TimelineSpan = timelineSteps * TimelineStep

	// timelineSteps are six hours, in 800 bytes for each alias that is scraped.
	timelineSteps = 72
)

// Timeline has the scrapes and registrations of an alias in the last hours, in steps of a fixed time. Its size is constant.
type Timeline struct {
	newest     int64 // number of the newest step since 1970; 0 for an empty timeline
	scrapes    [timelineSteps]uint16
	failed     [timelineSteps]uint16
	longest    [timelineSteps]uint16 // in milliseconds, rounded up
	size       [timelineSteps]uint32
	registered [timelineSteps]uint8
}

// TimelineEntry counts the events in one step of a timeline. Counts that are too large are those at which counting ended.
type TimelineEntry struct {
	From          time.Time // the start of the step
	Scrapes       int       // ended ones, by the time at which they began
	Failed        int       // of them
	Longest       time.Duration
	Bytes         int // size of the last one; like Longest of those that succeeded, and zero for none
	Registrations int
}

// AddScrape counts a scrape.
func (t *Timeline) AddScrape(s Scrape) {
	i := t.at(s.At)
	count(&t.scrapes[i])
	if s.Err != nil {
		count(&t.failed[i])
		return
	}
	took := (s.Took + time.Millisecond - 1) / time.Millisecond
	t.longest[i] = max(t.longest[i], uint16(min(max(took, 0), math.MaxUint16)))
	t.size[i] = uint32(min(max(int64(s.Bytes), 0), math.MaxUint32))
}

// AddRegistration counts a registration.
func (t *Timeline) AddRegistration(at time.Time) {
	if i := t.at(at); t.registered[i] < math.MaxUint8 {
		t.registered[i]++
	}
}

// Entries lists the steps in which something happened, oldest first.
func (t *Timeline) Entries() []TimelineEntry {
	var all []TimelineEntry
	for n := t.newest - timelineSteps + 1; n <= t.newest; n++ {
		i := place(n)
		if t.scrapes[i] == 0 && t.registered[i] == 0 {
			continue
		}
		all = append(all, TimelineEntry{
			From: time.Unix(n*int64(TimelineStep/time.Second), 0), Scrapes: int(t.scrapes[i]), Failed: int(t.failed[i]),
			Longest: time.Duration(t.longest[i]) * time.Millisecond, Bytes: int(t.size[i]), Registrations: int(t.registered[i]),
		})
	}
	return all
}

// at returns the place of a time, and removes the steps that are too old by then. A time before all steps comes from a wall clock that
// was set back, so what has been counted is at wrong times, and is removed.
func (t *Timeline) at(when time.Time) int {
	n := when.Unix() / int64(TimelineStep/time.Second)
	if n > t.newest+timelineSteps || n <= t.newest-timelineSteps {
		*t = Timeline{newest: n}
	}
	for t.newest < n {
		t.newest++
		t.clear(place(t.newest))
	}
	return place(n)
}

func (t *Timeline) clear(i int) {
	t.scrapes[i], t.failed[i], t.longest[i], t.size[i], t.registered[i] = 0, 0, 0, 0, 0
}

// place returns the place of a step in the arrays.
func place(n int64) int { return int((n%timelineSteps + timelineSteps) % timelineSteps) }

func count(n *uint16) {
	if *n < math.MaxUint16 {
		*n++
	}
}
