package bound

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Pace is a rate limit: Burst times at once, and once more after each Every.
type Pace struct {
	Burst int
	Every time.Duration
}

// Limit returns the pace as shown in the table of bounds.
func (p Pace) Limit() Limit {
	if p.Every < time.Second {
		return Rate(p.Burst, int(time.Second/p.Every), time.Second)
	}
	return Rate(p.Burst, 1, p.Every)
}

// Bucket holds the tokens of a pace.
type Bucket struct {
	pace   Pace
	tokens int
	since  host.Instant
}

// NewBucket returns a full bucket.
func NewBucket(now host.Instant, p Pace) *Bucket {
	return &Bucket{pace: p, tokens: p.Burst, since: now}
}

// Take uses a token and reports whether there was one.
func (b *Bucket) Take(now host.Instant) bool {
	if b.Empty(now) {
		return false
	}
	b.tokens--
	return true
}

// Empty reports whether there is no token.
func (b *Bucket) Empty(now host.Instant) bool {
	if n := int(now.Sub(b.since) / b.pace.Every); n > 0 {
		b.tokens = min(b.pace.Burst, b.tokens+n)
		b.since = b.since.Add(time.Duration(n) * b.pace.Every)
	}
	return b.tokens == 0
}

// Full reports whether it holds all its tokens.
func (b *Bucket) Full(now host.Instant) bool {
	b.Empty(now)
	return b.tokens == b.pace.Burst
}

// Return returns a token, after a use that turned out to be legitimate.
func (b *Bucket) Return() { b.tokens = min(b.pace.Burst, b.tokens+1) }

// Wait returns the time until there is a token.
func (b *Bucket) Wait(now host.Instant) time.Duration {
	if !b.Empty(now) {
		return 0
	}
	return b.since.Add(b.pace.Every).Sub(now)
}

// Rates has a bucket for each of the most recently used keys.
type Rates[K comparable] struct {
	pace    Pace
	limit   int
	buckets map[K]*Item[rate[K]]
	used    list[rate[K]] // the least recently used first
}

// rate is the bucket of one key.
type rate[K comparable] struct {
	*Bucket
	key K
}

// NewRates remembers at most limit buckets. A new or forgotten key has a full bucket.
func NewRates[K comparable](limit int, p Pace) *Rates[K] {
	return &Rates[K]{pace: p, limit: limit, buckets: map[K]*Item[rate[K]]{}}
}

// Of returns the bucket of k.
func (r *Rates[K]) Of(now host.Instant, k K) *Bucket {
	it := r.buckets[k]
	if it == nil {
		r.trim(now)
		if len(r.buckets) >= r.limit {
			r.forget(r.used.first)
		}
		it = &Item[rate[K]]{Value: rate[K]{NewBucket(now, r.pace), k}}
		r.buckets[k] = it
	} else {
		r.used.remove(it)
	}
	r.used.push(it)
	return it.Value.Bucket
}

// Len returns the number of remembered buckets. The least recently used ones are removed if they are full again, since a new one
// would be the same.
func (r *Rates[K]) Len(now host.Instant) int {
	r.trim(now)
	return len(r.buckets)
}

func (r *Rates[K]) trim(now host.Instant) {
	for it := r.used.first; it != nil && it.Value.Full(now); it = r.used.first {
		r.forget(it)
	}
}

func (r *Rates[K]) forget(it *Item[rate[K]]) {
	r.used.remove(it)
	delete(r.buckets, it.Value.key)
}

// Clear removes all.
func (r *Rates[K]) Clear() {
	clear(r.buckets)
	r.used = list[rate[K]]{}
}
