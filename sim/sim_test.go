package sim

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain raises the GC threshold: worlds are small, and collecting took a tenth of the time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

// seedsEach is the number of seeds of a scenario that every test run plays, beside those that once failed; the default is
// three. The slowest ones play one: the nightly run plays hundreds of new ones.
var seedsEach = map[string]int{
	"chaos": 12, "recovery": 1, "flood": 1, "natmatrix": 1, "growth": 1, "lookups": 1, "uplink": 1, "hostile": 2, "sleepers": 2, "flashcrowd": 2, "site": 2, "traffic": 1,
}

// small are sizes at which scenarios are played that are too large for every test run.
var small = map[string]Options{
	"swarm":         {Nodes: 200, Clients: 20, For: 2 * time.Minute},
	"outages":       {Nodes: 8, Clients: 1, For: 20 * time.Second},
	"fleet":         {Nodes: 16, Clients: 60},
	"guesses":       {Clients: 2},
	"publiclookups": {Nodes: 300, Clients: 5, For: 10 * time.Second},
	"traffic":       {Nodes: 12, Clients: 4, For: 10 * time.Minute},
}

// twice is the number of seeds of each scenario that are played a second time: its first ones. Chaos, whose seeds draw different faults,
// plays all of them. The nightly run does so with a tenth of its seeds.
const twice = 1

// TestEveryScenarioTwice plays each scenario with some seeds, and twice with the first: nothing goes wrong, and both runs are the same, event
// for event.
func TestEveryScenarioTwice(t *testing.T) {
	for _, s := range Scenarios() {
		size, found := small[s.Name]
		if s.Large != found {
			t.Errorf("%s is too large for this test, and has no size here", s.Name)
			continue
		}
		seeds := seedsEach[s.Name]
		if seeds == 0 {
			seeds = 3
		}
		for seed := range seeds {
			o := size
			o.Scenario, o.Seed = s.Name, uint64(seed+1)
			t.Run(fmt.Sprintf("%s/%d", s.Name, o.Seed), func(t *testing.T) {
				t.Parallel()
				first := playKept(t, o)
				if seed < twice || s.Name == "chaos" {
					same(t, first, play(t, o))
				}
				if drawn := first.faulty; drawn != (len(s.Faults) > 0) {
					t.Errorf("faults were drawn: %v; those that the scenario says it draws: %v", drawn, s.Faults)
				}
			})
		}
	}
}

// same demands that two runs were the same, event for event.
func same(t teller, first, second *Result) {
	t.Helper()
	if first.Hash == second.Hash {
		return
	}
	t.Errorf("the same seed gave two runs, %016x and %016x: %s\nreplay: %s\nfor sim/testdata/seeds.txt: %s\n%s", first.Hash, second.Hash,
		difference(first, second), first.Options.Command(), first.Options.SeedLine("two runs"), keep(second))
}

// TestEveryScenarioAtItsLeast plays each scenario in its smallest valid world.
func TestEveryScenarioAtItsLeast(t *testing.T) {
	for _, s := range Scenarios() {
		if s.Least.Nodes == 0 || s.Least.Clients == 0 || s.Least.For == 0 {
			t.Errorf("%s does not say how small it may be", s.Name)
			continue
		}
		seeds := uint64(2)
		if seedsEach[s.Name] == 1 {
			seeds = 1
		}
		for seed := range seeds {
			t.Run(fmt.Sprintf("%s/%d", s.Name, seed+1), func(t *testing.T) {
				t.Parallel()
				playKept(t, Options{Scenario: s.Name, Seed: seed + 1, Nodes: s.Least.Nodes, Clients: s.Least.Clients, For: s.Least.For})
			})
		}
	}
}

// TestFreshSeeds plays new seeds, in sizes that they decide, DHTPROM_SEEDS of each scenario: a run for the night. Without
// the variable, none.
func TestFreshSeeds(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("DHTPROM_SEEDS"))
	if err != nil && os.Getenv("DHTPROM_SEEDS") != "" {
		t.Fatalf("DHTPROM_SEEDS is to be a number: %v", err)
	}
	first := uint64(time.Now().UnixMilli())
	t.Logf("%d seeds from %d", n, first)
	for _, s := range Scenarios() {
		for i := range n {
			o := small[s.Name]
			o.Scenario, o.Seed = s.Name, first+uint64(i)
			if !s.Large {
				o = o.Drawn()
			}
			t.Run(fmt.Sprintf("%s/%d", s.Name, o.Seed), func(t *testing.T) {
				t.Parallel()
				first := play(t, o)
				if i%10 == 0 {
					same(t, first, play(t, o))
				}
			})
		}
	}
}

// teller is the part of testing.T that reports.
type teller interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// ofManyTests are the scenarios of which several tests judge the same runs.
var ofManyTests = []string{"chaos", "recovery"}

// keptRuns holds their runs, by the command that replays them: func() outcome.
var keptRuns sync.Map

// outcome is a run, and the stack where it panicked.
type outcome struct {
	*Result
	stack []byte
	err   error
}

// playKept is play, but runs that several tests judge are played once for all of them.
func playKept(t teller, o Options) *Result {
	t.Helper()
	if !slices.Contains(ofManyTests, o.Scenario) {
		return play(t, o)
	}
	once, _ := keptRuns.LoadOrStore(o.fill(Find(o.Scenario)).Command(), sync.OnceValue(func() outcome { return run(o) }))
	return judge(t, once.(func() outcome)())
}

