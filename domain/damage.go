package domain

import "time"

// StoreDamage is damage of the alias store that was found and repaired. What could be read is in use; clients whose
// aliases could not be read register again.
type StoreDamage struct {
	At        time.Time // when it was reported
	Kept      string    // name of the damaged file; empty if there was none to keep
	Recovered int       // records that were read
	Problems  []string  // what was wrong, in words
}
