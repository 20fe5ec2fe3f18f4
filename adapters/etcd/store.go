package etcd

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/record"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/kv"
)

var (
	errClosed = errors.New("alias store is closed")
	errFull   = errors.New("alias store is overloaded")
)

// queue has the changes that wait for the store, in order, and calls that read it.
type queue struct {
	jobs   []job
	busy   bool
	closed bool

	large     int   // changes of this term that were larger than a transaction
	completed int64 // the term in which changes of earlier leaders are completed
}

// job is an entry of the queue: operations of a term, or an operation of its own, which calls next when it has ended.
type job struct {
	ops   []kv.Op
	alone func(next func())
	term  int64
	since host.Instant
	err   error // it fails with this error
	done  func(error)
}

// Load implements ports.AliasStore.
func (m *Member) Load(done func([]domain.Entry, []error, error)) {
	m.push(job{
		alone: func(next func()) {
			m.read(m.cfg.Prefix, func(l kv.List, err error) {
				c := m.contentOf(l)
				m.decodeEntries(c, func(entries []domain.Entry, bad []error) {
					done(entries, append(bad, c.badChanges()...), err)
					next()
				})
			})
		},
		done: func(err error) { done(nil, nil, err) },
	})
}

// decodeEntries decodes entries by alias, some in each turn: all of a large table take half a second.
func (m *Member) decodeEntries(c content, done func([]domain.Entry, []error)) {
	aliases := slices.Sorted(maps.Keys(c.entries))
	entries, bad := make([]domain.Entry, 0, len(aliases)), []error(nil)
	var step func()
	step = func() {
		some := aliases[:min(len(aliases), decodeStep)]
		aliases = aliases[len(some):]
		for _, alias := range some {
			e, err := decodeEntry(c.prefix, alias, c.entries[alias])
			if err != nil {
				bad = append(bad, err)
				continue
			}
			entries = append(entries, e)
		}
		if len(aliases) > 0 {
			m.host.Post(step)
			return
		}
		done(entries, bad)
	}
	step()
}

// LoadPins implements ports.PinStore.
func (m *Member) LoadPins(done func([]domain.Pin, []error, error)) {
	m.push(job{
		alone: func(next func()) {
			prefix := m.cfg.Prefix
			if m.term != 0 && m.queue.completed == m.term {
				prefix = m.key(record.Pins, "")
			}
			m.read(prefix, func(l kv.List, err error) {
				c := m.contentOf(l)
				c.entries, c.changes = nil, nil // Load reports their errors
				_, pins, bad := c.decode()
				done(pins, bad, err)
				next()
			})
		},
		done: func(err error) { done(nil, nil, err) },
	})
}

// read lists keys. It fails after a while, if the store cannot be reached.
func (m *Member) read(prefix string, done func(kv.List, error)) {
	since := m.host.Now()
	var try func()
	try = func() {
		m.store.List(prefix, func(l kv.List, err error) {
			switch {
			case err == nil:
				done(l, nil)
			case !isLost(err) || m.host.Now().Sub(since) >= readPatience:
				done(kv.List{}, unreachable(err))
			default:
				m.host.AfterFunc(pause, try)
			}
		})
	}
	try()
}

// OnDamage implements ports.AliasStore. etcd repairs damage of its files by itself.
func (m *Member) OnDamage(func(domain.StoreDamage)) {}

// Put implements ports.AliasStore.
func (m *Member) Put(e domain.Entry, done func(error)) {
	m.change(domain.SetChange{Put: []domain.Entry{e}}, done)
}

// PutSet implements ports.AliasStore.
func (m *Member) PutSet(c domain.SetChange, done func(error)) { m.change(c, done) }

// Delete implements ports.AliasStore.
func (m *Member) Delete(aliases []domain.Alias, done func(error)) {
	m.change(domain.SetChange{Delete: aliases}, done)
}

// PutPin implements ports.PinStore.
func (m *Member) PutPin(p domain.Pin, done func(error)) {
	m.change(domain.SetChange{Pins: []domain.Pin{p}}, done)
}

// DeletePin implements ports.PinStore.
func (m *Member) DeletePin(a domain.Alias, done func(error)) {
	m.pushChange([]kv.Op{{Key: m.key(record.Pins, string(a)), Delete: true}}, nil, done)
}

