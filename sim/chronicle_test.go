package sim

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
)

func TestTallyKeepsEveryCountHoweverLongTheStoryIs(t *testing.T) {
	y := tally{width: time.Second}
	for i := range 10_000 {
		y.add(time.Duration(i) * time.Second)
	}
	if y.width != 64*time.Second || len(y.counts) > maxIntervals {
		t.Errorf("%d intervals of %v", len(y.counts), y.width)
	}
	for _, width := range []time.Duration{0, 64 * time.Second, 256 * time.Second} {
		sum := 0
		for i, n := range y.by(width) {
			if sum += n; i == 0 && n != int(max(width, y.width)/time.Second) {
				t.Errorf("the first %v have %d", width, n)
			}
		}
		if sum != 10_000 {
			t.Errorf("%d by %v", sum, width)
		}
	}
}

func TestDotsAreBoundedAndFailuresStay(t *testing.T) {
	var d dots
	for i := range 100_000 {
		d.add(dot{at: time.Duration(i), failed: i%10_000 == 9_999})
	}
	failed := 0
	for _, one := range d.all {
		if one.failed {
			failed++
		}
	}
	if len(d.all) > maxDots || len(d.all) < maxDots/4 || failed == 0 {
		t.Errorf("%d dots, %d of what failed", len(d.all), failed)
	}
}

// TestPageShowsAnOutage plays a story in which a client is gone for a while, and reads the plots.
func TestPageShowsAnOutage(t *testing.T) {
	withScenario(t, &Scenario{Name: "broken page", Nodes: 6, Clients: 2, For: time.Minute, Play: func(w *World) {
		w.bootNodes(w.opts.Nodes)
		s := w.addScraper("scraper", scraperSetup{at: behind(simnet.PortRestricted())})
		w.populate(s, w.opts.Clients, clientSetup{})
		stop := w.prometheus(s, time.Second)
		w.run(20 * time.Second)
		w.phase("a client's page is broken: it cannot be scraped")
		w.clients[1].source.err = errors.New("broken")
		w.run(30 * time.Second)
		w.clients[1].source.err = nil
		stop()
		w.mustHeal(20 * time.Second)
		w.clients[1].source.err = errors.New("broken")
		w.mustHeal(20 * time.Second)
	}})
	r, err := Run(Options{Scenario: "broken page", Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	failed := r.chronicle.counts[scrapedFailed].by(0)
	for i, n := range failed {
		// One scrape fails in every second of the outage, and none outside.
		from := 22
		if inside := i > from && i < from+26; inside && n == 0 || (i < 18 || i > 56) && n > 0 {
			t.Errorf("%d scrapes fail in second %d", n, i)
		}
	}
	if n := r.chronicle.total(scrapedFailed); uint64(n) != total(r.ScrapesFailed) || n < 25 {
		t.Errorf("%d failed in the plot, %v in the table", n, r.ScrapesFailed)
	}
	if n := r.chronicle.total(polledFailed); n == 0 {
		t.Error("no poll failed while the second healing failed")
	}
	if len(r.Healings) != 2 {
		t.Fatalf("%d healings: %v", len(r.Healings), r.Healings)
	}
	for i, h := range r.Healings {
		if len(h.Took) != 2-i || h.Failed != i || h.Within != 20*time.Second {
			t.Errorf("healing %d: %v", i, h)
		}
	}
	if a, b := r.Healings[0].After, r.Healings[1].After; a != "a client's page is broken" || b != a+" (2)" {
		t.Errorf("healings are called %q and %q", a, b)
	}
	if row := r.Row("healed: a client's page is broken (2)"); !strings.Contains(row, "1 not at all (bound 20s)") {
		t.Errorf("the table says %q", row)
	}
	var b strings.Builder
	if err := WritePage(&b, []*Result{r}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"<b>Scrapes</b>", "<b>Time of a scrape</b>", "<b>Punches</b>", "<b>Lookups</b>", "<b>Time of a lookup</b>", "<b>Time to heal</b>",
		"virtual time", ">per 2s<", "it cannot be scraped", "class=\"bound\"", "class=\"dot bad\"", "class=\"band",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page has no %s", want)
		}
	}
}

// TestPunchesAreCountedByHowTheyEnd compares the traced events with the counts of the nodes.
func TestPunchesAreCountedByHowTheyEnd(t *testing.T) {
	var won, random uint64
	var ends map[string]int
	s := *natMatrixScenario
	s.Name = "counted"
	s.Play = func(w *World) {
		natMatrixScenario.Play(w)
		for _, m := range w.machines {
			if m.up() && !m.isNode {
				status := m.node.Status().Peering
				won += status.PunchesConsistentWon
				random += status.PunchesRandomWon
			}
		}
		// From the same moment on: dials of machines that stop count on neither side.
		ends = map[string]int{}
		for _, kind := range []string{punchStarted, punchWon, punchWonRandom, punchLost, punchLostRandm} {
			ends[kind] = w.result.chronicle.total(kind)
		}
	}
	withScenario(t, &s)
	if _, err := Run(Options{Scenario: s.Name, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	n := func(kind string) int { return ends[kind] }
	t.Logf("nodes: %d and %d by guessing; events: %d started, %d and %d won, %d and %d lost", won, random, n(punchStarted),
		n(punchWon), n(punchWonRandom), n(punchLost), n(punchLostRandm))
	// Nodes count at both ends, events at the dialling end: a punch that it lost, the other end may have won.
	if w := uint64(n(punchWon)); w == 0 || 2*w+uint64(n(punchLost)) < won || w > won {
		t.Errorf("%d punches were won by events, %d by the nodes' own counts at both ends", w, won)
	}
	if w := uint64(n(punchWonRandom)); w == 0 || 2*w+uint64(n(punchLostRandm)) < random || w > random {
		t.Errorf("%d random punches were won by events, %d by the nodes' own counts at both ends", w, random)
	}
	if ended := n(punchWon) + n(punchWonRandom) + n(punchLost) + n(punchLostRandm); ended > n(punchStarted) || n(punchStarted)-ended > 10 {
		t.Errorf("%d punches started, %d ended", n(punchStarted), ended)
	}
}

func TestTicksOfCountsAreWholeAndRound(t *testing.T) {
	tests := []struct {
		most  float64
		whole numbers
		want  float64
	}{{279, true, 100}, {3, true, 1}, {1, true, 1}, {0, true, 1}, {45, true, 20}, {1, false, 0.5}, {2.6, false, 1}, {66.5, false, 20}}
	for _, test := range tests {
		if got := niceStep(test.most, 4, test.whole); got != test.want {
			t.Errorf("ticks up to %v are %v apart, want %v", test.most, got, test.want)
		}
	}
}
