package etcd

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports/host"
	"github.com/dhtprom/dhtprom/ports/kv"
)

// fence numbers the fences of a term. Transactions require that the one with the present number does not exist.
type fence struct {
	number int
	open   bool // the fence before it is to be put by the next transaction, which ends all before
}

// write is operations that a leader carries out until their outcome is certain.
type write struct {
	ops       []kv.Op
	term      int64
	since     host.Instant
	forced    bool // it must be done sometime in this term: it is repeated whatever the error
	uncertain bool // an attempt may have been carried out, or may be yet
	fence     fence
	done      func(error)
}

// write carries out operations of a change. It fails if the store cannot be reached for a while after the change was made.
func (m *Member) write(ops []kv.Op, j job, done func(error)) {
	m.attempt(&write{ops: ops, term: j.term, since: j.since, fence: m.fence, done: done})
}

// force carries out operations that follow from a change, as long as the term lasts.
func (m *Member) force(ops []kv.Op, term int64, done func(error)) {
	m.attempt(&write{ops: ops, term: term, fence: m.fence, forced: true, done: done})
}

func (m *Member) fenceKey(number int) string {
	return m.key("fences", strconv.FormatInt(m.term, 10), strconv.Itoa(number))
}

// attempt sends a write. One is under way at a time.
func (m *Member) attempt(w *write) {
	if m.term != w.term || w.term == 0 {
		w.done(domain.ErrNotLeader)
		return
	}
	t := kv.Txn{
		If:   []kv.Condition{{Key: m.candidateKey(m.own.candidacy), Created: w.term}, {Key: m.fenceKey(w.fence.number)}},
		Then: w.ops,
	}
	if w.fence.open {
		t.Then = append(t.Then[:len(t.Then):len(t.Then)], kv.Op{Key: m.fenceKey(w.fence.number - 1), Lease: m.own.lease.ID()})
	}
	m.store.Commit(t, func(result kv.Result, err error) { m.attempted(w, result.Done, err) })
}

// attempted judges the result of an attempt. Errors other than those of package kv mean that the store refuses the operations.
func (m *Member) attempted(w *write, carriedOut bool, err error) {
	lost := isLost(err)
	w.uncertain = w.uncertain || errors.Is(err, kv.ErrUncertain)
	switch {
	case err == nil && carriedOut:
		if w.term == m.term {
			m.passed(w)
		}
		w.done(nil)
	case m.term != w.term || errors.Is(err, kv.ErrClosed):
		w.done(domain.ErrNotLeader)
	case err == nil: // the candidate key is gone
		m.stepDown()
		m.show()
		w.done(domain.ErrNotLeader)
	case lost && (w.uncertain || w.forced || m.host.Now().Sub(w.since) < patience):
		m.again(w, pause, err)
	case lost:
		w.done(unreachable(err))
	case w.uncertain: // a next term begins with a certain state
		m.stepDown()
		m.show()
		w.done(err)
	case w.forced:
		m.again(w, longPause, err)
	default:
		w.done(err)
	}
}

// again repeats a write. Changes that wait for it fail with its error after patience.
func (m *Member) again(w *write, wait time.Duration, err error) {
	if w.forced {
		m.failOld(fmt.Errorf("a change before it is not complete: %w", unreachable(err)))
	}
	m.host.AfterFunc(wait, func() { m.attempt(w) })
}

// passed notes that a write was carried out. The next one puts the present fence if attempts of this one may be carried out yet. With too
// many fences this member begins again under a new lease, which removes them.
func (m *Member) passed(w *write) {
	if w.fence.open {
		m.own.fences++
	}
	m.fence = fence{number: w.fence.number}
	if w.uncertain {
		m.fence = fence{number: w.fence.number + 1, open: true}
	}
	if m.own.fences >= maxFences {
		m.stepDown()
		m.own.lease.Close(func() {})
		m.register()
		m.show()
	}
}

// isLost reports whether an error means that the store cannot be reached, and not that it refuses a request.
func isLost(err error) bool {
	return errors.Is(err, kv.ErrUncertain) || errors.Is(err, kv.ErrUnavailable)
}

// unreachable wraps such an error, and returns others.
func unreachable(err error) error {
	if isLost(err) {
		return fmt.Errorf("%w: %w", domain.ErrStoreUnreachable, err)
	}
	return err
}
