package exporter

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on answers of exporters.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "exporter.maxGzipExcess", What: "compressed answer of an exporter, beyond four times the metrics in it so far",
			Scope: bound.PerAttempt, Limit: bound.Bytes(maxGzipExcess), Policy: bound.AnswerFail,
			Reason: "blocks and members without text cost CPU time and may never end; exporters that flush after each line stay below",
		},
	}
}
