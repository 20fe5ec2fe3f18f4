package nat

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on samples of our address.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "nat.maxResponders", What: "responders that one NAT classification remembers",
			Scope: bound.PerAttempt, Limit: bound.Count(maxResponders), Policy: bound.Ignore,
			Reason: "a socket is classified by a handful",
		},
	}
}
