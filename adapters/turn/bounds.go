package turn

import "github.com/dhtprom/dhtprom/ports/bound"

// Bounds lists the limits on TURN.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "turn.maxPeers", What: "addresses of peers behind a TURN server",
			Scope: bound.InAll, Limit: bound.Count(maxPeers), Policy: bound.DropOldest,
			Reason: "those of a scraper with ten thousand clients, and its DHT nodes",
		},
		{
			Name: "turn.maxHosts", What: "permissions at a TURN server",
			Scope: bound.InAll, Limit: bound.Count(maxHosts), Policy: bound.DropOldest,
			Reason: "most peers have an IP address of their own",
		},
		{
			Name: "turn.maxPending", What: "requests to a TURN server without an answer",
			Scope: bound.InAll, Limit: bound.Count(maxPending), Policy: bound.DropNew,
			Reason: "a turn that sends to a thousand new peers asks for their permissions in 32 requests",
		},
		{
			Name: "turn.maxHeld", What: "datagrams for peers without a permission yet",
			Scope: bound.InAll, Limit: bound.Count(maxHeld), Policy: bound.DropNew,
			Reason: "the first datagrams to some peers of one turn; kept for 2 s at most",
		},
		{
			Name: "turn.maxFrame", What: "message of a TURN server",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxFrame), Policy: bound.DropNew,
			Reason: "a datagram with its headers",
		},
		{
			Name: "turn.maxDatagram", What: "payload of a datagram by a TURN server",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxDatagram), Policy: bound.DropNew,
			Reason: "larger ones would be sent in fragments",
		},
		{
			Name: "turn.maxText", What: "realm, nonce, algorithms and error text of a TURN server",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxText), Policy: bound.DropNew,
			Reason: "RFC 8489 allows 128 characters, which are 763 bytes",
		},
		{
			Name: "turn.maxBuffered", What: "datagrams on their way to a TURN server",
			Scope: bound.InAll, Limit: bound.Bytes(maxBuffered), Policy: bound.DropNew,
			Reason: "half a second at 2 Mbit/s: congestion control sees the loss",
		},
	}
}
