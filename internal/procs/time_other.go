//go:build !unix && !windows

package procs

import "time"

// measurable reports whether processorTime works.
const measurable = false

func processorTime() time.Duration { return 0 }
