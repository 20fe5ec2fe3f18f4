package stun

import (
	"strconv"

	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on STUN.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "stun.sourceRate", What: "requests to our STUN server",
			Scope: bound.PerSender, Limit: bound.Limit(strconv.Itoa(sourceRate) + " per s"), Policy: bound.DropNew,
			Reason: "a hundred clients behind one NAT that start at once",
		},
		{
			Name: "stun.totalRate", What: "requests to our STUN server",
			Scope: bound.InAll, Limit: bound.Limit(strconv.Itoa(totalRate) + " per s"), Policy: bound.DropNew,
			Reason: "a few per cent of a core",
		},
		{
			Name: "stun.maxSources", What: "senders told apart in a second",
			Scope: bound.InAll, Limit: bound.Count(maxSources), Policy: bound.DropNew,
			Reason: "a second of clients",
		},
		{
			Name: "stun.maxTransactions", What: "requests that wait for answers",
			Scope: bound.InAll, Limit: bound.Count(maxTransactions), Policy: bound.AnswerFail,
			Reason: "a scraper that is dialled by a thousand clients at once has as many sockets to ask for",
		},
		{
			Name: "stun.maxMessage", What: "message that is looked at",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxMessage), Policy: bound.DropNew,
			Reason: "RFC 8489 guarantees less",
		},
	}
}
