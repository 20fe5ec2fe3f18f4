package sim_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/dhtprom/dhtprom/sim"
)

// seedsEach is how many seeds of a scenario every test run plays, beside those that once failed; one where it does
// not say.
var seedsEach = map[string]int{"chaos": 12, "partition": 3, "churn": 3, "clocks": 3}

// TestRunsThatOnceFailed comes first: what broke once breaks again.
func TestRunsThatOnceFailed(t *testing.T) {
	for _, o := range knownSeeds(t) {
		t.Run(fmt.Sprintf("%s/%d", o.Scenario, o.Seed), func(t *testing.T) {
			t.Parallel()
			play(t, o)
		})
	}
}

func knownSeeds(t *testing.T) []sim.Options {
	t.Helper()
	file, err := os.Open("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all, err := sim.ParseSeeds(file)
	if err != nil {
		t.Fatal("testdata/seeds.txt: ", err)
	}
	return all
}

// TestEveryScenarioTwice plays each scenario twice with the same seed: nothing goes wrong, and both runs are the same,
// event for event.
func TestEveryScenarioTwice(t *testing.T) {
	for _, s := range sim.Scenarios() {
		if s.Large {
			continue
		}
		seeds := seedsEach[s.Name]
		if seeds == 0 {
			seeds = 1
		}
		for seed := range seeds {
			t.Run(fmt.Sprintf("%s/%d", s.Name, seed+1), func(t *testing.T) {
				t.Parallel()
				o := simOptions(s.Name, uint64(seed+1))
				first := play(t, o)
				if second := play(t, o); first.Hash != second.Hash {
					t.Errorf("the same seed gave two runs, %016x and %016x: %s", first.Hash, second.Hash, difference(first, second))
				}
			})
		}
	}
}

func simOptions(scenario string, seed uint64) sim.Options {
	return sim.Options{Scenario: scenario, Seed: seed}
}

// play runs a scenario and reports what went wrong with the line that replays it.
func play(t *testing.T, o sim.Options) *sim.Result {
	t.Helper()
	var stack []byte
	o.OnPanic = func(any) { stack = debug.Stack() }
	r, err := sim.Run(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.Rows {
		t.Logf("%s: %s", row.Name, row.Value)
	}
	if r.OK() {
		return r
	}
	for _, f := range r.Failures {
		t.Error(f)
	}
	if stack != nil {
		t.Logf("%s", stack)
	}
	t.Errorf("replay: %s  # at commit %s", r.Options.Command(), commit())
	return r
}

// commit names the tree under test, if git knows it.
var commit = sync.OnceValue(func() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
})

// difference finds the first line in which two transcripts differ.
func difference(a, b *sim.Result) string {
	x, y := strings.Split(a.Transcript, "\n"), strings.Split(b.Transcript, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("line %d:\n\t%s\n\t%s", i+1, x[i], y[i])
		}
	}
	return "the transcripts are the same"
}

func TestSeedsAreReadAsTheyAreWritten(t *testing.T) {
	o := sim.Options{Scenario: "slice", Seed: 7, Nodes: 8, Clients: 2, For: 90e9, Without: []string{"sleep", "crash"}}
	got, err := sim.ParseSeeds(strings.NewReader("\n# words\n" + strings.TrimPrefix(o.Command(), "go run ./sim/cmd/dhtprom-sim") + " # why\n"))
	if err != nil || len(got) != 1 || got[0].Command() != o.Command() {
		t.Errorf("read %v, %v", got, err)
	}
	for _, text := range []string{"-seed", "-seed x", "-scenario nonsense", "-scenario slice -planets 9"} {
		if _, err := sim.ParseSeeds(strings.NewReader(text)); err == nil {
			t.Errorf("%q passes", text)
		}
	}
}
