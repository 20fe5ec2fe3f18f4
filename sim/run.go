package sim

import (
	"fmt"
	"strings"

	"github.com/dhtprom/dhtprom/domain"
)

// Run plays a scenario. It fails only for a scenario that does not exist; what goes wrong inside is in the result.
func Run(o Options) (*Result, error) {
	s := Find(o.Scenario)
	if s == nil {
		return nil, fmt.Errorf("no scenario is called %q", o.Scenario)
	}
	return s.run(o), nil
}

// run plays the scenario.
func (s *Scenario) run(o Options) *Result {
	o.Scenario = s.Name
	o = o.fill(s)
	r := &Result{Options: o, ScrapesFailed: map[string]uint64{}}
	w := newWorld(o, s, r)
	played := w.play(s.Play) && w.play((*World).finish)
	r.Virtual, r.Stats = w.net.Now(), w.net.Stats()
	r.Transcript = w.log.text.String()
	w.secretsIn(r.Transcript)
	w.tabulate(played)
	r.Hash = w.net.Hash()*31 + w.log.hash
	return r
}

// play runs a part of the story and reports whether it came to its end. A panic of the code under test is a failure
// like any other, so that it can be replayed and shrunk.
func (w *World) play(part func(*World)) (ended bool) {
	defer func() {
		switch v := recover(); v.(type) {
		case nil:
		case stop:
			ended = false
		default:
			if w.opts.OnPanic != nil {
				w.opts.OnPanic(v)
			}
			w.fail("panic", "%v", v)
			ended = false
		}
	}()
	part(w)
	return true
}

// secretsIn looks for secrets where they must not be.
func (w *World) secretsIn(text string) {
	plain := w.secret.Reveal()
	if strings.Contains(text, w.secret.RevealText()) || strings.Contains(text, fmt.Sprintf("%x", plain)) || strings.Contains(text, string(plain[:])) {
		w.fail("secret", "the secret stands in the transcript")
	}
}

// tabulate fills in the lines that every table has.
func (w *World) tabulate(played bool) {
	r := w.result
	if !played {
		r.row("ended early", "yes")
	}
	if r.Scrapes > 0 {
		var failed []string
		for _, reason := range domain.FailureReasons() {
			if n := r.ScrapesFailed[reason]; n > 0 {
				failed = append(failed, fmt.Sprintf("%d %s", n, reason))
			}
		}
		r.row("scrapes", "%d, failed: %s", r.Scrapes, orNone(failed))
		r.row("time of a scrape", "%s", spread(r.took))
		r.Plots = append(r.Plots, histogram("Time of a scrape", r.took))
	}
	if len(r.healed) > 0 {
		r.Plots = append(r.Plots, histogram("Time to heal", r.healed))
	}
	if w.check.registered > 0 {
		r.row("registrations", "%d", w.check.registered)
	}
	r.row("datagrams", "%d sent, %d delivered, %d dropped", r.Stats.Sent, r.Stats.Delivered, r.Stats.Dropped(0))
	r.row("most on one machine", "%d sockets, %d timers", r.PeakSockets, r.PeakTimers)
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
