package sim

import (
	"slices"
	"time"
)

// The smallest worlds that shrinking tries.
const (
	fewestNodes   = 4
	fewestClients = 1
	shortest      = 5 * time.Second
)

// Shrink looks for the smallest run that still breaks the rule that a run broke first: fewer clients, nodes, seconds and
// kinds of faults. It plays many runs; tell hears of each and may be nil.
func Shrink(failed *Result, tell func(o Options, broken bool)) *Result {
	best := failed
	rule := failed.Failures[0].Check
	try := func(change func(*Options)) bool {
		o := best.Options
		o.Without = slices.Clone(o.Without)
		change(&o)
		o.Trace, o.Capture, o.Progress = nil, nil, nil
		r, err := Run(o)
		broken := err == nil && slices.ContainsFunc(r.Failures, func(f Failure) bool { return f.Check == rule })
		if tell != nil {
			tell(o, broken)
		}
		if broken {
			best = r
		}
		return broken
	}
	for progress := true; progress; {
		progress = false
		for _, kind := range FaultKinds() {
			if !best.Options.leftOut(kind) && best.faulty && try(func(o *Options) { o.Without = append(o.Without, kind) }) {
				progress = true
			}
		}
		for _, cut := range smaller(best.Options) {
			progress = try(cut) || progress
		}
	}
	return best
}

// smaller lists the steps down from a run: to a half, and by a little.
func smaller(from Options) (cuts []func(*Options)) {
	number := func(field func(*Options) *int, fewest int) {
		n := *field(&from)
		for _, less := range []int{n / 2, n - 1} {
			if less >= fewest && less < n {
				cuts = append(cuts, func(o *Options) { *field(o) = min(*field(o), less) })
			}
		}
	}
	number(func(o *Options) *int { return &o.Clients }, fewestClients)
	number(func(o *Options) *int { return &o.Nodes }, fewestNodes)
	for _, less := range []time.Duration{from.For / 2, from.For * 9 / 10} {
		if less = less.Round(time.Second); less >= shortest && less < from.For {
			cuts = append(cuts, func(o *Options) { o.For = min(o.For, less) })
		}
	}
	return cuts
}
