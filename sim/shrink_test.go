package sim

import (
	"strings"
	"testing"
	"time"
)

// brokenScenario breaks a rule as soon as there are three clients, five nodes and twenty seconds, and crashes happen.
var brokenScenario = &Scenario{
	Name: "broken", About: "for tests", Nodes: 40, Clients: 20, For: 10 * time.Minute,
	Play: func(w *World) {
		w.result.faulty = true
		if w.opts.Clients >= 3 && w.opts.Nodes >= 5 && w.opts.For >= 20*time.Second && !w.opts.leftOut(faultCrashes) {
			w.fail("test", "broken")
		}
	},
}

func TestShrinkFindsTheSmallestRunThatFails(t *testing.T) {
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
			{Title: "line", Points: []Point{{0, 0}, {10, 0}}}, {Title: "one point", Points: []Point{{5, 5}}}, {Title: "none"},
		},
	}
	var b strings.Builder
	if err := WritePage(&b, []*Result{r}); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{"<svg", "polyline", "<rect", "&lt;script&gt;", "b &amp; c", "&lt;b&gt;", "identity"} {
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
