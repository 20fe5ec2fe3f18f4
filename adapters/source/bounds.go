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
		{
			Name: "source.maxGzipExcess", What: "compressed answer of an exporter, beyond four times the metrics in it so far",
			Scope: bound.PerAttempt, Limit: bound.Bytes(maxGzipExcess), Policy: bound.AnswerFail,
			Reason: "blocks and members without text cost CPU time and may never end; exporters that flush after each line stay below",
		},
	}
}
