package dhtnet

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits of listeners.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "dhtnet.maxBacklog", What: "connections that the program has not accepted",
			Scope: bound.InAll, Limit: bound.Count(maxBacklog), Policy: bound.CloseLimited,
			Reason: "as the backlog of a TCP listener",
		},
	}
}
