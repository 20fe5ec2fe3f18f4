package bound

// Class is a group of objects with a reserved share that others cannot evict.
type Class struct {
	// Kept is the number of objects of the class that are safe from other classes. The classes' Kept must not exceed the total
	// limit.
	Kept int
	// PerKey is the maximum number of objects per key: at an address, where its place has that before the key, else in all. 0 is
	// no limit.
	PerKey int
	// PerPart is the maximum number of objects per key and what its peer wants to reach, for places of For. 0 is no limit.
	PerPart int
}

// Shares holds a limited number of objects caused by peers, and selects the one to evict when there are too many: the oldest of
// the fullest share. A class may use all free room; when it is needed, the class that exceeds its reserved share the most loses
// an object, of the fullest share at each step of a place in turn, as the fullest network, in it the fullest address, there the
// fullest key. Every operation takes time logarithmic in the number of objects. It is deterministic.
type Shares[V any] struct {
	limit   int
	classes []Class
	roots   []*share[V]
	held    int
	serial  uint64
}

// NewShares returns room for limit objects of some classes.
func NewShares[V any](limit int, classes ...Class) *Shares[V] {
	s := &Shares[V]{limit: limit, classes: classes}
	kept := 0
	for _, c := range classes {
		kept += c.Kept
		s.roots = append(s.roots, &share[V]{})
	}
	if kept > limit {
		panic("bound: classes reserve more than the limit")
	}
	return s
}

// Add adds an object. evicted is the object removed for it, nil if there was room. It is the new one itself if no other class
// exceeds its reserved share.
func (s *Shares[V]) Add(v V, p Place) (it, evicted *Item[V]) {
	it = &Item[V]{Value: v}
	return it, s.put(it, p)
}

// Move moves an object to another place, as the newest there; evicted as in Add. It does nothing for an object that is not held.
func (s *Shares[V]) Move(it *Item[V], p Place) (evicted *Item[V]) {
	if it.share == nil {
		return nil
	}
	it.remove()
	s.held--
	return s.put(it, p)
}

func (s *Shares[V]) put(it *Item[V], p Place) (evicted *Item[V]) {
	s.serial++
	s.roots[p.class].add(it, p, s.serial)
	s.held++
	c, key, part := s.classes[p.class], it.share.above(p.keyed), it.share.above(p.keyed+1)
	switch {
	case c.PerPart > 0 && part.count > c.PerPart:
		evicted = part.fullestLeaf().items.first
	case c.PerKey > 0 && key.count > c.PerKey:
		evicted = key.fullestLeaf().items.first
	case s.held > s.limit:
		evicted = s.poorest().fullestLeaf().items.first
	default:
		return nil
	}
	s.Remove(evicted)
	return evicted
}

// poorest returns the class that must lose an object: the one that exceeds its reserved share the most, of equal ones the first.
func (s *Shares[V]) poorest() *share[V] {
	most, class := -s.limit-1, 0
	for i, root := range s.roots {
		if over := root.count - s.classes[i].Kept; root.count > 0 && over > most {
			most, class = over, i
		}
	}
	return s.roots[class]
}

// Fullest returns the oldest object of the fullest share of a class, and the number of objects of the first step of its place, a
// network or key. It returns nil and 0 for an empty class.
func (s *Shares[V]) Fullest(class int) (it *Item[V], size int) {
	root := s.roots[class]
	if root.count == 0 {
		return nil, 0
	}
	return root.fullestLeaf().items.first, root.fullest[0].count
}

// Size returns the number of objects under the first steps of a place: at least one step, at most all.
func (s *Shares[V]) Size(p Place, steps int) int { return s.roots[p.class].size(p, steps) }

// Remove removes an object. Removing it again does nothing.
func (s *Shares[V]) Remove(it *Item[V]) {
	if it.share != nil {
		it.remove()
		s.held--
	}
}

// Held reports whether an item is held, neither removed nor evicted.
func (it *Item[V]) Held() bool { return it.share != nil }

// Len returns the number of objects.
func (s *Shares[V]) Len() int { return s.held }

// In returns the number of objects of a class.
func (s *Shares[V]) In(class int) int { return s.roots[class].count }
