package source

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on collections.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "source.maxRunning", What: "concurrent collections of a source",
			Scope: bound.InAll, Limit: bound.Count(maxRunning), Policy: bound.AnswerFail,
			Reason: "more accumulate only when a source ignores its deadline",
		},
	}
}
