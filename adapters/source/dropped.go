package source

import "sync/atomic"

// Dropped counts what the rules for metric families have left out. Its methods may be called from any goroutine.
type Dropped struct{ families, samples atomic.Int64 }

// Add counts metric families and their samples.
func (d *Dropped) Add(families, samples int64) {
	d.families.Add(families)
	d.samples.Add(samples)
}

// Families is the number of metric families, counted again in each page.
func (d *Dropped) Families() int64 { return d.families.Load() }

// Samples is the number of samples of those families.
func (d *Dropped) Samples() int64 { return d.samples.Load() }

// Dropped returns the counters of the source.
func (s *Source) Dropped() *Dropped { return &s.dropped }
