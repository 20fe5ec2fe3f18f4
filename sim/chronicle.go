package sim

import (
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/hyperdht"
	"github.com/dhtprom/dhtprom/ports/host"
)

// chronicle is what happened when, for the plots of a report. It only looks on, and takes the same room however long a
// story is. A nil one notes nothing.
type chronicle struct {
	net      *simnet.Net
	phases   []Phase
	counts   map[string]*tally
	scrapes  dots
	lookups  dots
	attempts map[attempt]*progressOf
}

// Phase is a part of the story.
type Phase struct {
	From time.Duration
	What string
}

// maxPhases bounds the phases that are kept.
const maxPhases = 400

// attempt names the making of one connection.
type attempt struct {
	host *simnet.Host // of this boot
	n    uint64
}

// progressOf is how far the making of a connection is, at the side that dials.
type progressOf struct {
	began    time.Duration
	searched bool // the key was found, or nobody has it
	random   bool // one of the NATs gives each remote end another port
	punching bool
}

// What is counted over time.
const (
	scrapedOK, scrapedFailed       = "scrape ok", "scrape failed"
	polledOK, polledFailed         = "poll ok", "poll failed"
	punchStarted                   = "punch started"
	punchWon, punchLost            = "punch won", "punch lost"
	punchWonRandom, punchLostRandm = "random punch won", "random punch lost"
	lookupFound, lookupInVain      = "lookup found", "lookup in vain"
)

func newChronicle(net *simnet.Net) *chronicle {
	return &chronicle{net: net, counts: map[string]*tally{}, attempts: map[attempt]*progressOf{}}
}

// phase begins a part of the story.
func (c *chronicle) phase(what string) {
	if c != nil && len(c.phases) < maxPhases {
		c.phases = append(c.phases, Phase{c.net.Now(), what})
	}
}

// count notes that something happened now.
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

// total is how often something happened.
func (c *chronicle) total(what string) (n int) {
	if t := c.counts[what]; t != nil {
		for _, i := range t.counts {
			n += i
		}
	}
	return n
}

// scrapeKind tells scrapes that count from polls: those that a scenario repeats until one succeeds.
type scrapeKind uint8

const (
	counted scrapeKind = iota
	polled
)

// scrape notes the end of a scrape.
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

// lookup notes the end of a lookup.
func (c *chronicle) lookup(took time.Duration, found bool) {
	if c == nil {
		return
	}
	if found {
		c.count(lookupFound)
	} else {
		c.count(lookupInVain)
	}
	c.lookups.add(dot{c.net.Now(), took, !found})
}

// observe reads what the machines trace: how connections are made, as the side tells that dials.
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
		p.random = e.Theirs.String() != "open" && (e.Ours.String() == "random" || e.Theirs.String() == "random")
		if !p.punching {
			p.punching = true
			c.count(punchStarted)
		}
	case hyperdht.AttemptPath:
		if e.Path.String() != "punched" {
			return
		}
		if !p.punching { // the first messages alone did it
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

// ended notes the end of a punch.
func (p *progressOf) ended(c *chronicle, usual, random string) {
	p.punching = false
	if p.random {
		c.count(random)
	} else {
		c.count(usual)
	}
}

// maxIntervals is into how many intervals time is cut at most.
const maxIntervals = 240

// tally counts by intervals of time, which grow as the story does.
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

// by returns the counts by intervals of at least a length; both are a second times a power of two.
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

// dot is how long something took that ended at a time.
type dot struct {
	at, took time.Duration
	failed   bool
}

// dots are an even sample.
type dots struct {
	all    []dot
	every  int
	passed int
}

func (d *dots) add(one dot) {
	d.every = max(d.every, 1)
	// What fails is what one looks for, and seldom: it is kept as long as there is room.
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
