package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

// Result is the result of a run.
type Result struct {
	Options    Options // with the defaults filled in
	Hash       uint64  // of all events
	Failures   []Failure
	Virtual    time.Duration
	Stats      simnet.Stats
	Rows       []Row
	Plots      []Plot
	Transcript string

	Hops, Requests float64 // of a lookup, on average

	Scrapes       uint64
	ScrapesFailed map[string]uint64 // by reason
	Healings      []Healing
	faulty        bool       // faults were drawn
	chronicle     *chronicle // what happened when
	inner         []*Result  // of runs within this one
	samples       samples
	over          bool // the scenario has ended; scrapes while clients deregister do not count

	PeakSockets, PeakTimers int // on one machine
}

// Failure is a violation of a rule.
type Failure struct {
	At    time.Duration
	Check string // the name of the rule
	What  string
	// Expected identifies the broken expectation: the text of What without names and figures.
	Expected string
}

func (f Failure) String() string { return fmt.Sprintf("%s  %s: %s", stamp(f.At), f.Check, f.What) }

// same reports whether two failures break the same expectation, and not only the same rule.
func (f Failure) same(other Failure) bool {
	return f.Check == other.Check && f.Expected == other.Expected
}

// numberless replaces every number by #, so that texts about other machines and other times are the same.
func numberless(text string) string {
	var b strings.Builder
	digits := false
	for _, r := range text {
		if unicode.IsDigit(r) {
			if !digits {
				b.WriteByte('#')
			}
			digits = true
			continue
		}
		digits = false
		b.WriteRune(r)
	}
	return b.String()
}

// Healing is the recovery of clients after a disturbance.
type Healing struct {
	After  string          // the phase of the disturbance
	At     time.Duration   // its end
	Within time.Duration   // the bound
	Took   []time.Duration // of each client until it was scraped; those that answered at once were never affected
	Failed int             // clients that were not scraped within the bound
}

// atOnce bounds the time of a scrape of an unaffected client.
const atOnce = time.Second

// affected returns the times of those that did not answer at once.
func (h Healing) affected() (slow []time.Duration) {
	for _, d := range h.Took {
		if d > atOnce {
			slow = append(slow, d)
		}
	}
	return slow
}

func (h Healing) String() string {
	slow := h.affected()
	parts := []string{fmt.Sprintf("%d of %d clients at once", len(h.Took)-len(slow), len(h.Took)+h.Failed)}
	switch len(slow) {
	case 0:
	case 1:
		parts = append(parts, fmt.Sprintf("one after %v", slow[0].Round(time.Millisecond)))
	default:
		parts = append(parts, fmt.Sprintf("%d after median %v, most %v", len(slow), quantile(slow, 0.5).Round(time.Millisecond), quantile(slow, 1).Round(time.Millisecond)))
	}
	if h.Failed > 0 {
		parts = append(parts, fmt.Sprintf("%d not at all", h.Failed))
	}
	return fmt.Sprintf("%s (bound %v)", strings.Join(parts, ", "), h.Within)
}

// healPrefix begins the phase that waits for all clients.
const healPrefix = "the world has healed"

// healed records how long each client took to come back, after the last phase that was not about healing.
func (w *World) healed(within time.Duration, took []time.Duration) {
	h := Healing{After: "the start", At: w.net.Now(), Within: within, Took: took}
	for _, p := range slices.Backward(w.result.chronicle.phases) {
		if strings.HasPrefix(p.What, healPrefix) {
			h.At = min(h.At, p.From)
			continue
		}
		h.After = clause(p.What)
		break
	}
	expected := 0
	for _, c := range w.clients {
		if c.knows && !c.retired {
			expected++
		}
	}
	h.Failed = max(expected-len(took), 0)
	again := 1
	for _, before := range w.result.Healings {
		if before.After == h.After || strings.HasPrefix(before.After, h.After+" (") {
			again++
		}
	}
	if again > 1 {
		h.After += fmt.Sprintf(" (%d)", again)
	}
	w.result.Healings = append(w.result.Healings, h)
	w.result.row("healed: "+h.After, "%v", h)
}

// clause returns the beginning of a phase's text, short enough for a table.
func clause(text string) string {
	if i := strings.IndexAny(text, ":;"); i > 0 {
		text = text[:i]
	}
	const most = 52
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	short := string([]rune(text)[:most])
	if i := strings.LastIndexByte(short, ' '); i > 0 {
		short = short[:i]
	}
	return short + "…"
}

// Row is a line of a result's table.
type Row struct{ Name, Value string }

// OK reports whether the run had no failure.
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

// scraped records the end of a scrape that counts.
func (r *Result) scraped(took time.Duration, err error) {
	if r.over {
		return
	}
	r.Scrapes++
	r.chronicle.scrape(took, err, counted)
	if err != nil {
		r.ScrapesFailed[domain.FailureReason(err)]++
		return
	}
	r.samples.scraped(took)
}

// samples are measurements that the report summarizes.
type samples struct {
	scrapes  []time.Duration // that succeeded, the first maxSamples
	reunions []reunion       // after outages of the DHT
}

func (s *samples) scraped(took time.Duration) {
	if len(s.scrapes) < maxSamples {
		s.scrapes = append(s.scrapes, took)
	}
}

// polled records the end of a scrape that is repeated until it succeeds, which does not count.
func (r *Result) polled(took time.Duration, err error) { r.chronicle.scrape(took, err, polled) }

// total returns the sum of a network count over this run and those within it.
func (r *Result) total(of func(simnet.Stats) uint64) uint64 {
	n := of(r.Stats)
	for _, inner := range r.inner {
		n += inner.total(of)
	}
	return n
}

// Events returns the number of events: datagrams that arrived or were dropped, timers, and posts.
func (r *Result) Events() uint64 {
	return r.total(func(s simnet.Stats) uint64 { return s.Delivered + s.Dropped(0) + s.Timers + s.Posts })
}

// Verdict describes a failed run: the broken expectations, the line that replays it, and the line that keeps it. It is
// empty for a run without failures.
func (r *Result) Verdict() string {
	if r.OK() {
		return ""
	}
	var b strings.Builder
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "%v\n", f)
	}
	fmt.Fprintf(&b, "replay: %s\n", r.Options.Command())
	fmt.Fprintf(&b, "for sim/testdata/seeds.txt: %s\n", r.Options.SeedLine(r.Failures[0].Check))
	return b.String()
}

// SeedLine returns the line of testdata/seeds.txt that keeps a run, with the reason.
func (o Options) SeedLine(why string) string { return o.args() + "    # " + why }

func (r *Result) peak(sockets, timers int) {
	r.PeakSockets, r.PeakTimers = max(r.PeakSockets, sockets), max(r.PeakTimers, timers)
}

// quantile returns a quantile of durations; 0 for none.
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
