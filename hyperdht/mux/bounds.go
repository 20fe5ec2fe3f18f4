package mux

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on channels.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "mux.MaxName", What: "protocol name or id of a channel",
			Scope: bound.PerPacket, Limit: bound.Bytes(MaxName), Policy: bound.RefuseNew,
			Reason: "names in use have a few dozen bytes",
		},
		{
			Name: "mux.MaxChannels", What: "channels of one side",
			Scope: bound.PerConnection, Limit: bound.Count(MaxChannels), Policy: bound.RefuseNew,
			Reason: "the clients and scrapers of this project use three",
		},
		{
			Name: "mux.maxNumbers", What: "channel numbers of one side",
			Scope: bound.PerConnection, Limit: bound.Count(maxNumbers), Policy: bound.End,
			Reason: "they outrun the channels when opens are sent faster than rejections come back",
		},
		{
			Name: "mux.maxOffers", What: "opens that wait for a handler that holds them",
			Scope: bound.PerConnection, Limit: bound.Count(maxOffers), Policy: bound.RefuseNew,
			Reason: "a handler holds one",
		},
		{
			Name: "mux.maxHeld", What: "bytes for channels that are not paired yet",
			Scope: bound.PerConnection, Limit: bound.Bytes(maxHeld), Policy: bound.End,
			Reason: "a pause stops everything but the rest of the frame at hand",
		},
		{
			Name: "mux.maxNesting", What: "batches inside batches",
			Scope: bound.PerPacket, Limit: bound.Count(maxNesting), Policy: bound.End,
			Reason: "each level is a recursion",
		},
	}
}
