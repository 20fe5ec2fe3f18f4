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
// # Order of reading
//
// packet.go is the format, machine.go the values of a machine and the calls of a user, receive.go the order in
// which a packet is looked at, ack.go what an acknowledgement does, send.go what may leave and when,
// loss.go RACK, tail-loss probes and timeouts, mtu.go and blackhole.go the size of packets, bbr.go
// the congestion controller, states.go the tables of states.
//
// The numbers in brackets in comments (§) are sections of spec/udx.md.
//
// # States
//
// The states of a stream, of each part of its machine, of a packet and of an allowance, how long each may last, and those that may
// follow. A test compares them with the tables of the code, and with what machines do.
//
// Stream:
//
//	created    -       ──▶ connected, closed
//	           (no limit: until the user connects or destroys it)
//	connected  -       ──▶ closed
//	           (no limit: until both directions are done, it is destroyed, or a part of the machine gives up)
//	closed     -
//
// Sending direction:
//
//	open   -       ──▶ ended
//	       (no limit: until the user ends it)
//	ended  -       ──▶ done
//	       (no limit: until everything is acknowledged, or the stream closes)
//	done   -
//
// Receiving direction:
//
//	open   -       ──▶ ended
//	       (no limit: until the end of the peer is next in order)
//	ended  -       ──▶ done
//	       (no limit: until everything is read and acknowledged, and the end reported)
//	done   -
//
// Packet:
//
//	unsent        -       ──▶ in flight
//	              (no limit: until window, congestion control and pacing let it leave)
//	in flight     -       ──▶ lost, acknowledged
//	              (no limit: until it is acknowledged or found lost)
//	lost          -       ──▶ in flight, acknowledged
//	              (no limit: until it leaves again, or its acknowledgement comes late)
//	acknowledged  -
//
// Recovery:
//
//	open        -       ──▶ recovering, timed out
//	            (no limit: until a packet is found lost, or the retransmission timer expires)
//	recovering  -       ──▶ open, timed out
//	            (no limit: until everything sent before is acknowledged, or the timer expires)
//	timed out   -       ──▶ open, timed out
//	            (no limit: likewise; 7 expiries without progress close the stream)
//
// Congestion controller:
//
//	startup          -       ──▶ drain, probe RTT
//	                 (no limit: until the delivery rate grows no more)
//	drain            -       ──▶ startup, probe bandwidth, probe RTT
//	                 (no limit: until no more is in flight than the path holds)
//	probe bandwidth  -       ──▶ startup, probe RTT
//	                 (no limit: until no smaller round trip was seen for 10 s, or the path changes)
//	probe RTT        -       ──▶ startup, probe bandwidth
//	                 (no limit: a round, and 200 ms, at the smallest window)
//
// MTU search:
//
//	ready    -       ──▶ probing
//	         (no limit: until there is a packet that padding makes a probe)
//	probing  -       ──▶ ready, done
//	         (no limit: until the probe is acknowledged or lost)
//	done     -
//
// Black hole detection:
//
//	watching  -       ──▶ due
//	          (no limit: until the retransmission timer expires for a large packet)
//	due       -       ──▶ asking, watching
//	          (no limit: until the packet leaves again, or is acknowledged)
//	asking    -       ──▶ pausing, due, watching
//	          (no limit: until the packet or the heartbeat is answered, or the timer expires)
//	pausing   150ms   ──▶ due, watching
//
// Allowance:
//
//	limited    -       ──▶ validated
//	           (no limit: until the address has answered)
//	validated  -
package udx
