package domain

import "time"

// StoreDamage is damage of the alias store that was found and repaired. Readable records are in use; clients whose aliases were
// unreadable register again.
type StoreDamage struct {
	At        time.Time // when it was reported
	Kept      string    // name of the damaged file; empty if none was kept
	Recovered int       // records that were read
	Problems  []string  // descriptions of the damage
}
