package hyperdht

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/ports/host"
)

// AddressProbe asks others than DHT nodes where they see the node's sockets, over those sockets: STUN for
// instance. What they say counts as what DHT nodes say does, so that a node knows its address and what NAT it
// is behind even where there are fewer than three DHT nodes to tell it. All methods are called on the loop.
type AddressProbe interface {
	// Bind tells the sockets that the node has bound, when it starts and when it resumes. Those before are
	// closed.
	Bind(server, client host.Socket)
	// Receive is shown each datagram of the node's sockets, those for hole punching included, that is none of a
	// known stream; what begins as messages of the DHT do may be left out. It returns true for its own, which nobody else
	// gets then. It must be quick to say no, and b is borrowed until the turn ends.
	Receive(s host.Socket, from netip.AddrPort, b []byte) bool
	// Probe asks where s is seen. It calls seen with our address and who saw it for each answer, and done when no
	// more are to come; neither before it returns. After cancel it calls nothing any more. Canceling late or
	// twice is harmless.
	Probe(s host.Socket, seen func(addr, from netip.AddrPort), done func()) (cancel func())
}

// bound tells the address probe which sockets there are now.
func (n *Node) bound() {
	if server := n.rpc.ServerSocket(); n.cfg.Probe != nil && server != nil {
		n.cfg.Probe.Bind(server, n.rpc.ClientSocket())
	}
}
