package app

import (
	"container/list"

	"github.com/dhtprom/dhtprom/domain"
)

// maxMembers bounds the keys that are remembered: a client dials under a key of its own, which is another one after a
// restart. Each takes about 200 bytes.
const maxMembers = 2 * domain.MaxEntries

// members are the keys under which a valid secret was shown. Clients dial under other keys than the one they register, so
// the alias table alone does not tell a client that renews from a stranger. The key silent for longest is forgotten.
type members struct {
	order *list.List // of domain.PublicKey, the silent ones first
	keys  map[domain.PublicKey]*list.Element
}

func newMembers() *members {
	return &members{order: list.New(), keys: map[domain.PublicKey]*list.Element{}}
}

// add remembers a key that has shown a valid secret.
func (m *members) add(k domain.PublicKey) {
	if e := m.keys[k]; e != nil {
		m.order.MoveToBack(e)
		return
	}
	m.keys[k] = m.order.PushBack(k)
	if m.order.Len() > maxMembers {
		delete(m.keys, m.order.Remove(m.order.Front()).(domain.PublicKey))
	}
}

// has reports whether a key is remembered.
func (m *members) has(k domain.PublicKey) bool { return m.keys[k] != nil }
