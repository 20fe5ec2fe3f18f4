// Command dhtprom-sim plays the scenarios of package sim: one of them or all, with any seed, size and length.
//
//	go run ./sim/cmd/dhtprom-sim -scenario chaos -seed 7 -report report.html
//
// It ends with status 1 if a rule was broken, and prints the line that replays the run.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/sim"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "dhtprom-sim:", err)
		os.Exit(1)
	}
}

// settings are what the command line says.
type settings struct {
	sim.Options
	seeds   int
	without string
	trace   string
	capture string
	report  string
	shrink  bool
	text    bool
}

func run(args []string, out, terminal *os.File) error {
	set, err := parse(args, terminal)
	if err != nil {
		return err
	}
	if set.Scenario == "" {
		return list(out)
	}
	// The heap of a large world grows once and stays: collecting it less often is worth the memory. Who has too little
	// of that sets GOGC.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(300)
	}

	names := []string{set.Scenario}
	if set.Scenario == "all" {
		names = names[:0]
		for _, s := range sim.Scenarios() {
			if !s.Large {
				names = append(names, s.Name)
			}
		}
	}
	var results []*sim.Result
	failed := 0
	for _, name := range names {
		for i := range set.seeds {
			o := set.Options
			o.Scenario, o.Seed = name, set.Seed+uint64(i)
			r, err := set.play(o, out, terminal)
			if err != nil {
				return err
			}
			results = append(results, r)
			if !r.OK() {
				failed++
			}
		}
	}
	if set.report != "" {
		if err := writeFile(set.report, func(w io.Writer) error { return sim.WritePage(w, results) }); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d runs broke a rule", failed, len(results))
	}
	return nil
}

func parse(args []string, terminal io.Writer) (*settings, error) {
	set := &settings{}
	f := flag.NewFlagSet("dhtprom-sim", flag.ContinueOnError)
	f.SetOutput(terminal)
	f.StringVar(&set.Scenario, "scenario", "", "what to play, or `all`; without it, the scenarios are listed")
	f.Uint64Var(&set.Seed, "seed", 1, "decides everything that is left to chance")
	f.IntVar(&set.seeds, "seeds", 1, "how many seeds to play, counted up from the first")
	f.IntVar(&set.Nodes, "nodes", 0, "nodes of the DHT (default: the scenario's)")
	f.IntVar(&set.Clients, "clients", 0, "clients (default: the scenario's)")
	f.DurationVar(&set.For, "for", 0, "virtual time of the main part (default: the scenario's)")
	f.StringVar(&set.without, "without", "", "kinds of faults to leave out: "+strings.Join(sim.FaultKinds(), ","))
	f.StringVar(&set.trace, "trace", "", "write every delivery, drop, timer and event to a `file`")
	f.StringVar(&set.capture, "pcap", "", "write every datagram to a `file` that Wireshark opens")
	f.StringVar(&set.report, "report", "", "write a page with tables and plots to a `file.html`")
	f.BoolVar(&set.shrink, "shrink", false, "look for the smallest run that breaks the same rule")
	f.BoolVar(&set.text, "transcript", false, "print the transcript")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q is not a flag", f.Arg(0))
	}
	if set.without != "" {
		set.Without = strings.Split(set.without, ",")
	}
	if set.seeds < 1 || set.Nodes < 0 || set.Clients < 0 || set.For < 0 {
		return nil, fmt.Errorf("-seeds, -nodes, -clients and -for want positive numbers")
	}
	return set, nil
}

func list(out io.Writer) error {
	fmt.Fprintln(out, "Scenarios for -scenario, with the sizes that -nodes, -clients and -for change:")
	for _, s := range sim.Scenarios() {
		fmt.Fprintf(out, "  %-14s %s\n  %-14s (%d nodes, %d clients, %v)\n", s.Name, s.About, "", s.Nodes, s.Clients, s.For)
	}
	return nil
}

// play runs one scenario and shows what came of it.
func (set *settings) play(o sim.Options, out, terminal *os.File) (*sim.Result, error) {
	var closers []func() error
	open := func(name string) (io.Writer, error) {
		file, err := os.Create(name)
		if err != nil {
			return nil, err
		}
		w := bufio.NewWriterSize(file, 1<<20)
		closers = append(closers, w.Flush, file.Close)
		return w, nil
	}
	var err error
	if set.trace != "" {
		if o.Trace, err = open(set.trace); err != nil {
			return nil, err
		}
	}
	if set.capture != "" {
		if o.Capture, err = open(set.capture); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	if isTerminal(terminal) {
		o.Progress = progress(o, began, terminal)
	}
	var stack []byte
	o.OnPanic = func(any) { stack = debug.Stack() }

	r, err := sim.Run(o)
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	if o.Progress != nil {
		fmt.Fprint(terminal, "\r\033[K")
	}
	for _, f := range closers {
		if err := f(); err != nil {
			return nil, err
		}
	}
	r.Rows = append(r.Rows, cost(r, took)...)
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
	if set.shrink {
		small := sim.Shrink(r, func(o sim.Options, broken bool) {
			verdict := "passes"
			if broken {
				verdict = "fails"
			}
			fmt.Fprintf(terminal, "  %s: %s\n", verdict, o.Command())
		})
		fmt.Fprintf(out, "smallest: %s  # %v\n", small.Options.Command(), small.Failures[0])
	}
	return r, nil
}

// cost is what a run took of this machine.
func cost(r *sim.Result, took time.Duration) []sim.Row {
	events := r.Stats.Delivered + r.Stats.Timers + r.Stats.Posts + r.Stats.Dropped(0)
	rows := []sim.Row{{Name: "real time", Value: fmt.Sprintf("%v, %.0f events per second", took.Round(time.Millisecond), float64(events)/took.Seconds())}}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return append(rows, sim.Row{Name: "memory from the system", Value: fmt.Sprintf("%d MB", m.Sys>>20)})
}

// progress shows how far a run is, on one line.
func progress(o sim.Options, began time.Time, terminal io.Writer) func(sim.Progress) {
	var last time.Time
	return func(p sim.Progress) {
		if time.Since(last) < 100*time.Millisecond {
			return
		}
		last = time.Now()
		doing := p.Doing
		if len(doing) > 60 {
			doing = doing[:57] + "..."
		}
		fmt.Fprintf(terminal, "\r\033[K%s, seed %d: %v in %v, %s", o.Scenario, o.Seed, p.Now.Round(time.Second), time.Since(began).Round(time.Second), doing)
		if p.Failures > 0 {
			fmt.Fprintf(terminal, " (%d failures)", p.Failures)
		}
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func writeFile(name string, write func(io.Writer) error) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := write(file); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

// commit names the tree that was played, if git knows it.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
