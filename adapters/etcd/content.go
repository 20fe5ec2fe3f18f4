package etcd

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/record"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// content is the table in a list.
type content struct {
	prefix  string
	entries map[string][]byte // values, by alias
	pins    map[string][]byte
	changes []*large
}

// contentOf reads a list. Changes that were not completed take effect in it.
func (m *Member) contentOf(l kv.List) content {
	c := content{m.cfg.Prefix, map[string][]byte{}, map[string][]byte{}, largeOf(m.cfg.Prefix, l.Items)}
	for _, i := range l.Items {
		c.set(strings.TrimPrefix(i.Key, m.cfg.Prefix), i.Value)
	}
	for _, change := range c.changes {
		for _, op := range change.ops {
			c.set(op.Key, op.Value)
			if op.Delete {
				c.remove(op.Key)
			}
		}
	}
	return c
}

func (c content) table(key string) (map[string][]byte, string) {
	table, alias, _ := strings.Cut(key, "/")
	switch table {
	case record.Aliases:
		return c.entries, alias
	case record.Pins:
		return c.pins, alias
	}
	return nil, ""
}

func (c content) set(key string, value []byte) {
	if table, alias := c.table(key); table != nil {
		table[alias] = value
	}
}

func (c content) remove(key string) {
	table, alias := c.table(key)
	delete(table, alias)
}

// decode returns the records by alias, and the errors of those that cannot be read.
func (c content) decode() (entries []domain.Entry, pins []domain.Pin, bad []error) {
	for _, alias := range slices.Sorted(maps.Keys(c.entries)) {
		e, err := decodeEntry(c.prefix, alias, c.entries[alias])
		if err != nil {
			bad = append(bad, err)
			continue
		}
		entries = append(entries, e)
	}
	for _, alias := range slices.Sorted(maps.Keys(c.pins)) {
		p, err := decodePin(c.prefix, alias, c.pins[alias])
		if err != nil {
			bad = append(bad, err)
			continue
		}
		pins = append(pins, p)
	}
	return entries, pins, append(bad, c.badChanges()...)
}

// badChanges returns the errors of changes that cannot be read.
func (c content) badChanges() (bad []error) {
	for _, l := range c.changes {
		if l.err != nil {
			bad = append(bad, badKey(c.prefix, changesTable, l.seq, l.err))
		}
	}
	return bad
}

func decodeEntry(prefix, alias string, value []byte) (domain.Entry, error) {
	it, err := record.Unseal(record.Aliases, alias, value)
	if err != nil {
		return domain.Entry{}, badKey(prefix, record.Aliases, alias, err)
	}
	e, err := record.DecodeEntry(alias, it.Payload)
	if err != nil {
		return domain.Entry{}, badKey(prefix, record.Aliases, alias, err)
	}
	return e, nil
}

func decodePin(prefix, alias string, value []byte) (domain.Pin, error) {
	it, err := record.Unseal(record.Pins, alias, value)
	if err != nil {
		return domain.Pin{}, badKey(prefix, record.Pins, alias, err)
	}
	p, err := record.DecodePin(alias, it.Payload)
	if err != nil {
		return domain.Pin{}, badKey(prefix, record.Pins, alias, err)
	}
	return p, nil
}

// badKey is the error of a key that cannot be read, on one line.
func badKey(prefix, table, name string, err error) error {
	return fmt.Errorf("key %q in the group's store: %w", prefix+table+"/"+clip(name), err)
}
