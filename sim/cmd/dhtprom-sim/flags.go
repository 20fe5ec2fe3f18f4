package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/sim"
)

// settings are the parsed command line.
type settings struct {
	scenario       string
	seed           uint64
	random         bool // the seed was drawn
	seeds          int
	nodes, clients int           // 0: the scenario's
	length         time.Duration // 0: the scenario's
	drawn          bool          // draw sizes that are not given
	without        []string

	trace, capture, report    string
	cpuProfile, memoryProfile string
	shrink, text              bool
}

const everything = "all"

// count is a flag with a number from 1 on.
type count struct{ to *int }

func (c count) String() string { return "" }

func (c count) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return errors.New("it is a whole number, 1 or more")
	}
	*c.to = n
	return nil
}

// length is a flag with a positive duration.
type length struct{ to *time.Duration }

func (l length) String() string { return "" }

func (l length) Set(text string) error {
	d, err := time.ParseDuration(text)
	if _, number := strconv.ParseFloat(text, 64); err != nil && number == nil {
		return fmt.Errorf("it has a unit, such as %ss or %sm", text, text)
	}
	if err != nil || d <= 0 {
		return errors.New("it is a time such as 90s, 5m or 1h30m, longer than none")
	}
	*l.to = d
	return nil
}

// seed is a flag with a number or "random".
type seed struct{ set *settings }

func (s seed) String() string { return "" }

func (s seed) Set(text string) error {
	s.set.random = text == "random"
	if s.set.random {
		s.set.seed = uint64(time.Now().UnixMilli())
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return errors.New("it is a whole number, or random")
	}
	s.set.seed = n
	return nil
}

// kinds is a list of kinds of faults.
type kinds struct{ to *[]string }

func (k kinds) String() string { return "" }

func (k kinds) Set(text string) error {
	for kind := range strings.SplitSeq(text, ",") {
		if !slices.Contains(sim.FaultKinds(), kind) {
			return fmt.Errorf("there are %s", strings.Join(sim.FaultKinds(), ", "))
		}
		*k.to = append(*k.to, kind)
	}
	return nil
}

func flags(set *settings) *flag.FlagSet {
	f := flag.NewFlagSet("dhtprom-sim", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	f.StringVar(&set.scenario, "scenario", "", "the `name` of what to play, or all: every one that is not large")
	f.Var(seed{set}, "seed", "a `number` that decides everything that is left to chance, or random (default 1)")
	f.Var(count{&set.seeds}, "seeds", "how many seeds to play, a `number` counted up from -seed (default 1)")
	f.Var(count{&set.nodes}, "nodes", "the `number` of DHT nodes (default: the scenario's)")
	f.Var(count{&set.clients}, "clients", "the `number` of clients (default: the scenario's)")
	f.Var(length{&set.length}, "for", "how much virtual `time` the main part takes, such as 90s (default: the scenario's)")
	f.BoolVar(&set.drawn, "drawn", false, "draw sizes that are not given by seed, from the least to twice the scenario's")
	f.Var(kinds{&set.without}, "without", "the `kinds` of faults to leave out, with commas: "+strings.Join(sim.FaultKinds(), ","))
	f.BoolVar(&set.shrink, "shrink", false, "look for the smallest run that breaks the same expectation")
	f.BoolVar(&set.text, "transcript", false, "print the transcript")
	f.StringVar(&set.report, "report", "", "write a page with tables and plots to a `file.html`")
	f.StringVar(&set.trace, "trace", "", "write every delivery, drop, timer and event to a `file`, one for each run")
	f.StringVar(&set.capture, "pcap", "", "write every datagram to a `file` that Wireshark opens, one for each run")
	f.StringVar(&set.cpuProfile, "cpuprofile", "", "write where time goes to a `file` for go tool pprof")
	f.StringVar(&set.memoryProfile, "memprofile", "", "write where memory comes from to a `file` for go tool pprof")
	return f
}

func parse(args []string) (*settings, error) {
	set := &settings{seed: 1, seeds: 1}
	f := flags(set)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, fmt.Errorf("%w (-h shows all flags)", err)
	}
	if f.NArg() > 0 {
		if sim.Find(f.Arg(0)) != nil {
			return nil, fmt.Errorf("%q is no flag; try -scenario %s", f.Arg(0), f.Arg(0))
		}
		return nil, fmt.Errorf("%q is no flag (-h shows all flags)", f.Arg(0))
	}
	if set.scenario == "" && f.NFlag() > 0 {
		return nil, errors.New("what is to be played? Name it with -scenario; without any flag, all are listed")
	}
	return set, nil
}

// runs lists the runs to play, after checking their options.
func (set *settings) runs() ([]sim.Options, error) {
	names := []string{set.scenario}
	if set.scenario == everything {
		names = names[:0]
		for _, s := range sim.Scenarios() {
			if !s.Large {
				names = append(names, s.Name)
			}
		}
	}
	var runs []sim.Options
	var faults []error
	for _, name := range names {
		o := sim.Options{Scenario: name, Nodes: set.nodes, Clients: set.clients, For: set.length}
		for _, kind := range set.without {
			// Of all scenarios, only those that draw a kind leave it out.
			if set.scenario != everything || slices.Contains(sim.Find(name).Faults, kind) {
				o.Without = append(o.Without, kind)
			}
		}
		if err := o.Check(); err != nil {
			faults = append(faults, err)
			continue
		}
		for i := range set.seeds {
			o.Seed = set.seed + uint64(i)
			one := o
			if set.drawn {
				one = o.Drawn()
			}
			runs = append(runs, one)
		}
	}
	return runs, errors.Join(faults...)
}

func list(out io.Writer) {
	fmt.Fprintln(out, "Scenarios for -scenario, with the sizes that -nodes, -clients and -for change, and the least of them:")
	for _, s := range sim.Scenarios() {
		fmt.Fprintf(out, "  %-13s %s\n", s.Name, s.About)
		fmt.Fprintf(out, "  %-13s (%d nodes, %d clients, %v; least %d, %d, %v%s)\n", "", s.Nodes, s.Clients, s.For,
			s.Least.Nodes, s.Least.Clients, s.Least.For, map[bool]string{true: "; large: takes minutes"}[s.Large])
		if len(s.Faults) > 0 {
			fmt.Fprintf(out, "  %-13s (faults: %s)\n", "", strings.Join(s.Faults, ", "))
		}
	}
}

func usage(out io.Writer) {
	fmt.Fprint(out, `Plays stories of scrapers, clients and a DHT on a simulated internet, and judges them.

Usage:
  dhtprom-sim                          list the scenarios
  dhtprom-sim -scenario NAME [FLAGS]   play one of them
  dhtprom-sim -scenario all [FLAGS]    play all that are not large

Flags:
`)
	f := flags(&settings{})
	f.VisitAll(func(one *flag.Flag) {
		value, about := flag.UnquoteUsage(one)
		fmt.Fprintf(out, "  %-21s %s\n", strings.TrimSpace("-"+one.Name+" "+value), about)
	})
	fmt.Fprintln(out)
	list(out)
	fmt.Fprint(out, `
Examples:
  dhtprom-sim -scenario chaos -seed 7 -report chaos.html
  dhtprom-sim -scenario all -seed random -seeds 20
  dhtprom-sim -scenario firstscrape -transcript -pcap first.pcap
  dhtprom-sim -scenario restart -seed 3 -shrink

It ends with status 1 if a rule was broken, and with 2 if that cannot be played.
`)
}
