package bound

import (
	"container/heap"
	"net/netip"
)

// Place is the position at which an object is counted: in a class, there by properties of the peer, step by step.
type Place struct {
	class int
	path  [5]branch
	depth int
	keyed int // number of steps to the share of the key
}

// branch is one step from a class to a share.
type branch struct {
	net netip.Prefix
	key [32]byte
}

// At is a place that is counted by address, and there by key. Keys are free, so they share the room of their address, and
// addresses that of their network.
func At(class int, addr netip.Addr, key [32]byte) Place {
	return Place{class, [5]branch{{net: Network(addr)}, {net: Host(addr)}, {key: key}}, 3, 3}
}

// Through is a place that is counted by the relay that names the address, then as in At: relays can invent addresses. All invalid
// relays count as one.
func Through(class int, relay, addr netip.Addr, key [32]byte) Place {
	return Place{class, [5]branch{{net: Host(relay)}, {net: Network(addr)}, {net: Host(addr)}, {key: key}}, 4, 4}
}

// Under is a place that is counted by key alone.
func Under(class int, key [32]byte) Place { return Place{class, [5]branch{{key: key}}, 1, 1} }

// UnderThrough is a place that is counted by key, then by the relay, network and address that it comes from: for packets that
// peers other than the key's holder can replay.
func UnderThrough(class int, key [32]byte, relay, addr netip.Addr) Place {
	return Place{class, [5]branch{{key: key}, {net: Host(relay)}, {net: Network(addr)}, {net: Host(addr)}}, 4, 1}
}

// For is the place of Under or UnderThrough, counted under the key by what the peer wants to reach, before the relay.
func (p Place) For(part [32]byte) Place {
	copy(p.path[p.keyed+1:], p.path[p.keyed:p.depth])
	p.path[p.keyed] = branch{key: part}
	p.depth++
	return p
}

// Network is the network that an address shares its bounds with: a /24 of IPv4, a /48 of IPv6, the usual size of a site. Invalid
// addresses share one.
func Network(a netip.Addr) netip.Prefix {
	bits := 48
	if a.Is4() || a.Is4In6() {
		a, bits = a.Unmap(), 24
	}
	p, _ := a.Prefix(bits)
	return p
}

// Host is the unit of addresses for bounds: one address of IPv4, a /64 of IPv6, whose hosts choose their addresses.
func Host(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() || a.Is4In6() {
		a, bits = a.Unmap(), 32
	}
	p, _ := a.Prefix(bits)
	return p
}

// share counts the objects of a class, network, address or key. Only those without children hold objects, by age; empty ones do
// not exist.
type share[V any] struct {
	parent *share[V]
	branch branch
	depth  int
	count  int
	born   uint64 // orders shares of the same size
	index  int    // in the parent's heap

	children map[branch]*share[V]
	fullest  heapOf[V] // the children, the fullest first, of equal ones the oldest
	items    list[V]
	turns    ring[V] // the children, in the order of their turns
	next     *share[V]
	previous *share[V]
}

// Item is an object with its place.
type Item[V any] struct {
	Value V

	share          *share[V] // nil once removed
	next, previous *Item[V]
}

// add adds an object to the share of a place, as the newest.
func (s *share[V]) add(it *Item[V], p Place, serial uint64) {
	for _, b := range p.path[:p.depth] {
		s.count++
		s.fix()
		c := s.children[b]
		if c == nil {
			c = &share[V]{parent: s, branch: b, depth: s.depth + 1, born: serial}
			if s.children == nil {
				s.children = map[branch]*share[V]{}
			}
			s.children[b] = c
			heap.Push(&s.fullest, c)
			s.turns.push(c)
		}
		s = c
	}
	s.count++
	s.fix()
	it.share = s
	s.items.push(it)
}

// remove removes an object from its share, and removes the shares that are empty then.
func (it *Item[V]) remove() {
	s := it.share
	s.items.remove(it)
	it.share = nil
	for ; s != nil; s = s.parent {
		s.count--
		if s.count == 0 && s.parent != nil {
			delete(s.parent.children, s.branch)
			heap.Remove(&s.parent.fullest, s.index)
			s.parent.turns.remove(s)
			continue
		}
		s.fix()
	}
}

func (s *share[V]) fix() {
	if s.parent != nil {
		heap.Fix(&s.parent.fullest, s.index)
	}
}

// above returns the share at a depth on the path to a leaf.
func (s *share[V]) above(depth int) *share[V] {
	for s.depth > depth {
		s = s.parent
	}
	return s
}

// size returns the number of objects of the share after some steps of a place.
func (s *share[V]) size(p Place, steps int) int {
	for _, b := range p.path[:steps] {
		if s = s.children[b]; s == nil {
			return 0
		}
	}
	return s.count
}

// fullestLeaf returns the share to evict from: the fullest key of the fullest address of the fullest network.
func (s *share[V]) fullestLeaf() *share[V] {
	for len(s.fullest) > 0 {
		s = s.fullest[0]
	}
	return s
}

// turn returns the oldest object of the share whose turn it is; each network has one, then each address in it, each key.
func (s *share[V]) turn() *Item[V] {
	for s.turns.first != nil {
		c := s.turns.first
		s.turns.remove(c)
		s.turns.push(c)
		s = c
	}
	return s.items.first
}

// heapOf is a heap of shares, the fullest on top.
type heapOf[V any] []*share[V]

func (h heapOf[V]) Len() int { return len(h) }
func (h heapOf[V]) Less(i, j int) bool {
	if h[i].count != h[j].count {
		return h[i].count > h[j].count
	}
	return h[i].born < h[j].born
}
func (h heapOf[V]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *heapOf[V]) Push(x any) {
	s := x.(*share[V])
	s.index = len(*h)
	*h = append(*h, s)
}
func (h *heapOf[V]) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}

// list is a list of items by age.
type list[V any] struct{ first, last *Item[V] }

func (l *list[V]) push(it *Item[V]) {
	it.previous, it.next = l.last, nil
	if l.last == nil {
		l.first = it
	} else {
		l.last.next = it
	}
	l.last = it
}

func (l *list[V]) remove(it *Item[V]) {
	if it.previous == nil {
		l.first = it.next
	} else {
		it.previous.next = it.next
	}
	if it.next == nil {
		l.last = it.previous
	} else {
		it.next.previous = it.previous
	}
	it.next, it.previous = nil, nil
}

// ring is a list of shares in the order of their turns.
type ring[V any] struct{ first, last *share[V] }

func (r *ring[V]) push(s *share[V]) {
	s.previous, s.next = r.last, nil
	if r.last == nil {
		r.first = s
	} else {
		r.last.next = s
	}
	r.last = s
}

func (r *ring[V]) remove(s *share[V]) {
	if s.previous == nil {
		r.first = s.next
	} else {
		s.previous.next = s.next
	}
	if s.next == nil {
		r.last = s.previous
	} else {
		s.next.previous = s.previous
	}
	s.next, s.previous = nil, nil
}
