package portmap

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on port mapping.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "portmap.maxMessage", What: "answer of a router",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxMessage), Policy: bound.DropNew,
			Reason: "RFC 6887 allows no longer ones",
		},
		{
			Name: "portmap.maxLifetime", What: "lifetime of a mapping, as the router states it",
			Scope: bound.InAll, Limit: bound.Time(maxLifetime), Policy: bound.Cut,
			Reason: "a day; the mapping is renewed at half of that",
		},
		{
			Name: "portmap.maxRest", What: "pause after a refusal, as the router states it",
			Scope: bound.InAll, Limit: bound.Time(maxRest), Policy: bound.Cut,
			Reason: "a router may have been configured since",
		},
	}
}
