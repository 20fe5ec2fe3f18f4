package bound

// Recent is a set of the most recently added values.
type Recent[K comparable] struct {
	limit int
	items map[K]*Item[K]
	order list[K] // oldest first
}

// NewRecent remembers at most limit values.
func NewRecent[K comparable](limit int) *Recent[K] {
	return &Recent[K]{limit: limit, items: map[K]*Item[K]{}}
}

// Add adds a value as the newest; the oldest is removed if there are too many.
func (r *Recent[K]) Add(k K) {
	it := r.items[k]
	switch {
	case it != nil:
		r.order.remove(it)
	case len(r.items) >= r.limit:
		oldest := r.order.first
		r.order.remove(oldest)
		delete(r.items, oldest.Value)
	}
	if it == nil {
		it = &Item[K]{Value: k}
		r.items[k] = it
	}
	r.order.push(it)
}

// Remove removes a value.
func (r *Recent[K]) Remove(k K) {
	if it := r.items[k]; it != nil {
		r.order.remove(it)
		delete(r.items, k)
	}
}

// Clear removes all.
func (r *Recent[K]) Clear() {
	clear(r.items)
	r.order = list[K]{}
}

// Has reports whether a value is in the set.
func (r *Recent[K]) Has(k K) bool { return r.items[k] != nil }

// Len returns the number of values.
func (r *Recent[K]) Len() int { return len(r.items) }