// play runs a scenario and reports its failures, with the lines that replay it and keep it.
func play(t teller, o Options) *Result {
	t.Helper()
	return judge(t, run(o))
}

func run(o Options) (made outcome) {
	o.OnPanic = func(any) { made.stack = debug.Stack() }
	made.Result, made.err = Run(o)
	return made
}

func judge(t teller, made outcome) *Result {
	t.Helper()
	r := made.Result
	if made.err != nil {
		t.Fatalf("%v", made.err)
	}
	for _, row := range r.Rows[max(0, len(r.Rows)-40):] {
		t.Logf("%s: %s", row.Name, row.Value)
	}
	if r.OK() {
		return r
	}
	if made.stack != nil {
		t.Logf("%s", made.stack)
	}
	t.Errorf("%s, at commit %s:\n%s%s", r.Options.Scenario, commit(), r.Verdict(), keep(r))
	return r
}

// artifacts is the variable that names a directory for the files of a failed run.
const artifacts = "DHTPROM_ARTIFACTS"

// keep plays a run again, saves its trace, its datagrams, its transcript and its report, and returns where.
func keep(r *Result) string {
	dir := os.Getenv(artifacts)
	if dir == "" {
		return "set " + artifacts + " to a directory to have the trace, the datagrams, the transcript and a report of it"
	}
	path := filepath.Join(dir, fmt.Sprintf("%s-%d", r.Options.Scenario, r.Options.Seed))
	var trace, capture, page bytes.Buffer
	o := r.Options
	o.Trace, o.Capture, o.OnPanic = &trace, &capture, nil
	_, failed := Run(o)
	err := errors.Join(failed, os.MkdirAll(dir, 0o755), WritePage(&page, []*Result{r}),
		os.WriteFile(path+".transcript.txt", []byte(r.Transcript), 0o644), os.WriteFile(path+".trace.txt", trace.Bytes(), 0o644),
		os.WriteFile(path+".pcap", capture.Bytes(), 0o644), os.WriteFile(path+".html", page.Bytes(), 0o644))
	if err != nil {
		return fmt.Sprintf("nothing could be left in %s: %v", dir, err)
	}
	return fmt.Sprintf("see %s.{transcript.txt,trace.txt,pcap,html}", path)
}

// commit names the tree under test, if git knows it.
var commit = sync.OnceValue(func() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
})

// difference returns the first line in which two transcripts differ.
func difference(a, b *Result) string {
	x, y := strings.Split(a.Transcript, "\n"), strings.Split(b.Transcript, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("line %d:\n\t%s\n\t%s", i+1, x[i], y[i])
		}
	}
	return "the transcripts are the same"
}

// notes is a teller that records.
type notes struct{ errors []string }

func (*notes) Helper()             {}
func (*notes) Logf(string, ...any) {}
func (n *notes) Errorf(format string, args ...any) {
	n.errors = append(n.errors, fmt.Sprintf(format, args...))
}
func (n *notes) Fatalf(format string, args ...any) { n.Errorf(format, args...) }

func TestFailedRunTellsHowToReplayAndKeepItAndLeavesWhatItSaw(t *testing.T) {
	withScenario(t, brokenScenario)
	dir := filepath.Join(t.TempDir(), "left")
	t.Setenv(artifacts, dir)
	var n notes
	r := play(&n, Options{Scenario: "broken", Seed: 9})
	if len(n.errors) != 1 {
		t.Fatalf("told %q", n.errors)
	}
	for _, want := range []string{
		"replay: go run ./sim/cmd/dhtprom-sim -scenario broken -seed 9 -nodes 40 -clients 20 -for 10m0s\n",
		"seeds.txt: -scenario broken -seed 9 -nodes 40 -clients 20 -for 10m0s    # test\n", "broken by 20 clients", dir,
	} {
		if !strings.Contains(n.errors[0], want) {
			t.Errorf("%q is missing in %s", want, n.errors[0])
		}
	}
	for _, ext := range []string{"transcript.txt", "trace.txt", "pcap", "html"} {
		if info, err := os.Stat(filepath.Join(dir, "broken-9."+ext)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v", ext, info, err)
		}
	}
	other := *r
	other.Hash++
	n = notes{}
	same(&n, r, &other)
	if len(n.errors) != 1 || !strings.Contains(n.errors[0], "replay: go run ") {
		t.Errorf("two runs: told %q", n.errors)
	}
	same(t, r, r)
}

func TestSeedsAreReadAsTheyAreWritten(t *testing.T) {
	o := Options{Scenario: "chaos", Seed: 7, Nodes: 8, Clients: 2, For: 90e9, Without: []string{"sleeps", "crashes"}}
	got, err := ParseSeeds(strings.NewReader("\n# words\n" + o.SeedLine("why") + "\n"))
	if err != nil || len(got) != 1 || got[0].Command() != o.Command() {
		t.Errorf("read %v, %v", got, err)
	}
	for _, text := range []string{
		"-seed", "-seed x", "-scenario nonsense", "-scenario slice -planets 9", "-scenario chaos -without nonsense",
		"-scenario slice -without sleeps", "-scenario sleepers -without crashes", "-scenario slice -nodes -1", "-scenario slice -for 1ns",
	} {
		if _, err := ParseSeeds(strings.NewReader(text)); err == nil {
			t.Errorf("%q passes", text)
		}
	}
}
