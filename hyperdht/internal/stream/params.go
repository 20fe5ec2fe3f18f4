package stream

import "time"

// Our choice; peers cannot tell.
const (
	// lingerTime is how long a cleanly closed stream repeats its last acknowledgement. The reference
	// gives up on an unanswered END after 13 s (spec/udx.md §18.1).
	lingerTime = 30 * time.Second
	// maxLingering bounds the closed streams remembered; the oldest go first.
	maxLingering = 1024
)
