package hyperdht

import (
	"time"

	"github.com/dhtprom/dhtprom/hyperdht/internal/peering"
)

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

// Faults calls tell with each mistake of this package that shows in its states: an object that has been in a state for longer
// than the limit of that state and slack, or a transition that it must not make. It is for tests; the texts may change.
func (n *Node) Faults(slack time.Duration, tell func(what string)) { n.peers.Faults(slack, tell) }
