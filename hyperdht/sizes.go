package hyperdht

import "github.com/dhtprom/dhtprom/hyperdht/internal/peering"

// Unbounded is the most of what only the application bounds.
const Unbounded = peering.Unbounded

// Sizes tells how much the node holds in everything that grows with what others do, and how much of it there may be at
// most: a named limit, or the size of what bounds it. It is for those who look for leaks; names may change.
func (n *Node) Sizes(tell func(what string, held, most int)) {
	n.peers.Sizes(tell)
	n.rpc.Sizes(tell)
	n.streams.Sizes(tell)
	n.store.Sizes(tell)
}
