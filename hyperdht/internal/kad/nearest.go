package kad

import "github.com/dhtprom/dhtprom/hyperdht/id"

// Nearest keeps the items nearest to a target that were offered so far, nearest first: the running
// result of a lookup (dht-rpc lib/query.js, closestReplies).
type Nearest[T any] struct {
	target id.Target
	k      int
	ids    []id.NodeID
	items  []T
}

// NewNearest makes an empty list that keeps at most k items.
func NewNearest[T any](target id.Target, k int) Nearest[T] {
	return Nearest[T]{target: target, k: k}
}

// Closer reports whether node would be kept: there is room, or it is nearer than the last one kept.
func (l *Nearest[T]) Closer(node id.NodeID) bool {
	return len(l.ids) < l.k || id.Closer(l.target, node, l.ids[len(l.ids)-1]) < 0
}

// Full reports whether k items are kept.
func (l *Nearest[T]) Full() bool { return len(l.ids) >= l.k }

// Len is the number of items kept.
func (l *Nearest[T]) Len() int { return len(l.ids) }

// Add offers an item. An id that is already in the list keeps its first item.
func (l *Nearest[T]) Add(node id.NodeID, item T) {
	at := len(l.ids)
	for ; at > 0; at-- {
		c := id.Closer(l.target, l.ids[at-1], node)
		if c == 0 {
			return
		}
		if c < 0 {
			break
		}
	}
	if at >= l.k {
		return
	}
	if l.ids == nil {
		l.ids, l.items = make([]id.NodeID, 0, l.k+1), make([]T, 0, l.k+1)
	}
	l.ids = append(l.ids, node)
	l.items = append(l.items, item)
	copy(l.ids[at+1:], l.ids[at:])
	copy(l.items[at+1:], l.items[at:])
	l.ids[at], l.items[at] = node, item
	if len(l.ids) > l.k {
		var none T
		l.items[l.k] = none
		l.ids, l.items = l.ids[:l.k], l.items[:l.k]
	}
}

// Items lists what is kept, nearest first. The slice is the list's own.
func (l *Nearest[T]) Items() []T { return l.items }
