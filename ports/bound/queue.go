package bound

// Queue gives objects that wait for the same resource turns: at each step of their places, each share gets one in turn, as each
// network, then each address in it, each key. When it is full, the newest object of the fullest share is dropped. Every operation
// takes time logarithmic in the number of objects.
type Queue[V any] struct {
	limit  int
	root   share[V]
	serial uint64
}

// NewQueue returns a queue for at most limit objects.
func NewQueue[V any](limit int) *Queue[V] { return &Queue[V]{limit: limit} }

// Add adds an object. dropped is the object that was removed for it, nil if there was room; it may be the new one. The class of
// the place does not matter.
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

// Move moves a waiting object to another place, as the newest there. It does nothing for one that does not wait.
func (q *Queue[V]) Move(it *Item[V], p Place) {
	if it.share != nil {
		it.remove()
		q.serial++
		q.root.add(it, p, q.serial)
	}
}

// Size returns the number of waiting objects under the first steps of a place: at least one step, at most all.
func (q *Queue[V]) Size(p Place, steps int) int { return q.root.size(p, steps) }

// Next removes and returns the object whose turn it is; false if none waits.
func (q *Queue[V]) Next() (v V, ok bool) {
	it := q.root.turn()
	if it == nil {
		return v, false
	}
	it.remove()
	return it.Value, true
}

// Remove removes an object. Removing it again does nothing.
func (q *Queue[V]) Remove(it *Item[V]) {
	if it.share != nil {
		it.remove()
	}
}

// Len returns the number of waiting objects.
func (q *Queue[V]) Len() int { return q.root.count }
