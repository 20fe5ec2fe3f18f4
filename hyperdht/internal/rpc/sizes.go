package rpc

import "github.com/dhtprom/dhtprom/hyperdht/internal/kad"

// Sizes tells how much is held in everything that grows with what others do, and how much that may be at most.
func (e *Endpoint) Sizes(tell func(what string, held, most int)) {
	tell("requests under way", e.calls.n, maxCalls)
	tell("deadlines of requests", len(e.calls.deadlines), e.calls.n)
	tell("requests that wait", e.queue.len(), maxCalls) // some of them have been given up meanwhile
	tell("delayed answers", len(e.delayed), maxDelayedPings)
	tell("hosts whose requests are counted", e.pace.len(e.h.Now()), maxPacedHosts)
	tell("hosts whose answers by servers are counted", e.answers.len(e.h.Now()), maxPacedHosts)
	tell("nodes in the table", e.table.Len(), 256*kad.K)
	tell("nodes", e.nodes.Len(), e.table.Len())
	tell("nodes without an id", len(e.unnamed), max(1, len(e.cfg.Bootstrap)))
	tell("own addresses", len(e.self), maxSelf)
	tell("former nodes", len(e.rejoin.former), maxFormer)
	if t := e.adaptiveTimeout; t != nil {
		tell("round trips", len(t.young)+len(t.old), 2*adaptiveSize)
	}
}
