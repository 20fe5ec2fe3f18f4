package earlier

import "time"

// Chosen by us.
const (
	// Commit is the version before: the last one without the channel for scrapes.
	Commit = "14b495f479e51fbd4259e03c5fcd97f42c7ab252"
	// buildTimeout bounds the build of the programs.
	buildTimeout = 5 * time.Minute
)
