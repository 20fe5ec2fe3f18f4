// Package stream runs UDX streams on a host. A Table holds all streams of a node and shares the node's
// sockets with whatever else speaks on them: it is shown each datagram first and says whether it took it.
//
//	socket ─► Table.Receive ─┬─ id of a stream ────► firewall ─► relay, or udx.Machine ─► handlers
//	                         ├─ closed a moment ago ► its last acknowledgement again
//	                         └─ anything else ──────► false: foreign
//
// A stream's handlers run while a datagram or a timer is handled, or at the end of a turn; never inside
// a method of the stream. What a turn wants to send leaves at its end: one acknowledgement per stream,
// however many packets came, and writes share packets.
package stream
