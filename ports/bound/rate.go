package bound

import (
	"net/netip"
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

// Return gives a token back: what it was used for has turned out well.
func (b *Bucket) Return() { b.tokens = min(b.pace.Burst, b.tokens+1) }

// Wait is how long it takes until there is a token.
func (b *Bucket) Wait(now host.Instant) time.Duration {
	if !b.Empty(now) {
		return 0
	}
	return b.since.Add(b.pace.Every).Sub(now)
}

// Rates are buckets by network, of those that were seen last.
type Rates struct {
	pace    Pace
	limit   int
	buckets map[netip.Prefix]*rate
	used    list[*rate] // the least recently used first
}

// rate is the bucket of a network.
type rate struct {
	Bucket
	net  netip.Prefix
	item Item[*rate]
}

// NewRates remembers the buckets of at most limit networks. One that is forgotten starts with a full bucket again.
func NewRates(limit int, p Pace) *Rates {
	return &Rates{pace: p, limit: limit, buckets: map[netip.Prefix]*rate{}}
}

// Of is the bucket of a network, until the next call.
func (r *Rates) Of(now host.Instant, net netip.Prefix) *Bucket {
	k := r.buckets[net]
	if k == nil {
		if len(r.buckets) >= r.limit {
			oldest := r.used.first.Value
			r.used.remove(&oldest.item)
			delete(r.buckets, oldest.net)
		}
		k = &rate{Bucket: *NewBucket(now, r.pace), net: net}
		k.item.Value = k
		r.buckets[net] = k
	} else {
		r.used.remove(&k.item)
	}
	r.used.push(&k.item)
	return &k.Bucket
}

// Len is how many networks are remembered.
func (r *Rates) Len() int { return len(r.buckets) }
