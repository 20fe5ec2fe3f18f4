package rpc

// countedCommands are the internal commands with counters of their own (dht-rpc lib/io.js).
const countedCommands = 4

// Stats counts what an endpoint did since it was made.
type Stats struct {
	Queries struct{ Active, Total uint64 }
	// Requests are ours: Active wait for an answer, Timeouts had none after all retries.
	Requests struct{ Active, Total, Responses, Timeouts, Retries uint64 }
	// Commands are our internal requests by command (wire.CmdPing...), and their answers.
	Commands [countedCommands]struct{ Sent, Received uint64 }
	// Received are well-formed messages.
	Received struct{ Requests, Responses uint64 }
	// Dropped are datagrams that nothing was done with, by reason.
	Dropped struct {
		Unusable   uint64 // too short, no RPC message, or from an address that cannot be answered
		Malformed  uint64
		Unexpected uint64 // responses that nobody waits for
		Busy       uint64 // delayed pings above our limit
		Limited    uint64 // requests of a host beyond its pace
	}
}

// Stats are the counters so far.
func (e *Endpoint) Stats() Stats { return e.stats }
