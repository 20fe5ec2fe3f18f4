package records

import "github.com/dhtprom/dhtprom/ports/host"

// cache is a bounded map of two generations; reading keeps an entry alive (xache).
type cache[K comparable, V any] struct {
	aging
	limits
	// weigh is the number of bytes an entry counts for; nil where entries have a fixed size.
	weigh        func(V) int
	fresh, stale generation[K, V]
}

type generation[K comparable, V any] struct {
	entries map[K]V
	bytes   int
}

func newCache[K comparable, V any](now host.Instant, l limits, weigh func(V) int) cache[K, V] {
	c := cache[K, V]{aging: newAging(now, l.age), limits: l, weigh: weigh}
	c.rotate()
	c.rotate()
	return c
}

func (c *cache[K, V]) rotate() {
	c.stale, c.fresh = c.fresh, generation[K, V]{entries: make(map[K]V)}
}

func (c *cache[K, V]) weight(v V) int {
	if c.weigh == nil {
		return 0
	}
	return c.weigh(v)
}

func (c *cache[K, V]) len() int { return len(c.fresh.entries) + len(c.stale.entries) }

func (c *cache[K, V]) bytes() int { return c.fresh.bytes + c.stale.bytes }

func (c *cache[K, V]) get(k K) (V, bool) {
	if v, ok := c.fresh.entries[k]; ok {
		return v, true
	}
	v, ok := c.stale.entries[k]
	if ok {
		// The reference implementation does not look at the size here, so that reading between writes lets a generation
		// grow beyond any bound.
		c.set(k, v)
	}
	return v, ok
}

func (c *cache[K, V]) set(k K, v V) {
	c.delete(k)
	c.fresh.entries[k] = v
	c.fresh.bytes += c.weight(v)
	if len(c.fresh.entries) >= c.limits.entries || (c.limits.bytes > 0 && c.fresh.bytes >= c.limits.bytes) {
		c.rotate()
		c.early = true
	}
}

func (c *cache[K, V]) delete(k K) {
	for _, g := range []*generation[K, V]{&c.fresh, &c.stale} {
		if v, ok := g.entries[k]; ok {
			delete(g.entries, k)
			g.bytes -= c.weight(v)
		}
	}
}
