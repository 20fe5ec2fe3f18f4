package hyperdht

import (
	"cmp"
	"maps"
	"slices"
)

// connectionList holds the connections of a node that are not closed, those that are being dialled included.
type connectionList struct {
	order map[*Connection]uint64
	born  uint64 // numbers them
}

func (l *connectionList) len() int { return len(l.order) }

func (l *connectionList) add(c *Connection) {
	if l.order == nil {
		l.order = make(map[*Connection]uint64)
	}
	l.order[c] = l.born
	l.born++
}

func (l *connectionList) remove(c *Connection) { delete(l.order, c) }

// sorted lists the connections in the order of creation.
func (l *connectionList) sorted() []*Connection {
	return slices.SortedFunc(maps.Keys(l.order), func(a, b *Connection) int { return cmp.Compare(l.order[a], l.order[b]) })
}

// destroy ends all of them. Those to relays end last, or the last packets of others that are relayed would not be passed on.
func (l *connectionList) destroy(err error) {
	all := l.sorted()
	for _, c := range all {
		if !c.link {
			c.Destroy(err)
		}
	}
	for _, c := range all {
		c.Destroy(err)
	}
}
