// Command dhtprom-sim plays the scenarios of package sim: one of them or all, with any seed, size and length.
//
//	go run ./sim/cmd/dhtprom-sim                                          list the scenarios
//	go run ./sim/cmd/dhtprom-sim -scenario chaos -seed 7 -report report.html
//	go run ./sim/cmd/dhtprom-sim -scenario all -seed random -seeds 20     look for unknown failures
//
// It exits with status 1 if a rule was broken, and prints the line that replays the run, and with status 2 if the options
// are invalid.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/sim"
	"github.com/dhtprom/dhtprom/sim/hugepages"
	"github.com/dhtprom/dhtprom/sim/parallel"
)

func main() { os.Exit(start(os.Args[1:], os.Stdout, os.Stderr)) }

// start runs the program and returns its exit status.
func start(args []string, out, terminal io.Writer) int {
	set, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		usage(out)
		return 0
	}
	if err == nil {
		err = set.run(out, terminal)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(terminal, "dhtprom-sim:", strings.ReplaceAll(err.Error(), "\n", "\ndhtprom-sim: "))
	if errors.As(err, new(broken)) {
		return 1
	}
	return 2
}

// broken is the error of runs that broke a rule.
type broken struct{ failed, runs int }

func (b broken) Error() string { return fmt.Sprintf("%d of %d runs broke a rule", b.failed, b.runs) }

func (set *settings) run(out, terminal io.Writer) (err error) {
	if set.scenario == "" {
		list(out)
		return nil
	}
	runs, err := set.runs()
	if err != nil {
		return err
	}
	// The heap of a large world grows once and stays: collecting it less often is worth the memory. Set GOGC where memory
	// is short.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(300)
	}
	if set.random {
		fmt.Fprintf(out, "seeds from %d\n", set.seed)
	}
	// Open all output files now, so that an error does not show only after an hour.
	report, err := opened(set.report)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, report.Close()) }()
	stop, err := set.profile()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	var results []*sim.Result
	failed := 0
	for _, o := range runs {
		r, err := set.play(o, len(runs) > 1, out, terminal)
		if err != nil {
			return err
		}
		results = append(results, r)
		if !r.OK() {
			failed++
		}
	}
	if report != nil {
		if err := sim.WritePage(report, results); err != nil {
			return err
		}
	}
	if failed > 0 {
		return broken{failed, len(runs)}
	}
	return nil
}

// play runs one scenario and shows its result.
func (set *settings) play(o sim.Options, many bool, out, terminal io.Writer) (*sim.Result, error) {
	trace, err := opened(named(set.trace, o, many))
	if err != nil {
		return nil, err
	}
	capture, err := opened(named(set.capture, o, many))
	if err != nil {
		return nil, errors.Join(err, trace.Close())
	}
	// A nil *file is not a nil io.Writer.
	if trace != nil {
		o.Trace = trace
	}
	if capture != nil {
		o.Capture = capture
	}
	screen := newScreen(terminal)
	if screen != nil {
		o.Progress = screen.progress(o)
	}
	if s := sim.Find(o.Scenario); s.Large {
		o.Progress = hugepages.While(cmp.Or(o.Nodes, s.Nodes), o.Progress)
	}
	pool := parallel.New()
	defer pool.Close()
	o.Parallel = pool.Run
	var stack []byte
	o.OnPanic = func(any) { stack = debug.Stack() }
	weight := newScale(&o)
	began := time.Now()
	r, err := sim.Run(o)
	took := time.Since(began)
	screen.clear()
	if err := errors.Join(err, trace.Close(), capture.Close()); err != nil {
		return nil, err
	}
	r.Rows = append(r.Rows, weight.rows(r, took)...)
	if set.text {
		fmt.Fprint(out, r.Transcript)
	}
	if err := sim.WriteTable(out, r); err != nil {
		return nil, err
	}
	if r.OK() {
		return r, nil
	}
	if stack != nil {
		fmt.Fprintf(terminal, "%s\n", stack)
	}
	fmt.Fprintf(out, "replay: %s  # at commit %s\n", r.Options.Command(), commit())
	fmt.Fprintf(out, "for sim/testdata/seeds.txt: %s\n", r.Options.SeedLine(r.Failures[0].Check))
	if set.shrink {
		set.smallest(r, out, terminal)
	}
	return r, nil
}

// smallest shrinks a run that failed.
func (set *settings) smallest(r *sim.Result, out, terminal io.Writer) {
	small := sim.Shrink(r, func(o sim.Options, broken bool) {
		verdict := "passes, or fails otherwise"
		if broken {
			verdict = "fails in the same way"
		}
		fmt.Fprintf(terminal, "  %s: %s\n", verdict, o.Command())
	})
	fmt.Fprintf(out, "smallest: %s  # %v\n", small.Options.Command(), small.Story(r))
}

// commit returns the git commit of the tree, if known.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
