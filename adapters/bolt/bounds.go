package bolt

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on changes that wait for the disk.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "bolt.maxQueue", What: "changes that wait for the disk",
			Scope: bound.InAll, Limit: bound.Count(maxQueue), Policy: bound.AnswerFail,
			Reason: "far above the limits of the registration service",
		},
		{
			Name: "bolt.maxBatch", What: "changes in one write",
			Scope: bound.InAll, Limit: bound.Count(maxBatch), Policy: bound.Wait,
			Reason: "the first of them waits for the last",
		},
	}
}
