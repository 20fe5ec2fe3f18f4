package stun

import (
	"strconv"

	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on STUN.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "stun.sourceRate", What: "requests to this node's STUN server",
			Scope: bound.PerSender, Limit: bound.Limit(strconv.Itoa(sourceRate) + " per s"), Policy: bound.DropNew,
			Reason: "a hundred clients behind one NAT that start at the same time",
		},
		{
			Name: "stun.totalRate", What: "requests to this node's STUN server",
			Scope: bound.InAll, Limit: bound.Limit(strconv.Itoa(totalRate) + " per s"), Policy: bound.DropNew,
			Reason: "a few percent of a core",
		},
		{
			Name: "stun.maxSources", What: "senders counted in a second",
			Scope: bound.InAll, Limit: bound.Count(maxSources), Policy: bound.DropNew,
			Reason: "the clients of one second",
		},
		{
			Name: "stun.maxTransactions", What: "pending requests",
			Scope: bound.InAll, Limit: bound.Count(maxTransactions), Policy: bound.AnswerFail,
			Reason: "a scraper that a thousand clients dial at the same time probes as many sockets",
		},
		{
			Name: "stun.maxMessage", What: "message",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxMessage), Policy: bound.DropNew,
			Reason: "RFC 8489 guarantees less",
		},
	}
}
