package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

// Result is what came of a run.
type Result struct {
	Options    Options // with the defaults filled in
	Hash       uint64  // of all that happened
	Failures   []Failure
	Virtual    time.Duration
	Stats      simnet.Stats
	Rows       []Row
	Plots      []Plot
	Transcript string

	Hops, Requests float64 // of a lookup, on average

	Scrapes       uint64
	ScrapesFailed map[string]uint64 // by reason
	took          []time.Duration   // of scrapes that succeeded, a sample
	faulty        bool              // faults were drawn
	healed        []time.Duration   // how long each client took to be scrapeable after faults

	PeakSockets, PeakTimers int // on one machine
}

// Failure is something that must not happen, and did.
type Failure struct {
	At    time.Duration
	Check string // the name of the rule
	What  string
}

func (f Failure) String() string { return fmt.Sprintf("%s  %s: %s", stamp(f.At), f.Check, f.What) }

// Row is a line of a result's table.
type Row struct{ Name, Value string }

// Plot is a picture in a report.
type Plot struct {
	Title, X, Y string
	Bars        bool // in place of a line
	Labels      []string
	Points      []Point
}

// Point is one value. For bars, X is the index of its label.
type Point struct{ X, Y float64 }

// OK reports whether nothing went wrong.
func (r *Result) OK() bool { return len(r.Failures) == 0 }

// row adds a line to the table.
func (r *Result) row(name, format string, args ...any) {
	r.Rows = append(r.Rows, Row{name, fmt.Sprintf(format, args...)})
}

// Row returns a line of the table, or "".
func (r *Result) Row(name string) string {
	for _, row := range r.Rows {
		if row.Name == name {
			return row.Value
		}
	}
	return ""
}

const maxSamples = 20_000

func (r *Result) scraped(took time.Duration, err error) {
	r.Scrapes++
	if err != nil {
		r.ScrapesFailed[domain.FailureReason(err)]++
		return
	}
	if len(r.took) < maxSamples {
		r.took = append(r.took, took)
	}
}

func (r *Result) peak(sockets, timers int) {
	r.PeakSockets, r.PeakTimers = max(r.PeakSockets, sockets), max(r.PeakTimers, timers)
}

// quantile of durations; 0 for none.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Clone(all)
	slices.Sort(sorted)
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// spread describes durations in a few words.
func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	return fmt.Sprintf("median %v, p95 %v, most %v", quantile(all, 0.5).Round(time.Millisecond),
		quantile(all, 0.95).Round(time.Millisecond), quantile(all, 1).Round(time.Millisecond))
}

// timeline is a plot of counts by second.
func timeline(title string, seconds []int) Plot {
	p := Plot{Title: title, X: "seconds", Y: "count"}
	for i, n := range seconds {
		p.Points = append(p.Points, Point{float64(i), float64(n)})
	}
	return p
}

// histogram is a plot of durations.
func histogram(title string, all []time.Duration) Plot {
	p := Plot{Title: title, X: "time", Y: "count", Bars: true}
	if len(all) == 0 {
		return p
	}
	most := quantile(all, 1)
	const bars = 20
	width := max(most/bars+1, time.Millisecond)
	counts := make([]int, bars)
	for _, d := range all {
		counts[min(int(d/width), bars-1)]++
	}
	for i, n := range counts {
		p.Labels = append(p.Labels, (width * time.Duration(i)).Round(time.Millisecond).String())
		p.Points = append(p.Points, Point{float64(i), float64(n)})
	}
	return p
}
