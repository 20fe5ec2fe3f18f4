package bound

// Recent is a set of the values that were added last.
type Recent[K comparable] struct {
	limit int
	items map[K]*Item[K]
	order list[K] // the one added the longest ago first
}

// NewRecent remembers at most limit values.
func NewRecent[K comparable](limit int) *Recent[K] {
	return &Recent[K]{limit: limit, items: map[K]*Item[K]{}}
}

// Add remembers a value as the newest; the oldest is forgotten if there are too many.
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

// Remove forgets a value.
func (r *Recent[K]) Remove(k K) {
	if it := r.items[k]; it != nil {
		r.order.remove(it)
		delete(r.items, k)
	}
}

// Clear forgets all.
func (r *Recent[K]) Clear() {
	clear(r.items)
	r.order = list[K]{}
}

// Has reports whether a value is remembered.
func (r *Recent[K]) Has(k K) bool { return r.items[k] != nil }

// Len is how many are remembered.
func (r *Recent[K]) Len() int { return len(r.items) }
