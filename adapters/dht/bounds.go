package dht

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on connections that have yet to open and on messages.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "dht.maxUnopened", What: "connections that have yet to prove that a peer is there, of each server",
			Scope: bound.InAll, Limit: bound.Count(maxUnopened), Policy: bound.RefuseNew,
			Reason: "as many as handshakes",
		},
		{
			Name: "dht.openPatience", What: "time for that proof",
			Scope: bound.PerConnection, Limit: bound.Time(openPatience), Policy: bound.End,
			Reason: "a healthy peer's first packet, retransmissions included, arrives well within this",
		},
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
