package etcd

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dhtprom/dhtprom/ports/kv"
)

// writeLarge makes a change that does not fit into one transaction: chunks, the pointer, and then the records.
func (m *Member) writeLarge(j job) {
	m.queue.large++
	l := newLarge(fmt.Sprintf("%016x-%08x", j.term, m.queue.large))
	var chunk []byte
	end := func() {
		name := chunkName(len(l.chunks))
		l.chunks[name] = seal(l.seq+"/"+name, chunk, j.term)
		chunk = nil
	}
	for _, op := range j.ops {
		chunk = appendOp(chunk, strings.TrimPrefix(op.Key, m.cfg.Prefix), op)
		if len(chunk) >= chunkSize {
			end()
		}
	}
	if chunk != nil {
		end()
	}
	if len(l.chunks) > maxChunks {
		j.done(errTooLarge)
		m.next()
		return
	}
	var ops []kv.Op
	for _, name := range slices.Sorted(maps.Keys(l.chunks)) {
		ops = append(ops, kv.Op{Key: m.key(changesTable, l.seq, name), Value: l.chunks[name]})
	}
	m.writeAll(parts(ops), j, func(err error) {
		if err != nil {
			m.abandon(l, j, err)
			return
		}
		m.writePointer(l, j)
	})
}

// writePointer makes the change durable, and then changes the records.
func (m *Member) writePointer(l *large, j job) {
	payload, err := json.Marshal(pointer{1, len(l.chunks)})
	if err != nil {
		panic(err) // numbers
	}
	value := seal(l.seq, payload, j.term)
	m.write([]kv.Op{{Key: m.key(changesTable, l.seq), Value: value}}, j, func(err error) {
		if err != nil {
			m.abandon(l, j, err)
			return
		}
		l.pointed = true
		j.done(nil)
		m.apply(l, j.ops, j.term, m.next)
	})
}

// abandon removes the chunks of a change that has failed. If this member leads no more, the next leader does so.
func (m *Member) abandon(l *large, j job, err error) {
	j.done(err)
	m.forceAll(parts(m.deletions(l)), j.term, m.next)
}

// apply changes the records, and removes the keys of the change. ops have whole keys.
func (m *Member) apply(l *large, ops []kv.Op, term int64, next func()) {
	m.forceAll(append(parts(ops), m.deletions(l)), term, next)
}

func (m *Member) deletions(l *large) (ops []kv.Op) {
	for _, key := range l.keys() {
		ops = append(ops, kv.Op{Key: m.key(changesTable, key), Delete: true})
	}
	return ops
}

// writeAll carries out transactions one after the other, for a change.
func (m *Member) writeAll(all [][]kv.Op, j job, done func(error)) {
	if len(all) == 0 {
		done(nil)
		return
	}
	m.write(all[0], j, func(err error) {
		if err != nil {
			done(err)
			return
		}
		m.writeAll(all[1:], j, done)
	})
}

// forceAll carries out transactions one after the other, as long as the term lasts.
func (m *Member) forceAll(all [][]kv.Op, term int64, next func()) {
	if len(all) == 0 {
		next()
		return
	}
	m.force(all[0], term, func(err error) {
		if err != nil { // it leads no more
			next()
			return
		}
		m.forceAll(all[1:], term, next)
	})
}

// parts divides operations into those of one transaction each.
func parts(ops []kv.Op) (all [][]kv.Op) {
	for from := 0; from < len(ops); {
		n, size := from, 0
		for n < len(ops) && n-from < maxOps && (n == from || size+sizeOf(ops[n]) <= maxSize) {
			size += sizeOf(ops[n])
			n++
		}
		all = append(all, ops[from:n])
		from = n
	}
	return all
}

// complete completes the changes of earlier leaders, and removes the chunks of those that have no effect. A change that cannot be read is
// kept, and reported by Load.
func (m *Member) complete(next func()) {
	term := m.term
	m.store.List(m.key(changesTable, ""), func(l kv.List, err error) {
		switch {
		case term == 0 || m.term != term:
			next()
		case err != nil:
			m.failOld(unreachable(err))
			m.host.AfterFunc(pause, func() { m.complete(next) })
		default:
			m.completeAll(largeOf(m.cfg.Prefix, l.Items), term, next)
		}
	})
}

func (m *Member) completeAll(all []*large, term int64, next func()) {
	if len(all) == 0 {
		m.queue.completed = term
		next()
		return
	}
	l := all[0]
	then := func() { m.completeAll(all[1:], term, next) }
	switch {
	case l.err != nil:
		then()
	case !l.pointed:
		m.forceAll(parts(m.deletions(l)), term, then)
	default:
		ops := slices.Clone(l.ops)
		for i := range ops {
			ops[i].Key = m.cfg.Prefix + ops[i].Key
		}
		m.apply(l, ops, term, then)
	}
}
