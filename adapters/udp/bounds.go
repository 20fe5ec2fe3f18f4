package udp

import (
	"github.com/dhtprom/dhtprom/ports/bound"
)

// Bounds lists the limits on datagrams.
func Bounds() []bound.Bound {
	return []bound.Bound{
		{
			Name: "udp.maxDatagram", What: "datagram",
			Scope: bound.PerPacket, Limit: bound.Bytes(maxDatagram), Policy: bound.DropNew,
			Reason: "no datagram of the protocol is larger than an Ethernet frame",
		},
		{
			Name: "udp.readBuffer", What: "datagrams that the loop has not read, of each socket",
			Scope: bound.InAll, Limit: bound.Bytes(readBuffer), Policy: bound.DropNew,
			Reason: "8 ms at 1 Gbit/s; the kernel may grant less",
		},
		{
			Name: "udp.bulkBuffer", What: "datagrams that the loop has not read, of each of the eight sockets that had bursts",
			Scope: bound.InAll, Limit: bound.Bytes(bulkBuffer), Policy: bound.DropNew,
			Reason: "20 peers send 1 MB each at the same time; the kernel may grant less",
		},
	}
}
