package source

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on collections.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "source.maxRunning", What: "collections of a source under way",
			Scope: bound.InAll, Limit: bound.Count(maxRunning), Policy: bound.AnswerFail,
			Reason: "more pile up only when a source does not end at its deadline",
		},
	}
}