// change queues a change. The records are encoded now, since what they come from is the caller's.
func (m *Member) change(c domain.SetChange, done func(error)) {
	var b batch
	var failed error
	for _, a := range c.Delete {
		b.add(kv.Op{Key: m.key(record.Aliases, string(a)), Delete: true})
	}
	put := func(table string, a domain.Alias, payload []byte, err error) {
		failed = errors.Join(failed, err)
		value, _ := record.Seal(table, string(a), payload, uint64(m.term))
		b.add(kv.Op{Key: m.key(table, string(a)), Value: value})
	}
	for _, e := range c.Put {
		payload, err := record.EncodeEntry(e)
		put(record.Aliases, e.Alias, payload, err)
	}
	for _, p := range c.Pins {
		payload, err := record.EncodePin(p)
		put(record.Pins, p.Alias, payload, err)
	}
	m.pushChange(b.ops, failed, done)
}

func (m *Member) pushChange(ops []kv.Op, err error, done func(error)) {
	if m.term == 0 {
		err = domain.ErrNotLeader
	}
	m.push(job{ops: ops, term: m.term, err: err, done: done})
}

// Close implements ports.AliasStore. It ends Follow, too.
func (m *Member) Close(done func(error)) {
	m.push(job{
		alone: func(next func()) {
			done(nil)
			next()
		},
		done: done,
	})
	m.queue.closed, m.table.follower = true, nil
}

func (m *Member) push(j job) {
	q := &m.queue
	j.since = m.host.Now()
	switch {
	case q.closed && j.done != nil:
		m.host.Post(func() { j.done(errClosed) })
	case len(q.jobs) >= maxQueue && j.done != nil:
		m.host.Post(func() { j.done(errFull) })
	default:
		q.jobs = append(q.jobs, j)
		m.work()
	}
}

// work starts on the queue unless a job is being done. It starts in a turn of its own, so that the changes of one turn become one
// transaction.
func (m *Member) work() {
	if q := &m.queue; !q.busy && len(q.jobs) > 0 {
		q.busy = true
		m.host.Post(m.step)
	}
}

func (m *Member) next() {
	m.queue.busy = false
	m.work()
}

// step does the first job, and changes that fit into one transaction with it.
func (m *Member) step() {
	q := &m.queue
	switch j := q.jobs[0]; {
	case j.alone != nil:
		q.take(1)
		j.alone(m.next)
	case m.failure(j) != nil:
		q.take(1)
		j.done(m.failure(j))
		m.next()
	default:
		m.stepBatch()
	}
}

// failure returns the error of a change that is not tried.
func (m *Member) failure(j job) error {
	if j.err == nil && j.term != m.term {
		return domain.ErrNotLeader
	}
	return j.err
}

func (m *Member) stepBatch() {
	q := &m.queue
	b, n := batch{}, 0
	for n < len(q.jobs) && q.jobs[n].alone == nil && m.failure(q.jobs[n]) == nil && b.addAll(q.jobs[n].ops) {
		n++
	}
	if n == 0 {
		m.writeLarge(q.take(1)[0])
		return
	}
	jobs := q.take(n)
	m.write(b.ops, jobs[0], func(err error) {
		for _, j := range jobs {
			j.done(err)
		}
		m.next()
	})
}

// failOld lets changes fail that have waited for long.
func (m *Member) failOld(err error) {
	q, now := &m.queue, m.host.Now()
	n := 0
	for n < len(q.jobs) && q.jobs[n].alone == nil && now.Sub(q.jobs[n].since) >= patience {
		n++
	}
	for _, j := range q.take(n) {
		j.done(cmp.Or(m.failure(j), err))
	}
}

func (q *queue) take(n int) []job {
	jobs := slices.Clone(q.jobs[:n])
	q.jobs = slices.Delete(q.jobs, 0, n)
	return jobs
}

// batch collects operations for one transaction, the last one of each key.
type batch struct {
	ops  []kv.Op
	at   map[string]int // index in ops
	size int
}

// addAll adds operations if they fit.
func (b *batch) addAll(ops []kv.Op) bool {
	size, fresh := b.size, len(b.ops)
	for _, op := range ops {
		size += sizeOf(op)
		if _, known := b.at[op.Key]; !known {
			fresh++
		}
	}
	if fresh > maxOps || size > maxSize {
		return false
	}
	for _, op := range ops {
		b.add(op)
	}
	return true
}

func (b *batch) add(op kv.Op) {
	if b.at == nil {
		b.at = map[string]int{}
	}
	b.size += sizeOf(op)
	if i, known := b.at[op.Key]; known {
		b.ops[i] = op
		return
	}
	b.at[op.Key] = len(b.ops)
	b.ops = append(b.ops, op)
}

func sizeOf(op kv.Op) int { return len(op.Key) + len(op.Value) }
