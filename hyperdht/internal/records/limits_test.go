package records

import (
	"testing"
	"time"
)

// What is not set has the default: no limit at all would be what a forgotten field means otherwise.
func TestLimitsThatAreNotSetAreTheDefaults(t *testing.T) {
	for _, tc := range []struct {
		name           string
		cfg            Config
		entries, bytes int
		age, valueAge  time.Duration
	}{
		{"nothing", Config{}, defaultMaxEntries, defaultMaxValueBytes, defaultMaxAge, defaultMaxValueAge},
		{"entries", Config{MaxEntries: 1}, 1, defaultMaxValueBytes, defaultMaxAge, defaultMaxValueAge},
		{"age", Config{MaxAge: 1}, defaultMaxEntries, defaultMaxValueBytes, 1, 1},
		{"bytes", Config{MaxValueBytes: 1}, defaultMaxEntries, 1, defaultMaxAge, defaultMaxValueAge},
	} {
		entries, values := tc.cfg.limits()
		if entries != (limits{entries: tc.entries, age: tc.age}) || values != (limits{max(tc.entries/2, 1), tc.bytes, tc.valueAge}) {
			t.Errorf("%s: entries %+v, values %+v", tc.name, entries, values)
		}
	}
}
