package records

import "time"

// As in the reference implementation, though other values would not show on the wire (hyperdht index.js,
// lib/persistent.js).
const (
	// defaultMaxEntries bounds a generation of router entries, topic records, bumps or refreshes.
	defaultMaxEntries = 65536
	// defaultMaxAge is the age of those.
	defaultMaxAge = 20 * time.Minute
	// defaultMaxValueAge is the age of mutable and immutable values, of which half as many are kept.
	defaultMaxValueAge = 48 * time.Hour
	// maxLookupRecords bounds the records in the answer to a lookup.
	maxLookupRecords = 20
	// maxRelayAddrs bounds the relay addresses of a record.
	maxRelayAddrs = 3
	// maxBumpDrift bounds the lead of a bump over our wall clock, in milliseconds.
	maxBumpDrift = 60_000
)

// Chosen by us.
const (
	// defaultMaxValueBytes bounds a generation of mutable or of immutable values, which the reference implementation
	// leaves to the size of a datagram: 2×32768×64 KiB each. The usual value is below 1 KiB, and then
	// the number of entries is the limit, as in the reference implementation.
	defaultMaxValueBytes = 32 << 20
)

// Config bounds a Store. Zero fields mean the reference implementation's values.
type Config struct {
	// MaxEntries is the size of a generation of each store; values get half of it.
	MaxEntries int
	// MaxAge is the age of everything, values too.
	MaxAge time.Duration
	// MaxValueBytes bounds the bytes in a generation of mutable values, and of immutable ones.
	MaxValueBytes int
}

// limits of one pair of generations.
type limits struct {
	entries int
	bytes   int // 0 is no limit, for entries of a fixed size
	age     time.Duration
}

func (c Config) limits() (entries, values limits) {
	entries = limits{entries: defaultMaxEntries, age: defaultMaxAge}
	values = limits{bytes: defaultMaxValueBytes, age: defaultMaxValueAge}
	if c.MaxEntries > 0 {
		entries.entries = c.MaxEntries
	}
	if c.MaxAge > 0 {
		entries.age, values.age = c.MaxAge, c.MaxAge
	}
	if c.MaxValueBytes > 0 {
		values.bytes = c.MaxValueBytes
	}
	values.entries = max(entries.entries/2, 1)
	return entries, values
}
