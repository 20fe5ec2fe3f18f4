// Command measure prints the tables of sim/MEASURED.md that depend on the machine or may change with the code, as they stand
// there. Each world is played in a process of its own, so that its processor time and its memory are its own.
//
//	go run ./sim/cmd/measure                           what takes some minutes
//	go run ./sim/cmd/measure -large                    10,000 and 100,000 nodes and 5,000 clients, too: half an hour
//	go run ./sim/cmd/measure -runs 5 -against OTHER    each world alternately by this build and by another one of this command
//
// The other build is a file that "go build -o OTHER ./sim/cmd/measure" has written from another commit. On a machine that others
// use, too, only such ratios mean anything, and only if both builds report the same hash: then they have played the same events.
// Times are those of the clock and those of all processors. With GOMAXPROCS=1, lanes do not run at the same time.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/sim"
	"github.com/dhtprom/dhtprom/sim/hugepages"
	"github.com/dhtprom/dhtprom/sim/parallel"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

// settings are the values of the flags.
type settings struct {
	large   bool
	runs    int
	against string
	play    string
}

func run(args []string, out io.Writer) error {
	var set settings
	f := flag.NewFlagSet("measure", flag.ContinueOnError)
	f.BoolVar(&set.large, "large", false, "play the worlds that take minutes each, too")
	f.IntVar(&set.runs, "runs", 1, "how often each large world is played; the `number` in the table is the median")
	f.StringVar(&set.against, "against", "", "another build of this command, a `file` to compare with")
	f.StringVar(&set.play, "play", "", "play one `world`, given as JSON, and print its result: for this command itself")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || set.runs < 1 {
		return errors.New("want no arguments but flags, and one run at least")
	}
	if set.play != "" {
		return play(set.play, out)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("no program to start: %w", err)
	}
	builds := []string{self}
	if set.against != "" {
		builds = append(builds, set.against)
	}
	if err := set.worlds(out, builds); err != nil || set.against != "" {
		return err
	}
	return set.others(out, self)
}

// world is a scenario and its sizes.
type world struct {
	Scenario       string
	Nodes, Clients int // 0: as many as the scenario has
	For            time.Duration
}

var (
	worlds = []world{
		{Scenario: "lookups", Nodes: 100},
		{Scenario: "lookups", Nodes: 1_000},
		{Scenario: "swarm", Nodes: 2_000, Clients: 200, For: 2*time.Minute + 30*time.Second},
	}
	largeWorlds = []world{
		{Scenario: "swarm", Nodes: 10_000, Clients: 20, For: 10 * time.Second},
		{Scenario: "swarm", Nodes: 10_000, Clients: 1_000, For: 53 * time.Minute},
		{Scenario: "swarm", Nodes: 100_000, Clients: 20, For: 10 * time.Second},
	}
	others = []world{
		{Scenario: "publiclookups"}, {Scenario: "fleet", Clients: 300}, {Scenario: "fleet", Clients: 1_000}, {Scenario: "recovery"},
	}
	largeOthers = []world{{Scenario: "fleet", Clients: 5_000}}
)

// outcome is the result of a world, and what it took.
type outcome struct {
	Verdict        string // empty if no rule was broken
	Hash           uint64
	Nodes, Clients int
	Virtual        time.Duration
	Datagrams      uint64
	Hops, Requests float64
	Rows           []sim.Row

	took      time.Duration
	processor time.Duration
	resident  int64 // bytes at most, 0 where the system does not say
}

// play plays a world in this process.
func play(text string, out io.Writer) error {
	var w world
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		return fmt.Errorf("no world: %w", err)
	}
	if !exists(w) {
		return fmt.Errorf("no scenario %q", w.Scenario)
	}
	debug.SetGCPercent(300) // as dhtprom-sim does
	o := sim.Options{Scenario: w.Scenario, Seed: 1, Nodes: w.Nodes, Clients: w.Clients, For: w.For}
	if sim.Find(w.Scenario).Large {
		o.Progress = hugepages.While(w.Nodes, nil)
	}
	pool := parallel.New()
	defer pool.Close()
	o.Parallel = pool.Run
	r, err := sim.Run(o)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(outcome{
		Verdict: r.Verdict(), Hash: r.Hash, Nodes: r.Options.Nodes, Clients: r.Options.Clients, Virtual: r.Virtual,
		Datagrams: r.Stats.Sent, Hops: r.Hops, Requests: r.Requests, Rows: r.Rows,
	})
}

