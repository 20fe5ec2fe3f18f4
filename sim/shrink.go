package sim

import (
	"slices"
	"time"
)

// Shrink looks for the smallest run that still breaks the expectation that a run broke first: fewer clients, nodes, seconds
// and kinds of faults, down to the scenario's least. Another broken expectation of the same rule does not count: the small
// size may have caused it. It plays many runs and calls tell after each; tell may be nil.
func Shrink(failed *Result, tell func(o Options, broken bool)) *Result {
	best := failed
	first := failed.Failures[0]
	s := Find(failed.Options.Scenario)
	try := func(change func(*Options)) bool {
		o := best.Options
		o.Without = slices.Clone(o.Without)
		change(&o)
		o.Trace, o.Capture, o.Progress, o.Standing = nil, nil, nil, nil
		r, err := Run(o)
		broken := err == nil && slices.ContainsFunc(r.Failures, first.same)
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
		for _, kind := range s.Faults {
			if !best.Options.leftOut(kind) && try(func(o *Options) { o.Without = append(o.Without, kind) }) {
				progress = true
			}
		}
		for _, cut := range smaller(best.Options, s.Least) {
			progress = try(cut) || progress
		}
	}
	return best
}

// smaller lists the steps down from a run: to a half, and by a little, or to the least where that is less.
func smaller(from Options, least Least) (cuts []func(*Options)) {
	number := func(field func(*Options) *int, fewest int) {
		n := *field(&from)
		for _, less := range []int{max(n/2, fewest), n - 1} {
			if less >= max(fewest, 1) && less < n {
				cuts = append(cuts, func(o *Options) { *field(o) = min(*field(o), less) })
			}
		}
	}
	number(func(o *Options) *int { return &o.Clients }, least.Clients)
	number(func(o *Options) *int { return &o.Nodes }, least.Nodes)
	for _, less := range []time.Duration{max(from.For/2, least.For), max(from.For*9/10, least.For)} {
		if less = less.Round(time.Second); less >= max(least.For, time.Second) && less < from.For {
			cuts = append(cuts, func(o *Options) { o.For = min(o.For, less) })
		}
	}
	return cuts
}

// Story returns the failure of a shrunk run that is the same as the first one of another run.
func (r *Result) Story(of *Result) Failure {
	i := slices.IndexFunc(r.Failures, of.Failures[0].same)
	return r.Failures[max(i, 0)]
}
