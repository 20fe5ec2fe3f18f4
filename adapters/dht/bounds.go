package dht

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on messages.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "dht.DefaultMaxName", What: "name in a registration that is looked at",
			Scope: bound.PerPacket, Limit: bound.Bytes(DefaultMaxName), Policy: bound.AnswerFail,
			Reason: "far above the rules for names, so that those give the reason",
		},
		{
			Name: "dht.maxMessage", What: "text of a rejection",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxMessage), Policy: bound.Cut,
			Reason: "reasons have a line",
		},
	}
}
