package natlab

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

var (
	full     = flag.Bool("natlab.full", false, "test every cell, not only what stands for the rest")
	rounds   = flag.Int("natlab.rounds", 1, "how often each cell is measured; the table has medians")
	parallel = flag.Int("natlab.parallel", 4*runtime.NumCPU(), "how many cells are measured at a time")
	update   = flag.Bool("update", false, "rewrite docs/nat-matrix.md; measure everything for it")
)

// pair is the implementation of each side, with or without a blind relay at the Go side.
type pair struct {
	client, scraper language
	relay           bool
}

// pairs are the columns of the table.
var pairs = []pair{
	{golang, golang, false}, {golang, javaScript, false}, {javaScript, golang, false}, {javaScript, javaScript, false},
	{golang, golang, true}, {golang, javaScript, true}, {javaScript, golang, true},
}

// reference is the pair of two JavaScript peers: it is measured without expectations.
var reference = pair{javaScript, javaScript, false}

func (p pair) String() string {
	text := fmt.Sprintf("%s-%s", p.client, p.scraper)
	if p.relay {
		text += " and a relay"
	}
	return text
}

// place is a pair of places of a client and a scraper.
type place struct {
	client, scraper string
	build           func(l *lab, name string) (client, scraper host)
	path            string // by which they meet; empty for never
	random          bool   // by guessed ports, with many probes, unless the other side knows that it is open
}

// places returns all cells of the table, in its order.
func places() []place {
	var all []place
	for _, s := range kinds {
		for _, c := range kinds {
			p := place{client: c.name, scraper: s.name, path: "punched", build: func(l *lab, name string) (client, scraper host) {
				return l.site(name+"-a", c), l.site(name+"-b", s)
			}}
			switch {
			case c.mapping == open || s.mapping == open:
				p.path = "direct"
			case c.mapping == random && s.mapping == random:
				p.path = ""
			}
			p.random = c.mapping == random || s.mapping == random
			all = append(all, p)
		}
	}
	return append(all,
		place{client: "a host of a LAN", scraper: "another of the same", path: "lan", build: (*lab).lan},
		place{client: "a host of a LAN", scraper: "another that it may not talk to", build: (*lab).guestLAN},
		place{client: "a customer of a carrier", scraper: "another of the same", build: (*lab).oneCarrier},
	)
}

// cell is a place with a pair of implementations.
type cell struct {
	place
	pair
}

func (c cell) name() string {
	return fmt.Sprintf("%v/%s to %s", c.pair, c.place.client, c.place.scraper)
}

// represents reports whether a cell is always tested: all of the quick ones, and of the slow ones each kind in each role
// with each pair of languages. JavaScript pairs are only measured.
func (c cell) represents() bool {
	lucky := []string{
		"random to masquerade", "double NAT to random",
		"fully random to double NAT", "firewall to fully random",
		"NAT in a random one to firewall", "masquerade to NAT in a random one",
	}
	where := c.place.client + " to " + c.place.scraper
	bothRandom := c.random && c.path == ""
	switch {
	case c.pair == reference:
		return false
	case bothRandom && c.relay:
		return where == "random to fully random" || where == "NAT in a random one to random"
	case bothRandom:
		return where == "random to fully random" && c.pair == pair{golang, golang, false}
	case c.relay:
		return c.path == "" || c.place.client == c.place.scraper || slices.Contains(lucky, where)
	case c.random && c.path != "direct":
		return slices.Contains(lucky, where)
	}
	return true
}

// Bounds on the time of a cell. The program starts, DHT queries and the two connections of a pair with JavaScript in it
// need about a second on an idle machine; many cells at a time need more.
const (
	patience = 20 * time.Second
	// randomPatience: a punch against a random NAT is 35 s of probes, after which a peer tries again, and a
	// JavaScript peer needs two, with a pause of 20 s between them.
	randomPatience = 150 * time.Second
	// hopeless is the time for which a cell is watched that should never connect.
	hopeless = 30 * time.Second
)

// outcome is the result of one measurement.
type outcome struct {
	seconds float64
	path    string
	err     error // nil on success
}

// measure runs a client and a scraper in a place until the first scrape.
func measure(l *lab, c cell) outcome {
	l.t.Helper()
	clientHost, scraperHost := c.build(l, l.neighbourhood())
	var extra []string
	if c.relay {
		extra = []string{"--dht.relay=" + l.relayKey}
	}
	s := l.scraper(c.pair.scraper, scraperHost, extra...)
	within := patience
	switch {
	case c.relay:
	case c.path == "":
		within = hopeless
	case c.random:
		within = randomPatience
	}
	_, begun := l.client(c.pair, clientHost, s.key(), "", extra...)
	var err error
	// Slow cells are polled less often: dozens of them at a time would keep the machine busy.
	pause := 20 * time.Millisecond
	if c.slow() {
		pause = 200 * time.Millisecond
	}
	if !every(pause, within, func() bool { err = s.scrape(); return err == nil }) {
		return outcome{err: err}
	}
	took := time.Since(begun).Seconds()
	return outcome{seconds: took, path: s.path(clientHost, scraperHost)}
}

func TestWhoCanBeScrapedFromWhere(t *testing.T) {
	need(t)
	t.Parallel()
	l := newLab(t)
	var quick, slow []cell
	for _, place := range places() {
		for _, pair := range pairs {
			switch c := (cell{place, pair}); {
			case !*full && !*update && !c.represents():
			case c.slow():
				slow = append(slow, c)
			default:
				quick = append(quick, c)
			}
		}
	}
	run := func(c cell) {
		t.Run(c.name(), func(t *testing.T) {
			for round := range *rounds {
				t.Run(fmt.Sprint("round ", round+1), func(t *testing.T) {
					got := measure(l.in(t), c)
					results.add(c.name(), got)
					t.Log(got)
					check(t, c, got)
				})
			}
		})
	}
	var both sync.WaitGroup
	both.Go(func() { inParallel(slow, slowFactor**parallel, run) })
	if *update { // the quick ones are measured to the tenth of a second
		both.Wait()
	}
	both.Go(func() { inParallel(quick, *parallel, run) })
	both.Wait()
	t.Log("\n" + results.matrix())
}

// slow reports whether a cell takes long. It then waits most of the time.
func (c cell) slow() bool {
	return !c.relay && c.path == "" || c.random && c.path != "direct" && !c.relay || c.random && c.pair == reference
}

// slowFactor is the number of slow cells measured at a time for each quick one.
const slowFactor = 3

func check(t *testing.T, c cell, got outcome) {
	never := c.path == "" && !c.relay
	switch {
	case c.pair == reference: // for the table
	case never && got.err == nil:
		t.Errorf("it worked, by the path %q after %.1f s: the table is out of date", got.path, got.seconds)
	case never:
	case got.err != nil:
		t.Errorf("nothing: %v", got.err)
	case c.relay && got.path == "relayed":
		// Before there was a better path, or permanently.
	case c.path == "direct" && got.path == "punched":
		// A peer may have to punch before it knows that this is unnecessary. hyperdht's quick test of that loses a race in
		// every third start on links without delay, and is not repeated for twenty minutes.
	case got.path != c.path:
		t.Errorf("path %q, want %q", got.path, c.path)
	}
}

// inParallel runs f for all items, at most n at a time, beginning with the first.
func inParallel[T any](items []T, n int, f func(item T)) {
	next := make(chan T)
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			for item := range next {
				f(item)
			}
		})
	}
	for _, item := range items {
		next <- item
	}
	close(next)
	workers.Wait()
}
