package etcd

import (
	"bytes"
	"strings"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/record"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// table is the state of Follow. It does not keep records, but the changes that are larger than a transaction, as long as the store has
// keys of them.
type table struct {
	follower func(domain.TableChange)
	changes  map[string]*largeSeen
}

// largeSeen is such a change as the feed has it.
type largeSeen struct {
	*large
	effect  map[string]kv.Op // by key, when it has taken effect
	missing map[string]bool  // keys of records that were not set yet
}

// Follow implements ports.SharedStore.
func (m *Member) Follow(f func(domain.TableChange)) {
	m.table.follower = f
	if !m.left {
		m.feed.start()
	}
}

// followWhole reports the whole table.
func (m *Member) followWhole(l kv.List) {
	c := m.contentOf(l)
	m.table.changes = map[string]*largeSeen{}
	for _, change := range c.changes {
		m.table.changes[change.seq] = &largeSeen{large: change}
		m.table.changes[change.seq].takeEffect()
	}
	for _, i := range l.Items {
		m.expected(strings.TrimPrefix(i.Key, m.cfg.Prefix), kv.Change{Item: i})
	}
	if m.table.follower == nil {
		return
	}
	entries, pins, bad := c.decode()
	m.table.follower(domain.TableChange{Whole: true, Put: entries, Pins: pins, Bad: bad})
}

// followChanges reports the changes of one revision.
func (m *Member) followChanges(changes []kv.Change) {
	var t domain.TableChange
	for _, c := range changes {
		key := strings.TrimPrefix(c.Key, m.cfg.Prefix)
		if seq, chunk, isLarge := largeKey("", key); isLarge {
			m.seen(&t, seq, chunk, c)
		} else if !m.expected(key, c) {
			m.report(&t, key, c.Value, c.Deleted)
		}
	}
	if m.table.follower != nil && len(t.Put)+len(t.Delete)+len(t.Pins)+len(t.Unpinned)+len(t.Bad) > 0 {
		m.table.follower(t)
	}
}

// seen notes a key of a change that is larger than a transaction. It takes effect with its pointer.
func (m *Member) seen(t *domain.TableChange, seq, chunk string, c kv.Change) {
	l := m.table.changes[seq]
	if l == nil {
		l = &largeSeen{large: newLarge(seq)}
		m.table.changes[seq] = l
	}
	switch {
	case c.Deleted && chunk != "":
		delete(l.chunks, chunk)
	case c.Deleted:
		l.pointed = false
		if len(l.missing) > 0 { // the pointer was removed by hand
			m.host.Post(m.feed.restart)
		}
	case chunk != "":
		l.chunks[chunk] = c.Value
	default:
		l.point(c.Value)
		l.takeEffect()
		for _, op := range l.ops {
			m.report(t, op.Key, op.Value, op.Delete)
		}
		if l.err != nil {
			t.Bad = append(t.Bad, badKey(m.cfg.Prefix, changesTable, seq, l.err))
		}
	}
	if !l.pointed && len(l.chunks) == 0 {
		delete(m.table.changes, seq)
	}
}

// takeEffect notes which records are to change.
func (ls *largeSeen) takeEffect() {
	ls.effect, ls.missing = map[string]kv.Op{}, map[string]bool{}
	for _, op := range ls.ops {
		ls.effect[op.Key] = op
		if !op.Delete {
			ls.missing[op.Key] = true
		}
	}
}

// expected reports whether a record changes as a change does that has taken effect already.
func (m *Member) expected(key string, c kv.Change) bool {
	for _, l := range m.table.changes {
		if op, ok := l.effect[key]; ok && l.pointed && op.Delete == c.Deleted && bytes.Equal(op.Value, c.Value) {
			delete(l.missing, key)
			return true
		}
	}
	return false
}

// report adds the change of a record. One that cannot be read is not in the table.
func (m *Member) report(t *domain.TableChange, key string, value []byte, deleted bool) {
	table, alias, _ := strings.Cut(key, "/")
	a := domain.Alias(alias)
	switch {
	case table == record.Aliases && deleted:
		t.Delete = append(t.Delete, a)
	case table == record.Aliases:
		e, err := decodeEntry(m.cfg.Prefix, alias, value)
		if err != nil {
			t.Delete, t.Bad = append(t.Delete, a), append(t.Bad, err)
			return
		}
		t.Put = append(t.Put, e)
	case table == record.Pins && deleted:
		t.Unpinned = append(t.Unpinned, a)
	case table == record.Pins:
		p, err := decodePin(m.cfg.Prefix, alias, value)
		if err != nil {
			t.Unpinned, t.Bad = append(t.Unpinned, a), append(t.Bad, err)
			return
		}
		t.Pins = append(t.Pins, p)
	}
}
