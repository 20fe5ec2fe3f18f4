package stream

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on closed streams.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "stream.maxLingering", What: "closed streams that repeat their last acknowledgement",
			Scope: bound.InAll, Limit: bound.Count(maxLingering), Policy: bound.DropOldest,
			Reason: "30 s of 34 closing connections a second",
		},
	}
}
