package turn

import "container/list"

// lru holds the most recently used values.
type lru[K comparable, V any] struct {
	limit int
	items map[K]*list.Element // of *entry[K, V]
	order *list.List          // the least recently used first
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](limit int) *lru[K, V] {
	return &lru[K, V]{limit: limit, items: make(map[K]*list.Element), order: list.New()}
}

// get returns the value of a key, without counting as a use of it.
func (l *lru[K, V]) get(k K) (v V, ok bool) {
	e := l.items[k]
	if e == nil {
		return v, false
	}
	return e.Value.(*entry[K, V]).value, true
}

// use returns the value of a key, which is the most recently used from now on.
func (l *lru[K, V]) use(k K) (v V, ok bool) {
	e := l.items[k]
	if e == nil {
		return v, false
	}
	l.order.MoveToBack(e)
	return e.Value.(*entry[K, V]).value, true
}

// set sets the value of a key, which is the most recently used from now on. It returns the value that was forgotten for it.
func (l *lru[K, V]) set(k K, v V) (oldest V, forgotten bool) {
	if e := l.items[k]; e != nil {
		l.order.MoveToBack(e)
		e.Value.(*entry[K, V]).value = v
		return oldest, false
	}
	if len(l.items) >= l.limit {
		last := l.order.Remove(l.order.Front()).(*entry[K, V])
		delete(l.items, last.key)
		oldest, forgotten = last.value, true
	}
	l.items[k] = l.order.PushBack(&entry[K, V]{k, v})
	return oldest, forgotten
}

// keep calls f for each value, the least recently used first, and forgets those for which it returns false.
func (l *lru[K, V]) keep(f func(V) bool) {
	for e := l.order.Front(); e != nil; {
		at := e.Value.(*entry[K, V])
		next := e.Next()
		if !f(at.value) {
			l.order.Remove(e)
			delete(l.items, at.key)
		}
		e = next
	}
}
