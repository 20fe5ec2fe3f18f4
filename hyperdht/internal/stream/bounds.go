package stream

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on closed streams.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "stream.MaxConfined", What: "memory for a peer that has proven nothing: packets out of order or not acknowledged, a message's beginning, objects",
			Scope: bound.PerConnection, Limit: bound.Bytes(MaxConfined), Policy: bound.End,
			Reason:  "a registration takes ten; the beginning of a frame would take 16 MiB",
			Counter: `dhtprom_unproven_connections_closed_total{reason="memory"}`,
		},
		{
			Name: "stream.maxConfinedTotal", What: "memory for peers that have proven nothing",
			Scope: bound.InAll, Limit: bound.Bytes(maxConfinedTotal), Policy: bound.DropFullest,
			Reason:  "a thousand peers at their limit, or six thousand that register at the same time",
			Counter: `dhtprom_unproven_connections_closed_total{reason="total"}`,
		},
		{
			Name: "stream.confinedReceive", What: "memory for received packets of a peer that has proven nothing",
			Scope: bound.PerConnection, Limit: bound.Bytes(confinedReceive), Policy: bound.DropNew,
			Reason: "an initial flight of ten packets with the first one lost; what is dropped is sent again",
		},
		{
			Name: "stream.maxWays", What: "ways on which a stream sends beside its first, until one is proven",
			Scope: bound.PerConnection, Limit: bound.Count(maxWays), Policy: bound.Ignore,
			Reason: "a few addresses of a network, a punched path and a relay",
		},
		{
			Name: "stream.maxWayBytes", What: "copies of packets on such a way",
			Scope: bound.PerAttempt, Limit: bound.Bytes(maxWayBytes), Policy: bound.Ignore,
			Reason: "the first flight, and its header some dozen times; the address may be forged",
		},
		{
			Name: "stream.maxNarrow", What: "hosts to which packets of 1,200 bytes got lost",
			Scope: bound.InAll, Limit: bound.Count(maxNarrow), Policy: bound.DropOldest,
			Reason: "a home or two, and hardly any carrier",
		},
		{
			Name: "stream.maxLingering", What: "closed streams that repeat their last acknowledgement",
			Scope: bound.InAll, Limit: bound.Count(maxLingering), Policy: bound.DropOldest,
			Reason: "30 s of 34 closing connections a second",
		},
	}
}
