package etcd

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on changes that wait for the store.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "etcd.maxQueue", What: "changes that wait for the group's store",
			Scope: bound.InAll, Limit: bound.Count(maxQueue), Policy: bound.AnswerFail,
			Reason: "far above the limits of the registration service",
		},
		{
			Name: "etcd.maxChunks", What: "chunks of 256 KiB of a set that is written to the group's store",
			Scope: bound.PerKey, Limit: bound.Count(maxChunks), Policy: bound.AnswerFail,
			Reason: "5,000 targets take 2 MiB; one transaction removes all chunks",
		},
	}
}
