package rpc

import "github.com/dhtprom/dhtprom/hyperdht/internal/kad"

// Sizes calls tell with the size and limit of each collection that grows with the actions of other nodes.
func (e *Endpoint) Sizes(tell func(what string, held, most int)) {
	tell("requests under way", e.calls.table.n, maxCalls)
	tell("deadlines of requests", len(e.calls.table.deadlines), e.calls.table.n)
	tell("requests that wait", e.calls.queue.len(), maxCalls) // some of them have been given up meanwhile
	tell("delayed answers", len(e.answering.delayed), maxDelayedPings)
	tell("hosts whose requests are counted", e.answering.requests.len(e.h.Now()), maxPacedHosts)
	tell("hosts whose answers by servers are counted", e.answering.own.len(e.h.Now()), maxPacedHosts)
	tell("nodes in the table", e.nodes.table.Len(), 256*kad.K)
	tell("nodes", e.nodes.list.Len(), e.nodes.table.Len())
	tell("nodes without an id", len(e.address.unnamed), max(1, len(e.cfg.Bootstrap)))
	tell("own addresses", len(e.nodes.self), maxSelf)
	tell("former nodes", len(e.nodes.former), maxFormer)
	if t := e.calls.adaptive; t != nil {
		tell("round trips", len(t.young)+len(t.old), 2*adaptiveSize)
	}
}
