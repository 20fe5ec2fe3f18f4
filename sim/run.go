package sim

import (
	"fmt"
	"strings"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
)

// Run plays a scenario. It fails only for options that Check rejects; failures of the run are in the result.
func Run(o Options) (*Result, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	return Find(o.Scenario).run(o), nil
}

// run plays the scenario.
func (s *Scenario) run(o Options) *Result {
	o.Scenario = s.Name
	o = o.fill(s)
	r := &Result{Options: o, ScrapesFailed: map[string]uint64{}}
	w := newWorld(o, s, r)
	r.chronicle = newChronicle(w.net)
	w.net.SetObserver(w.observe)
	played := w.play(s.Play)
	if o.Standing != nil {
		o.Standing(len(w.machines))
	}
	r.over = true
	played = played && w.play((*World).finish)
	r.Virtual, r.Stats = w.net.Now(), w.net.Stats()
	r.Transcript = w.log.text.String()
	w.secretsIn(r.Transcript)
	w.tabulate(played)
	r.Hash = w.net.Hash()*31 + w.log.hash
	return r
}

// play runs a part of the scenario and reports whether it came to its end. A panic of the code under test is a failure like
// any other, so that it can be replayed and shrunk.
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
			w.failed(Failure{Check: "panic", What: fmt.Sprint(v), Expected: numberless(fmt.Sprint(v))})
			ended = false
		}
	}()
	part(w)
	return true
}

// secretsIn fails the run if a text contains a secret.
func (w *World) secretsIn(text string) {
	for _, secret := range append(w.retired, w.secret) {
		plain := secret.Reveal()
		if strings.Contains(text, secret.RevealText()) || strings.Contains(text, fmt.Sprintf("%x", plain)) || strings.Contains(text, string(plain[:])) {
			w.fail("secret", "the transcript contains a secret")
		}
	}
}

// tabulate adds the rows that every table has.
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
		r.row("time of a scrape", "%s", spread(r.samples.scrapes))
	}
	r.tabulateConnections()
	if w.check.registered > 0 {
		r.row("registrations", "%d", w.check.registered)
	}
	r.row("datagrams", "%d sent, %d delivered, %d dropped", r.total(func(s simnet.Stats) uint64 { return s.Sent }),
		r.total(func(s simnet.Stats) uint64 { return s.Delivered }), r.total(func(s simnet.Stats) uint64 { return s.Dropped(0) }))
	for _, inner := range r.inner {
		r.peak(inner.PeakSockets, inner.PeakTimers)
	}
	r.row("most on one machine", "%d sockets, %d timers", r.PeakSockets, r.PeakTimers)
}

// tabulateConnections adds the rows about connections.
func (r *Result) tabulateConnections() {
	n := r.chronicle.total
	if n(punchStarted) > 0 {
		r.row("punches", "%d started, %d won and %d lost; by guessing ports %d won and %d lost", n(punchStarted),
			n(punchWon), n(punchLost), n(punchWonRandom), n(punchLostRandm))
	}
	if n(lookupFound)+n(lookupFailed) > 0 && r.Row("lookups") == "" {
		r.row("lookups", "%d of %d found", n(lookupFound), n(lookupFound)+n(lookupFailed))
	}
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
