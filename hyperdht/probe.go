package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/ports/host"
)

// AddressProbe asks responders other than DHT nodes for the addresses of the node's sockets, over those sockets: STUN
// servers, for instance. Their answers count like those of DHT nodes, so that a node knows its address and its NAT
// even if there are fewer than three DHT nodes. All methods are called on the loop.
type AddressProbe interface {
	// Bind passes the sockets that the node has bound, when it starts and when it resumes. Earlier ones are
	// closed.
	Bind(server, client host.Socket)
	// Receive is called for each datagram of the node's sockets, those for hole punching included, that belongs to no
	// known stream; datagrams that begin like messages of the DHT may be left out. It returns true if it has consumed the
	// datagram, and must be fast otherwise; b is borrowed until the turn ends.
	Receive(s host.Socket, from netip.AddrPort, b []byte) bool
	// Probe asks for the public address of s. It calls seen with our address and the responder for each answer, and done after
	// the last one; neither before it returns, nor after cancel. Further calls of cancel, and calls after done, have no
	// effect.
	Probe(s host.Socket, seen func(addr, from netip.AddrPort), done func()) (cancel func())
}

// bound passes the current sockets to the address probe.
func (n *Node) bound() {
	if server := n.rpc.ServerSocket(); n.cfg.Probe != nil && server != nil {
		n.cfg.Probe.Bind(server, n.rpc.ClientSocket())
	}
}
