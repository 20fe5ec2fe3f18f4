package kad

// List orders nodes by when they were last heard from (npm time-ordered-set). The zero List is empty.
// A node can be in one list only.
type List struct {
	oldest, latest *Node
	n              int
}

// Len is the number of nodes.
func (l *List) Len() int { return l.n }

// Oldest is the node that has been silent for longest, nil if the list is empty.
func (l *List) Oldest() *Node { return l.oldest }

// Latest is the node that was heard from last, nil if the list is empty.
func (l *List) Latest() *Node { return l.latest }

// Has reports whether n is in the list.
func (l *List) Has(n *Node) bool {
	return n.prev != nil || n.next != nil || n == l.oldest
}

// Touch moves n to the latest end, adding it if it was not in the list.
func (l *List) Touch(n *Node) {
	l.Remove(n)
	n.prev = l.latest
	if l.latest == nil {
		l.oldest = n
	} else {
		l.latest.next = n
	}
	l.latest = n
	l.n++
}

// Remove takes n out and reports whether it was in the list.
func (l *List) Remove(n *Node) bool {
	if !l.Has(n) {
		return false
	}
	if n.prev == nil {
		l.oldest = n.next
	} else {
		n.prev.next = n.next
	}
	if n.next == nil {
		l.latest = n.prev
	} else {
		n.next.prev = n.prev
	}
	n.prev, n.next = nil, nil
	l.n--
	return true
}
