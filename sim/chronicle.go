package sim

import (
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports/host"
)

// chronicle records events over time for the plots of a report. It only observes, and its size does not grow with the
// length of a run. A nil one records nothing.
type chronicle struct {
	net      *simnet.Net
	phases   []Phase
	counts   map[string]*tally
	scrapes  dots
	lookups  dots
	attempts map[attempt]*progressOf
}

// Phase is a part of a scenario.
type Phase struct {
	From time.Duration
	What string
}

// maxPhases bounds the phases that are kept.
const maxPhases = 400

// attempt identifies one attempt to connect.
type attempt struct {
	host *simnet.Host // of this boot
	n    uint64
}

// progressOf is the state of an attempt to connect, at the side that dials.
type progressOf struct {
	began    time.Duration
	searched bool // the key was found, or is not announced
	random   bool // one of the NATs gives each remote end another port
	punching bool
}

// Names of counts over time.
const (
	scrapedOK, scrapedFailed       = "scrape ok", "scrape failed"
	polledOK, polledFailed         = "poll ok", "poll failed"
	punchStarted                   = "punch started"
	punchWon, punchLost            = "punch won", "punch lost"
	punchWonRandom, punchLostRandm = "random punch won", "random punch lost"
	lookupFound, lookupFailed      = "lookup found", "lookup failed"
)

func newChronicle(net *simnet.Net) *chronicle {
	return &chronicle{net: net, counts: map[string]*tally{}, attempts: map[attempt]*progressOf{}}
}

// phase begins a part of the scenario.
func (c *chronicle) phase(what string) {
	if c != nil && len(c.phases) < maxPhases {
		c.phases = append(c.phases, Phase{c.net.Now(), what})
	}
}

// count records an event now.
func (c *chronicle) count(what string) {
	if c == nil {
		return
	}
	t := c.counts[what]
	if t == nil {
		t = &tally{width: time.Second}
		c.counts[what] = t
	}
	t.add(c.net.Now())
}

// total returns the number of events of a kind.
func (c *chronicle) total(what string) (n int) {
	if t := c.counts[what]; t != nil {
		for _, i := range t.counts {
			n += i
		}
	}
	return n
}

// scrapeKind distinguishes scrapes that count from polls: those that a scenario repeats until one succeeds.
type scrapeKind uint8

const (
	counted scrapeKind = iota
	polled
)

// scrape records the end of a scrape.
func (c *chronicle) scrape(took time.Duration, err error, kind scrapeKind) {
	if c == nil {
		return
	}
	what := scrapedOK
	switch {
	case kind == polled && err == nil:
		what = polledOK
	case kind == polled:
		what = polledFailed
	case err != nil:
		what = scrapedFailed
	}
	c.count(what)
	if kind == counted || err == nil {
		c.scrapes.add(dot{c.net.Now(), took, err != nil})
	}
}

// lookup records the end of a lookup.
func (c *chronicle) lookup(took time.Duration, found bool) {
	if c == nil {
		return
	}
	if found {
		c.count(lookupFound)
	} else {
		c.count(lookupFailed)
	}
	c.lookups.add(dot{c.net.Now(), took, !found})
}

// observe reads the trace events of machines: the progress of attempts to connect, as the dialling side reports it.
func (c *chronicle) observe(h *simnet.Host, event host.Event) {
	e, ok := event.(hyperdht.AttemptEvent)
	if !ok {
		return
	}
	key := attempt{h, e.Attempt}
	if e.Step == hyperdht.AttemptStarted {
		c.attempts[key] = &progressOf{began: c.net.Now()}
		return
	}
	p := c.attempts[key]
	if p == nil {
		return
	}
	switch e.Step {
	case hyperdht.AttemptRecord, hyperdht.AttemptSearched:
		if !p.searched {
			p.searched = true
			c.lookup(c.net.Now()-p.began, e.Step == hyperdht.AttemptRecord)
		}
	case hyperdht.AttemptPunching:
		p.random = guessesPorts(e)
		if !p.punching {
			p.punching = true
			c.count(punchStarted)
		}
	case hyperdht.AttemptPath:
		if e.Path.String() != "punched" {
			return
		}
		if !p.punching { // the first messages alone sufficed
			c.count(punchStarted)
		}
		p.ended(c, punchWon, punchWonRandom)
	case hyperdht.AttemptPunchFailed, hyperdht.AttemptClosed:
		if p.punching {
			p.ended(c, punchLost, punchLostRandm)
		}
		if e.Step == hyperdht.AttemptClosed {
			delete(c.attempts, key)
		}
	}
}

// guessesPorts reports whether a punch that begins guesses ports.
func guessesPorts(e hyperdht.AttemptEvent) bool {
	return e.Theirs.String() != "open" && (e.Ours == hyperdht.NATRandom || e.Theirs == hyperdht.NATRandom)
}

// ended records the end of a punch.
func (p *progressOf) ended(c *chronicle, usual, random string) {
	p.punching = false
	if p.random {
		c.count(random)
	} else {
		c.count(usual)
	}
}

// maxIntervals bounds the number of intervals that time is cut into.
const maxIntervals = 240

// tally counts by intervals of time, which grow with the length of the run.
type tally struct {
	width  time.Duration
	counts []int
}

func (t *tally) add(at time.Duration) {
	for at >= maxIntervals*t.width {
		t.widen()
	}
	i := int(at / t.width)
	for len(t.counts) <= i {
		t.counts = append(t.counts, 0)
	}
	t.counts[i]++
}

// widen makes intervals twice as long.
func (t *tally) widen() {
	half := make([]int, (len(t.counts)+1)/2)
	for i, n := range t.counts {
		half[i/2] += n
	}
	t.counts, t.width = half, 2*t.width
}

// by returns the counts by intervals of at least a length; both lengths are a second times a power of two.
func (t *tally) by(width time.Duration) []int {
	if t == nil {
		return nil
	}
	wide := tally{t.width, t.counts}
	for wide.width < width {
		wide.widen()
	}
	return wide.counts
}

// maxDots bounds the dots of a plot.
const maxDots = 3000

// dot is the duration of an operation, by the time of its end.
type dot struct {
	at, took time.Duration
	failed   bool
}

// dots are an even sample of operations.
type dots struct {
	all    []dot
	every  int
	passed int
}

func (d *dots) add(one dot) {
	d.every = max(d.every, 1)
	// Failures are rare and what a reader looks for: they are kept as long as there is room.
	if d.passed++; d.passed%d.every != 0 && !one.failed {
		return
	}
	if len(d.all) == maxDots {
		half := d.all[:0]
		for i, one := range d.all {
			if i%2 == 0 {
				half = append(half, one)
			}
		}
		d.all = half
		d.every *= 2
	}
	d.all = append(d.all, one)
}
