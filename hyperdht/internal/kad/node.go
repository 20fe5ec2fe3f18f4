package kad

import (
	"net/netip"

	"github.com/dhtprom/dhtprom/hyperdht/id"
)

// Tick counts the 5 s maintenance ticks of a node. It starts at a random value above zero.
type Tick uint32

// Node is another DHT node that we know. Large simulations hold millions of them, so it is kept small.
type Node struct {
	ID id.NodeID

	addr address

	// DownHints counts how often others told us that the node is down.
	DownHints uint16

	Added   Tick // when it entered the table
	Pinged  Tick // when we last contacted it
	Seen    Tick // when we last heard from it
	Sampled Tick // when it last told us our address, 0 for never

	prev, next *Node
}

// Addr returns the address of the node.
func (n *Node) Addr() netip.AddrPort {
	return n.addr.addrPort()
}

// address is an IPv4 address and a port in six bytes.
type address struct {
	ip   [4]byte
	port uint16
}

func addressOf(a netip.AddrPort) address { return address{a.Addr().As4(), a.Port()} }

func (a address) addrPort() netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4(a.ip), a.port) }

// Older is the node that was heard from just before n, nil for the oldest.
func (n *Node) Older() *Node { return n.prev }

// Newer is the node that was heard from just after n, nil for the latest.
func (n *Node) Newer() *Node { return n.next }
