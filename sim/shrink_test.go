package sim

import (
	"strings"
	"testing"
	"time"
)

// brokenScenario breaks a rule as soon as there are three clients, five nodes and twenty seconds, and crashes happen.
// Where it is smaller, it breaks another expectation of the same rule.
var brokenScenario = &Scenario{
	Name: "broken", About: "for tests", Nodes: 40, Clients: 20, For: 10 * time.Minute,
	Least: Least{Nodes: 2, Clients: 1, For: 5 * time.Second}, Faults: FaultKinds(),
	Play: func(w *World) {
		w.result.faulty = true
		w.addNode()
		w.run(time.Second)
		if w.opts.Clients >= 3 && w.opts.Nodes >= 5 && w.opts.For >= 20*time.Second && !w.opts.leftOut(faultCrashes) {
			w.fail("test", "broken by %d clients", w.opts.Clients)
		} else {
			w.fail("test", "too small, with %d clients", w.opts.Clients)
		}
	},
}

func TestShrinkFindsTheSmallestRunThatFailsInTheSameWay(t *testing.T) {
	withScenario(t, brokenScenario)
	r, err := Run(Options{Scenario: "broken", Seed: 1})
	if err != nil || r.OK() {
		t.Fatal(err, r)
	}
	runs := 0
	small := Shrink(r, func(Options, bool) { runs++ })
	o := small.Options
	if o.Clients != 3 || o.Nodes != 5 || o.For > 22*time.Second || len(o.Without) != len(FaultKinds())-1 || o.leftOut(faultCrashes) {
		t.Errorf("the smallest is %s", o.Command())
	}
	if runs > 150 {
		t.Errorf("%d runs", runs)
	}
}

// TestShrinkOfARealStoryEndsWithTheSameFault plays a scenario in which the third client gives away another one's page.
func TestShrinkOfARealStoryEndsWithTheSameFault(t *testing.T) {
	broken := *restartScenario
	broken.Name = "brokenrestart"
	broken.Play = func(w *World) {
		w.net.AfterFunc(30*time.Second, func() {
			if len(w.clients) >= 3 {
				w.clients[2].source.key = w.clients[1].keys.Public
			}
		})
		restartScenario.Play(w)
	}
	withScenario(t, &broken)
	r, err := Run(Options{Scenario: broken.Name, Seed: 1})
	if err != nil || r.OK() {
		t.Fatal(err)
	}
	small := Shrink(r, nil)
	o := small.Options
	if o.Clients != 3 || o.Nodes != broken.Least.Nodes || o.For != broken.Least.For {
		t.Errorf("the smallest is %s", o.Command())
	}
	if f := small.Story(r); f.Check != "identity" || f.Expected != r.Failures[0].Expected {
		t.Errorf("it fails by %v, not by %v", f, r.Failures[0])
	}
	// The same run of good code passes.
	o.Scenario = restartScenario.Name
	play(t, o)
}

func TestFailuresAreTheSameByWhatWasExpectedAndNotByWhomAndWhen(t *testing.T) {
	w := newWorld(Options{}, brokenScenario, &Result{})
	w.fail("outcome", "%s was late by %v", "client-1", time.Second)
	w.fail("outcome", "%s was late by %v", "client-2", time.Minute)
	w.fail("outcome", "%s was early", "client-1")
	w.fail("liveness", "%s was late by %v", "client-1", time.Second)
	for _, name := range []string{"the scrape of client-7 ends", "the scrape of client-12 ends", "all have closed"} {
		w.play(func(w *World) { w.until(name, 0, func() bool { return false }) })
	}
	for _, what := range []string{"index 5 of 3", "index 70 of 2", "nil map"} {
		w.play(func(*World) { panic(what) })
	}
	f := w.result.Failures
	for _, pair := range [][2]int{{0, 1}, {4, 5}, {7, 8}} {
		if !f[pair[0]].same(f[pair[1]]) {
			t.Errorf("%v is another than %v", f[pair[0]], f[pair[1]])
		}
	}
	for _, pair := range [][2]int{{0, 2}, {0, 3}, {4, 6}, {7, 9}} {
		if f[pair[0]].same(f[pair[1]]) {
			t.Errorf("%v is the same as %v", f[pair[0]], f[pair[1]])
		}
	}
}

func TestPanicOfARunIsAFailureThatCanBeReplayed(t *testing.T) {
	withScenario(t, &Scenario{Name: "broken", Nodes: 1, Clients: 1, For: time.Second, Play: func(w *World) {
		w.addNode().host.AfterFunc(time.Second, func() { panic("boom") })
		w.run(time.Minute)
	}})
	seen := false
	r, err := Run(Options{Scenario: "broken", Seed: 1, OnPanic: func(any) { seen = true }})
	if err != nil || !seen || r.OK() || r.Failures[0].Check != "panic" || r.Failures[0].What != "boom" {
		t.Errorf("%v, seen %v: %v", err, seen, r.Failures)
	}
}

// withScenario adds a scenario for one test.
func withScenario(t *testing.T, s *Scenario) {
	before := scenarios
	scenarios = append(scenarios[:len(scenarios):len(scenarios)], s)
	t.Cleanup(func() { scenarios = before })
}

func TestPageIsOneFileThatNeedsNoOther(t *testing.T) {
	r := &Result{
		Options: Options{Scenario: "slice", Seed: 3}, Failures: []Failure{{Check: "identity", What: "<script>"}},
		Rows: []Row{{"a", "b & c"}}, Transcript: "--- <b>",
		Plots: []Plot{
			{Title: "bars", Bars: true, Labels: []string{"x", "y"}, Points: []Point{{0, 1}, {1, 2}}},
			{Title: "line", X: "how far", Y: "how often", Points: []Point{{0, 0}, {10, 0}}}, {Title: "one point", Points: []Point{{5, 5}}}, {Title: "none"},
		},
	}
	var b strings.Builder
	if err := WritePage(&b, []*Result{r}); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{"<svg", "polyline", "<rect", "&lt;script&gt;", "b &amp; c", "&lt;b&gt;", "identity", "how far", "how often"} {
		if !strings.Contains(page, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, bad := range []string{"<script", "http://", "https://", "NaN", "Inf", "<link", "src="} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
}
