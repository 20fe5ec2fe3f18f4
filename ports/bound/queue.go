package bound

// Queue lets objects that wait for the same scarce thing have their turns: at each step of their places, each share one in
// turn, as each network, then each address in it, each key. When it is full, the newest object of the fullest share goes. Every operation takes time logarithmic in the
// number of objects.
type Queue[V any] struct {
	limit  int
	root   share[V]
	serial uint64
}

// NewQueue makes a queue for at most limit objects.
func NewQueue[V any](limit int) *Queue[V] { return &Queue[V]{limit: limit} }

// Add lets an object wait. dropped is one that waits no longer for it, nil if there was room; it may be the new one.
// The class of the place does not matter.
func (q *Queue[V]) Add(v V, p Place) (it, dropped *Item[V]) {
	it = &Item[V]{Value: v}
	q.serial++
	q.root.add(it, p, q.serial)
	if q.root.count <= q.limit {
		return it, nil
	}
	dropped = q.root.fullestLeaf().items.last
	dropped.remove()
	return it, dropped
}

// Move lets a waiting object wait elsewhere, as the newest there. One that does not wait stays so.
func (q *Queue[V]) Move(it *Item[V], p Place) {
	if it.share != nil {
		it.remove()
		q.serial++
		q.root.add(it, p, q.serial)
	}
}

// Size is how many objects wait where so many steps of a place lead: at least one, at most those that it has.
func (q *Queue[V]) Size(p Place, steps int) int { return q.root.size(p, steps) }

// Next takes out the object whose turn it is; false if none waits.
func (q *Queue[V]) Next() (v V, ok bool) {
	it := q.root.turn()
	if it == nil {
		return v, false
	}
	it.remove()
	return it.Value, true
}

// Remove takes an object out. Removing it again does nothing.
func (q *Queue[V]) Remove(it *Item[V]) {
	if it.share != nil {
		it.remove()
	}
}

// Len is how many objects wait.
func (q *Queue[V]) Len() int { return q.root.count }
