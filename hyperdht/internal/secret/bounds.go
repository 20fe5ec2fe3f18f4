package secret

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on encrypted frames.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "secret.MaxMessage", What: "message of an encrypted stream",
			Scope: bound.PerPacket, Limit: bound.Bytes(MaxMessage), Policy: bound.End,
			Reason:  "the length of a frame has 24 bits",
			Counter: "dhtprom_connections_broken_total",
		},
	}
}
