package kad

import "github.com/dhtprom/dhtprom/hyperdht/id"

// Nearest keeps the items nearest to a target that were offered so far, nearest first: the running
// result of a lookup (dht-rpc lib/query.js, closestReplies). The zero Nearest keeps none; Reset begins.
type Nearest[T any] struct {
	target id.Target
	k      int
	ids    []id.NodeID
	items  []T
}

// Reset makes an empty list for a target, which keeps at most k items. The memory of the former list is used again, so that what
// Items returned is not valid any more.
func (n *Nearest[T]) Reset(target id.Target, k int) {
	clear(n.items)
	n.target, n.k, n.ids, n.items = target, k, n.ids[:0], n.items[:0]
}

// Closer reports whether node would be kept: there is room, or it is nearer than the last one kept.
func (n *Nearest[T]) Closer(node id.NodeID) bool {
	return len(n.ids) < n.k || id.Closer(n.target, node, n.ids[len(n.ids)-1]) < 0
}

// Full reports whether k items are kept.
func (n *Nearest[T]) Full() bool { return len(n.ids) >= n.k }

// Len is the number of items kept.
func (n *Nearest[T]) Len() int { return len(n.ids) }

// Add offers an item. An id that is already in the list keeps its first item.
func (n *Nearest[T]) Add(node id.NodeID, item T) {
	at := len(n.ids)
	for ; at > 0; at-- {
		c := id.Closer(n.target, n.ids[at-1], node)
		if c == 0 {
			return
		}
		if c < 0 {
			break
		}
	}
	if at >= n.k {
		return
	}
	if n.ids == nil {
		n.ids, n.items = make([]id.NodeID, 0, n.k+1), make([]T, 0, n.k+1)
	}
	n.ids = append(n.ids, node)
	n.items = append(n.items, item)
	copy(n.ids[at+1:], n.ids[at:])
	copy(n.items[at+1:], n.items[at:])
	n.ids[at], n.items[at] = node, item
	if len(n.ids) > n.k {
		var none T
		n.items[n.k] = none
		n.ids, n.items = n.ids[:n.k], n.items[:n.k]
	}
}

// Items lists what is kept, nearest first. The slice is the list's own.
func (n *Nearest[T]) Items() []T { return n.items }
