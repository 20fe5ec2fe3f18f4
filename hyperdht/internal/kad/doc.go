// Package kad holds the pure parts of the DHT's routing: the table of known nodes and the order in
// which they were last heard from, the nearest-so-far list of a lookup, round trip tokens, the health
// of the network as one node sees it, and classes of addresses.
//
// Nothing here does I/O. Time is an argument: ticks are the node's 5 s maintenance ticks, instants
// come from the host.
//
//	          Table                              List
//	bucket i: nodes that share i leading    oldest ⇄ … ⇄ latest
//	bits with our id, sorted by id          (order of the last packet)
//
// A Node is usually in both: the table finds the nodes near a target, the list those to check
// (oldest first) and those that are surely alive (latest first).
package kad
