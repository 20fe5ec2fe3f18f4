package domain

import "time"

// Backoff is a sequence of waits between attempts: they double from Min to Max and start over after a Reset. The zero value uses
// RetryMin and RetryMax.
type Backoff struct {
	Min, Max time.Duration
	failed   int
}

// Next returns the wait after one more failure. random spreads waits over the upper half of the step, so that clients that lost
// their scraper together do not return together; the wait is never below Min nor above Max.
func (b *Backoff) Next(random uint64) time.Duration {
	low, high := b.bounds()
	step := low
	for i := 0; i < b.failed && step < high; i++ {
		step *= 2
	}
	step = min(step, high)
	if step < high {
		b.failed++
	}
	floor := max(low, step/2)
	if span := uint64(step - floor); span > 0 {
		return floor + time.Duration(random%(span+1))
	}
	return floor
}

// Reset makes the next wait the shortest one.
func (b *Backoff) Reset() { b.failed = 0 }

func (b *Backoff) bounds() (low, high time.Duration) {
	low, high = b.Min, b.Max
	if low <= 0 {
		low = RetryMin
	}
	if high <= 0 {
		high = RetryMax
	}
	return low, max(low, high)
}
