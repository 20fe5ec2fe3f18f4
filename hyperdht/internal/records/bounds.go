package records

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on what a DHT node stores for others; two generations of each.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "records.defaultMaxEntries", What: "announced servers, topic records, bumps and refreshes, in each generation",
			Scope: bound.InAll, Limit: bound.Count(defaultMaxEntries), Policy: bound.DropOldest,
			Reason: "as in the JavaScript",
		},
		{
			Name: "records.defaultMaxValueBytes", What: "mutable values, and immutable ones, in each generation",
			Scope: bound.InAll, Limit: bound.Bytes(defaultMaxValueBytes), Policy: bound.DropOldest,
			Reason: "a usual value is below 1 KiB, and then the number of entries is what binds",
		},
		{
			Name: "records.maxLookupRecords", What: "records in the answer to a lookup",
			Scope: bound.PerPacket, Limit: bound.Count(maxLookupRecords), Policy: bound.Cut,
			Reason: "as in the JavaScript",
		},
		{
			Name: "records.maxRelayAddrs", What: "relay addresses in a record",
			Scope: bound.PerPacket, Limit: bound.Count(maxRelayAddrs), Policy: bound.Cut,
			Reason: "as in the JavaScript",
		},
	}
}
