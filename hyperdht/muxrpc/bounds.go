package muxrpc

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on calls.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "muxrpc.MaxRunning", What: "requests of the other side under way",
			Scope: bound.PerConnection, Limit: bound.Count(MaxRunning), Policy: bound.AnswerFail,
			Reason: "a scraper has 64 scrapes of one client under way",
		},
		{
			Name: "muxrpc.MaxUnread", What: "responses sent after the connection asked for a break",
			Scope: bound.PerConnection, Limit: bound.Count(MaxUnread), Policy: bound.End,
			Reason: "a caller that asks on and reads nothing",
		},
		{
			Name: "muxrpc.MaxUnreadBytes", What: "bytes of those responses",
			Scope: bound.PerConnection, Limit: bound.Bytes(MaxUnreadBytes), Policy: bound.End,
			Reason: "four of the largest pages",
		},
		{
			Name: "muxrpc.MaxValue", What: "value of a response",
			Scope: bound.PerPacket, Limit: bound.Bytes(MaxValue), Policy: bound.AnswerFail,
			Reason: "what fits a frame",
		},
		{
			Name: "muxrpc.maxText", What: "text of an error",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxText), Policy: bound.Cut,
			Reason: "reasons have a line",
		},
		{
			Name: "muxrpc.maxQuoted", What: "unknown method that is quoted back",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxQuoted), Policy: bound.Cut,
			Reason: "names in use have a few bytes",
		},
	}
}
