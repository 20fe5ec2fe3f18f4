package rpc

// countedCommands are the internal commands with counters of their own (dht-rpc lib/io.js).
const countedCommands = 4

// Stats counts what an endpoint did since it was made. Its parts are aliases, so that it converts to the same struct of
// another package.
type Stats struct {
	Queries  QueryStats
	Requests RequestStats
	Commands CommandStats
	Received ReceivedStats
	Dropped  DroppedStats
}

// QueryStats counts lookups.
type QueryStats = struct{ Active, Total uint64 }

// RequestStats counts our requests: Active wait for an answer, Timeouts had none after all retries.
type RequestStats = struct{ Active, Total, Responses, Timeouts, Retries uint64 }

// CommandStats counts our internal requests by command (wire.CmdPing...), and their answers.
type CommandStats = [countedCommands]struct{ Sent, Received uint64 }

// ReceivedStats counts well-formed messages.
type ReceivedStats = struct{ Requests, Responses uint64 }

// DroppedStats counts datagrams that were dropped, by reason.
type DroppedStats = struct {
	Unusable   uint64 // too short, no RPC message, or from an address that cannot be answered
	Malformed  uint64
	Unexpected uint64 // responses to no request that waits
	Busy       uint64 // delayed pings above our limit
	Limited    uint64 // requests of a host beyond its pace
}

// Stats returns the counters so far.
func (e *Endpoint) Stats() Stats {
	return Stats{
		Queries: e.queries, Requests: e.calls.requests, Commands: e.calls.commands,
		Received: e.answering.received, Dropped: e.answering.dropped,
	}
}
