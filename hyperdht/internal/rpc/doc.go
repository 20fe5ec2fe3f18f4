// Package rpc is a node of the DHT below its applications: dht-rpc 6.27.0 on a host.
//
// An Endpoint owns two sockets and everything that lives on them: requests and their retries, the
// routing table, tokens, the sampling of its own address, and the life cycle below.
//
// A node is ephemeral, with no id and in no routing table, or persistent, with the hash of its address as id. Its main socket, which
// requests leave from, is the client socket while it is firewalled, else the server socket.
//
// Configured modes shorten this: Ephemeral pins the node, Persistent probes at once while bootstrapping,
// a preset PublicAddr needs no probe at all. A node whose public address is set later (SetPublicAddr) counts as reachable while it is.
//
// A Call is one request, retransmitted until it is answered, a Query an iterative lookup made of calls,
// a CallGroup a set of calls that end together.
//
// Callbacks are never called inside the call that registers them. Those that report a failure caused by
// the caller (Cancel, Close, Suspend) run at the end of the turn.
//
// # States
//
// The states of each machine, how long each may last, and those that may follow. These are the tables of the code; a test
// compares the two. A final state has no limit and no successor.
//
// Endpoint:
//
//	running    -       ──▶ suspended, closed
//	           (no limit: until the application suspends or closes it)
//	suspended  -       ──▶ running, closed
//	           (no limit: until the application resumes or closes it)
//	closed     -
//
// Role:
//
//	ephemeral   -       ──▶ persistent
//	            (no limit: until the node has been stable for 20 min, has one public address, and its server port is reachable)
//	persistent  -       ──▶ ephemeral
//	            (no limit: until the machine wakes up, the endpoint resumes, or the public address is another one)
//
// Access:
//
//	firewalled  -       ──▶ reachable
//	            (no limit: until nodes have reached the server socket that were asked to, or its address is known)
//	reachable   -       ──▶ firewalled
//	            (no limit: until the known address is withdrawn that it depends on)
//
// Call:
//
//	made       -       ──▶ held, queued, in flight, ended
//	           (no limit: is held, queued or sent in the same turn)
//	held       -       ──▶ queued, in flight, ended
//	           (no limit: until the endpoint resumes or closes)
//	queued     -       ──▶ in flight, ended
//	           (no limit: the window drains, and sends the queue)
//	in flight  -       ──▶ in flight, queued, ended
//	           (no limit: each transmission has a timeout, and so many are repeated)
//	ended      -
//
// Query:
//
//	opening     -       ──▶ asking, ended
//	            (no limit: opens at the end of the turn)
//	asking      -       ──▶ committing, ended
//	            (no limit: calls end, and each candidate is asked once)
//	committing  -       ──▶ ended
//	            (no limit: the calls of the commits end)
//	ended       -
//
// Candidate:
//
//	waiting   -       ──▶ answered, down
//	          (no limit: its call ends, or the query does)
//	answered  -
//	down      -
//
// Reach:
//
//	starting   -       ──▶ answering, silent
//	           (no limit: until bootstrapping has ended)
//	answering  -       ──▶ silent
//	           (no limit: until so many requests in a row time out, for so long)
//	silent     -       ──▶ answering
//	           (no limit: until a node answers)
//
// Rejoin:
//
//	waiting  -       ──▶ asking
//	         (no limit: counts ticks)
//	asking   -       ──▶ waiting
//	         (no limit: a call ends, and so does the lookup of a name)
package rpc
