package bound

// Class is a group of objects that others cannot push out altogether.
type Class struct {
	// Kept is how many objects of the class no other class takes the room of. The classes' Kept must not exceed the
	// limit in all.
	Kept int
	// PerKey is how many objects one key may have: at an address, where its place has that before the key, else in all. 0 is
	// no limit.
	PerKey int
}

// Shares holds objects that peers bring about, a limited number of them, and says which one goes when there is one too
// many: the oldest of the fullest share. A class may use all room that others leave; when it is needed, the class that
// is the furthest above what is kept for it gives, there the fullest share of each step of a place in turn, as the fullest
// network, in it the fullest address, there the fullest key. Every operation takes time logarithmic in the number of objects. It is deterministic.
type Shares[V any] struct {
	limit   int
	classes []Class
	roots   []*share[V]
	held    int
	serial  uint64
}

// NewShares makes room for limit objects of some classes.
func NewShares[V any](limit int, classes ...Class) *Shares[V] {
	s := &Shares[V]{limit: limit, classes: classes}
	kept := 0
	for _, c := range classes {
		kept += c.Kept
		s.roots = append(s.roots, &share[V]{})
	}
	if kept > limit {
		panic("bound: classes keep more than there is room for")
	}
	return s
}

// Add holds an object. evicted is one that has to go for it and is not held any more, nil if there was room. It is the
// new one itself where everything else has what is kept for it.
func (s *Shares[V]) Add(v V, p Place) (it, evicted *Item[V]) {
	it = &Item[V]{Value: v}
	return it, s.put(it, p)
}

// Move counts an object elsewhere, as the newest there; evicted as in Add. An object that is not held stays so.
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
	switch n, key := s.classes[p.class].PerKey, it.share.above(p.keyed); {
	case n > 0 && key.count > n:
		evicted = key.fullestLeaf().items.first
	case s.held > s.limit:
		evicted = s.poorest().fullestLeaf().items.first
	default:
		return nil
	}
	s.Remove(evicted)
	return evicted
}

// poorest is the class that has to give: the one the furthest above what is kept for it, of equal ones the first.
func (s *Shares[V]) poorest() *share[V] {
	most, class := -s.limit-1, 0
	for i, root := range s.roots {
		if over := root.count - s.classes[i].Kept; root.count > 0 && over > most {
			most, class = over, i
		}
	}
	return s.roots[class]
}

// Fullest is the oldest object of the fullest share of a class, and how many objects the first step of its place has, a
// network or key. It is nil and 0 where there is none.
func (s *Shares[V]) Fullest(class int) (it *Item[V], size int) {
	root := s.roots[class]
	if root.count == 0 {
		return nil, 0
	}
	return root.fullestLeaf().items.first, root.fullest[0].count
}

// Size is how many objects there are where so many steps of a place lead: at least one, at most those that it has.
func (s *Shares[V]) Size(p Place, steps int) int { return s.roots[p.class].size(p, steps) }

// Remove stops holding an object. Removing it again does nothing.
func (s *Shares[V]) Remove(it *Item[V]) {
	if it.share != nil {
		it.remove()
		s.held--
	}
}

// Held reports whether an item is held, neither removed nor evicted.
func (it *Item[V]) Held() bool { return it.share != nil }

// Len is how many objects are held.
func (s *Shares[V]) Len() int { return s.held }

// In is how many objects of a class are held.
func (s *Shares[V]) In(class int) int { return s.roots[class].count }
