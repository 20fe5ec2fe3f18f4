package web

import (
	"fmt"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// The picture of an alias's last hours: the times and sizes of its scrapes, the paths of its connections and its registrations, on one
// axis of time. Words and axes are text of the page, so that they keep their size on a phone.

const (
	// plotWidth and plotHeight are the units of a plot, plotFloor and plotRoom where its values are drawn, and laneHeight that of a lane.
	plotWidth  = 1440
	plotHeight = 60
	plotFloor  = 58
	plotRoom   = 52
	laneHeight = 8
)

// axis is the time that is shown, and its words from left to right.
type axis struct {
	start, end time.Time
	Title      string
	Grid       string // of a path element, for plots and lanes
	Words      []string
}

// spans are the lengths of an axis, with the number of their parts.
var spans = []struct {
	length time.Duration
	parts  int
	title  string
}{{time.Hour, 2, "Last hour"}, {2 * time.Hour, 2, "Last 2 hours"}, {domain.TimelineSpan, 3, "Last 6 hours"}}

// axisFrom returns the shortest axis that has a time, or the longest one. It ends with a step of the timeline, so that it stays the
// same for minutes.
func axisFrom(first, now time.Time) (a axis) {
	a.end = now.Truncate(domain.TimelineStep).Add(domain.TimelineStep)
	for _, s := range spans {
		a.start, a.Title, a.Words, a.Grid = a.end.Add(-s.length), s.title, nil, ""
		for i := range s.parts {
			word := span(s.length - time.Duration(i)*s.length/time.Duration(s.parts))
			if i == 0 {
				word += " ago"
			}
			a.Words = append(a.Words, word)
			if i > 0 {
				a.Grid += fmt.Sprintf("M%d 0V%d", i*plotWidth/s.parts, plotHeight)
			}
		}
		if !first.Before(a.start) {
			break
		}
	}
	a.Words = append(a.Words, "now")
	return a
}

// x returns the place of a time on the axis.
func (a axis) x(t time.Time) int {
	return int(min(max(t.Sub(a.start), 0), a.end.Sub(a.start)) * plotWidth / a.end.Sub(a.start))
}

// plot draws one value over time.
type plot struct {
	Line, Area string // of path elements
	Top        string // the value at the upper edge
	Text       string // what is drawn
}

// lane draws when one kind of path carried the connection.
type lane struct {
	Word, Class string
	Rects       []laneRect
	took        time.Duration
}

type laneRect struct{ X, Width int }

// picture is an alias's last hours.
type picture struct {
	Axis       axis
	Took, Size plot
	Fails      string // of a path element
	Failed     string // number of failed scrapes; empty for none
	Lanes      []lane
	Connected  string // what the lanes show
	Marks      string // registrations, of a path element
	Registered string // what the marks show
}

// pictureOf returns nil where there is nothing to draw.
func pictureOf(d domain.AliasDetail, now time.Time) *picture {
	if len(d.Timeline) == 0 && len(d.Paths) == 0 {
		return nil
	}
	first := now
	if len(d.Timeline) > 0 {
		first = d.Timeline[0].From
	}
	if len(d.Paths) > 0 && d.Paths[0].From.Before(first) {
		first = d.Paths[0].From
	}
	p := &picture{Axis: axisFrom(first, now)}
	var shown []domain.TimelineEntry
	for _, e := range d.Timeline {
		if !e.From.Before(p.Axis.start) && e.From.Before(p.Axis.end) {
			shown = append(shown, e)
		}
	}
	p.drawScrapes(shown)
	p.drawLanes(d.Paths, now)
	p.drawRegistrations(d, shown)
	return p
}

// drawScrapes draws times, sizes and failures.
func (p *picture) drawScrapes(entries []domain.TimelineEntry) {
	var good []domain.TimelineEntry
	scrapes, failed := 0, 0
	var longest time.Duration
	low, high := 0, 0
	for _, e := range entries {
		scrapes += e.Scrapes
		failed += e.Failed
		if e.Failed > 0 {
			p.Fails += fmt.Sprintf("M%d 0V%d", p.Axis.x(e.From.Add(domain.TimelineStep/2)), plotHeight)
		}
		if e.Scrapes == e.Failed {
			continue
		}
		if good = append(good, e); len(good) == 1 || e.Bytes < low {
			low = e.Bytes
		}
		longest, high = max(longest, e.Longest), max(high, e.Bytes)
	}
	p.Took = p.plotOf(good, int64(max(longest, time.Millisecond)), func(e domain.TimelineEntry) int64 { return int64(e.Longest) }, func(n int64) string { return span(time.Duration(n)) })
	p.Size = p.plotOf(good, int64(max(high, 1)), func(e domain.TimelineEntry) int64 { return int64(e.Bytes) }, func(n int64) string { return size(int(n)) })
	switch {
	case scrapes == 0:
		p.Took.Text, p.Size.Text = "No scrapes.", "No scrapes."
	case len(good) == 0:
		p.Took.Text, p.Size.Text = counted(scrapes, "scrape")+".", "No scrape succeeded."
	default:
		p.Took.Text = fmt.Sprintf("%s; the longest that succeeded took %s.", counted(scrapes, "scrape"), span(longest))
		p.Size.Text = fmt.Sprintf("%s at last; %s to %s.", size(good[len(good)-1].Bytes), size(low), size(high))
	}
	if failed > 0 {
		p.Failed = fmt.Sprintf("%d failed", failed)
	}
}

// plotOf draws a value as a line with steps, below which the area is filled, with gaps where there is none.
func (p *picture) plotOf(entries []domain.TimelineEntry, high int64, of func(domain.TimelineEntry) int64, words func(int64) string) plot {
	top := roundUp(high)
	var line, area strings.Builder
	begin, end := -1, -1 // of the current area
	for _, e := range entries {
		from, to := p.Axis.x(e.From), p.Axis.x(e.From.Add(domain.TimelineStep))
		y := plotFloor - int(of(e)*plotRoom/top)
		if from != end {
			closeArea(&area, begin, end)
			fmt.Fprintf(&line, "M%d %d", from, y)
			fmt.Fprintf(&area, "M%d %dV%d", from, plotFloor, y)
			begin = from
		} else {
			fmt.Fprintf(&line, "V%d", y)
			fmt.Fprintf(&area, "V%d", y)
		}
		fmt.Fprintf(&line, "H%d", to)
		fmt.Fprintf(&area, "H%d", to)
		end = to
	}
	closeArea(&area, begin, end)
	return plot{Line: line.String(), Area: area.String(), Top: strings.Replace(words(top), ".0 ", " ", 1)}
}

func closeArea(area *strings.Builder, begin, end int) {
	if end > begin {
		fmt.Fprintf(area, "V%dH%dZ", plotFloor, begin)
	}
}

// roundUp returns the next number that is 1, 2 or 5 with zeros.
func roundUp(n int64) int64 {
	for unit := int64(1); ; unit *= 10 {
		for _, top := range []int64{unit, 2 * unit, 5 * unit} {
			if n <= top {
				return top
			}
		}
	}
}

// drawLanes draws the paths. One that a wall clock has set into the future is left out.
func (p *picture) drawLanes(paths []domain.PathSpan, now time.Time) {
	lanes := map[domain.Path]*lane{}
	for i, s := range paths {
		from, to := s.From, now
		if i+1 < len(paths) {
			to = paths[i+1].From
		}
		if from.Before(p.Axis.start) {
			from = p.Axis.start
		}
		if !to.After(from) {
			continue
		}
		l := lanes[s.Path]
		if l == nil {
			l = &lane{}
			lanes[s.Path] = l
		}
		x := p.Axis.x(from)
		l.Rects = append(l.Rects, laneRect{x, max(p.Axis.x(to)-x, 3)})
		l.took += to.Sub(from)
	}
	var words []string
	for _, path := range append(domain.Paths(), domain.PathUnknown) {
		l := lanes[path]
		if l == nil {
			continue
		}
		l.Word, _ = pathWords(path)
		l.Class = path.String()
		word := strings.ToLower(l.Word)
		switch path {
		case domain.PathUnknown:
			l.Word, l.Class, word = "None", "none", "not connected"
		case domain.PathLAN:
			word = l.Word
		}
		words = append(words, word+" for "+span(l.took))
		p.Lanes = append(p.Lanes, *l)
	}
	p.Connected = sentence(strings.Join(words, ", ")) + "."
	if len(words) == 0 {
		p.Connected = "No connection yet."
	}
}

// drawRegistrations marks the registrations of the timeline, and the first and the last one, which are older than the first scrape at
// times.
func (p *picture) drawRegistrations(d domain.AliasDetail, entries []domain.TimelineEntry) {
	n := 0
	marked := map[int]bool{}
	mark := func(t time.Time) {
		if t.Before(p.Axis.start) || !t.Before(p.Axis.end) {
			return
		}
		x := p.Axis.x(t.Truncate(domain.TimelineStep).Add(domain.TimelineStep / 2))
		if !marked[x] {
			marked[x] = true
			n++
			p.Marks += fmt.Sprintf("M%d 0V%d", x, laneHeight)
		}
	}
	for _, e := range entries {
		if e.Registrations > 0 {
			mark(e.From)
			n += e.Registrations - 1
		}
	}
	mark(d.Registered)
	mark(d.Renewed)
	p.Registered = "Registered " + counted(n, "time") + "."
}

// counted formats a number of things.
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