func exists(w world) bool { return sim.Find(w.Scenario) != nil }

// measure has a build of this command play a world.
func (w world) measure(build string) (o outcome, err error) {
	text, err := json.Marshal(w)
	if err != nil {
		return o, err
	}
	child := exec.Command(build, "-play", string(text))
	child.Stderr = os.Stderr
	began := time.Now()
	result, err := child.Output()
	took := time.Since(began)
	if err != nil {
		return o, fmt.Errorf("%s of %s: %w", w.Scenario, build, err)
	}
	if err := json.Unmarshal(result, &o); err != nil {
		return o, fmt.Errorf("%s of %s: %w", w.Scenario, build, err)
	}
	if o.Verdict != "" {
		return o, errors.New(o.Verdict)
	}
	o.took, o.processor = took, child.ProcessState.UserTime()+child.ProcessState.SystemTime()
	o.resident = resident(child.ProcessState)
	return o, nil
}

// row returns what a scenario has reported under a name.
func (o *outcome) row(name string) string {
	for _, r := range o.Rows {
		if r.Name == name {
			return r.Value
		}
	}
	return ""
}

// worlds prints the table of large worlds, with a ratio where there are two builds.
func (set *settings) worlds(out io.Writer, builds []string) error {
	list := worlds
	if set.large {
		list = slices.Concat(worlds, largeWorlds)
	}
	compared, line := "", ""
	if len(builds) > 1 {
		compared, line = " the other build | ratios | same events |", "---|---|---|"
	}
	fmt.Fprintf(out, "| nodes | clients | virtual time | datagrams | time, processor |%s memory | hops | requests per lookup | lookups |\n|---|---|---|---|---|%s---|---|---|---|\n", compared, line)
	for _, w := range list {
		runs := make([][]outcome, len(builds))
		for range set.runs {
			for i, build := range builds {
				o, err := w.measure(build)
				if err != nil {
					return err
				}
				runs[i] = append(runs[i], o)
			}
		}
		o := median(runs[0])
		fmt.Fprintf(out, "| %d | %d | %v | %d | %s |", o.Nodes, o.Clients, o.Virtual.Round(time.Second), o.Datagrams, o.times())
		if len(builds) > 1 {
			other := median(runs[1])
			fmt.Fprintf(out, " %s | %.2f, %.2f | %t |", other.times(), ratio(other.took, o.took), ratio(other.processor, o.processor), other.Hash == o.Hash)
		}
		fmt.Fprintf(out, " %d MB | %.2f | %.1f | %s |\n", o.resident>>20, o.Hops, o.Requests, o.row("lookups"))
	}
	return nil
}

// times returns the time that a run took, and that of the processors.
func (o *outcome) times() string {
	return fmt.Sprintf("%.1f s, %.1f s", o.took.Seconds(), o.processor.Seconds())
}

func ratio(other, own time.Duration) float64 { return float64(other) / float64(own) }

// median returns a run with the median of both times.
func median(runs []outcome) outcome {
	slices.SortFunc(runs, func(a, b outcome) int { return cmp.Compare(a.processor, b.processor) })
	processor := runs[len(runs)/2].processor
	slices.SortFunc(runs, func(a, b outcome) int { return cmp.Compare(a.took, b.took) })
	o := runs[len(runs)/2]
	o.processor = processor
	return o
}

// others prints what the other scenarios report.
func (set *settings) others(out io.Writer, self string) error {
	list := others
	if set.large {
		list = slices.Concat(others, largeOthers)
	}
	for _, w := range list {
		o, err := w.measure(self)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\n| %s, %d nodes, %d clients | %.1f s of the processor, %d MB |\n|---|---|\n", w.Scenario, o.Nodes, o.Clients, o.processor.Seconds(), o.resident>>20)
		for _, r := range o.Rows {
			fmt.Fprintf(out, "| %s | %s |\n", r.Name, strings.ReplaceAll(r.Value, "|", "\\|"))
		}
	}
	return nil
}
