// Package rpc is a node of the DHT below its applications: dht-rpc 6.27.0 on a host.
//
// An Endpoint owns two sockets and everything that lives on them: requests and their retries, the
// routing table, tokens, the sampling of its own address, and the life cycle below.
//
//	    ┌──────────────── wake-up: clock jump, resume, new address ───────────────┐
//	    ▼                                                                         │
//	ephemeral ── stable for 20 min, one public address, server port reachable ──▶ persistent
//	(no id, in nobody's table)                                    (id = hash of its address)
//
//	firewalled ── probe: nodes reach the server socket ──▶ not firewalled
//	(main socket: client)                                  (main socket: server)
//
// Configured modes shorten this: Ephemeral pins the node, Persistent probes at once while bootstrapping,
// a preset PublicAddr needs no probe at all.
//
// A Call is one request, retransmitted until it is answered, a Query an iterative lookup made of calls,
// a Session a set of calls that end together:
//
//	         room in the window                response
//	queued ─────────────────────▶ in flight ─────────────▶ done
//	   ▲                              │ timeout, retries left
//	   └──────────────────────────────┘ (none left: failed)
//
// Callbacks are never called inside the call that registers them. Those that report a failure caused by
// the caller (Cancel, Close, Suspend) run at the end of the turn.
package rpc
