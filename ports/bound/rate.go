package bound

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Pace is how often something may happen: Burst times at once, and once more after each Every.
type Pace struct {
	Burst int
	Every time.Duration
}

// Limit is the pace as it stands in the table of bounds.
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

// Return gives a token back: what it was used for has turned out well.
func (b *Bucket) Return() { b.tokens = min(b.pace.Burst, b.tokens+1) }

// Wait is how long it takes until there is a token.
func (b *Bucket) Wait(now host.Instant) time.Duration {
	if !b.Empty(now) {
		return 0
	}
	return b.since.Add(b.pace.Every).Sub(now)
}

// Rates are buckets by what they are counted for, of those that were seen last.
type Rates[K comparable] struct {
	pace    Pace
	limit   int
	buckets map[K]*Item[rate[K]]
	used    list[rate[K]] // the least recently used first
}

// rate is the bucket of one of those.
type rate[K comparable] struct {
	*Bucket
	key K
}

// NewRates remembers at most limit buckets. One that is forgotten is full when it comes back.
func NewRates[K comparable](limit int, p Pace) *Rates[K] {
	return &Rates[K]{pace: p, limit: limit, buckets: map[K]*Item[rate[K]]{}}
}

// Of is the bucket of k.
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

// Len is how many are remembered. Those that were used the longest ago are forgotten if they are full again, since a
// new one would be the same.
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

// Clear forgets all.
func (r *Rates[K]) Clear() {
	clear(r.buckets)
	r.used = list[rate[K]]{}
}
