package dhtnet

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits of listeners and connections.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "dhtnet.maxBacklog", What: "connections that the program has not accepted",
			Scope: bound.InAll, Limit: bound.Count(maxBacklog), Policy: bound.CloseLimited,
			Reason: "as the backlog of a TCP listener",
		},
		{
			Name: "dhtnet.maxUnordered", What: "unordered messages that the program has not received",
			Scope: bound.PerConnection, Limit: bound.Count(maxUnordered), Policy: bound.DropNew,
			Reason: "as the buffer of a UDP socket: up to 2 kB each",
		},
	}
}
