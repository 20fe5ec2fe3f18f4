// Package udx is the UDX transport as a pure machine: one Machine is one end of one stream.
//
// A Machine never reads a clock, owns no socket and starts nothing. Its owner carries the datagrams and
// the time:
//
//	datagram ──► ParsePacket ──► Receive(now) ─┐
//	timer    ──────────────────► Advance(now) ─┤     Owner: Transmit, Data, Ended, Message, Drain, ...
//	user     ──► Write, End, ChangeRemote, ... ├──►  Flush(now) once per turn, then NextDeadline
//
// Receive handles one packet and reports in-order data at once. Everything that leaves, and the report
// of the end of the stream, waits for Flush: acknowledgements of a batch merge into one packet, and
// writes of one turn share packets.
//
// # Life of a stream
//
//	CREATED ──Connect──► CONNECTED ──End, all acked──► local side done ─┐
//	                         └──END consumed, acked, reported──► remote side done ─┴─► closed, nil
//	DESTROY received ─► closed, ErrReset      7 expiries without progress ─► closed, ErrTimeout
//	large packets get lost, small ones arrive ─► closed, BlackHoleError, and the peer is told
//
// # Order of reading
//
// packet.go is the format, machine.go the state and what a user does to it, receive.go the order in
// which a packet is looked at, ack.go what an acknowledgement does, send.go what may leave and when,
// loss.go RACK, tail-loss probes and timeouts, mtu.go and blackhole.go the size of packets, bbr.go
// the congestion controller.
//
// The numbers in brackets in comments (§) are sections of spec/udx.md.
package udx
