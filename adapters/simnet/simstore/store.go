package simstore

import (
	"slices"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// Store is an alias store on a disk.
type Store struct {
	loop   host.Host
	disk   *Disk
	queue  []request
	busy   bool
	closed bool
}

// request is one entry of the queue, in the order of the calls: a change, or an operation that is not batched (alone),
// which calls its own done.
type request struct {
	change change
	alone  func()
	done   func(error)
}

// Open opens a disk, recovering the state that the last store left. A store that still has the disk open loses it.
func Open(loop host.Host, d *Disk) *Store {
	s := &Store{loop: loop, disk: d}
	d.recover()
	d.user = s
	return s
}

// Load implements ports.AliasStore.
func (s *Store) Load(done func([]domain.Entry, []error, error)) {
	s.push(request{
		alone: func() {
			if s.disk.hit(s.disk.cfg.FailRead) {
				done(nil, nil, ErrIO)
				return
			}
			done(s.disk.Entries(), s.disk.bad(), nil)
		},
		done: func(err error) { done(nil, nil, err) },
	})
}

// OnDamage implements ports.AliasStore. The faults of this disk are records that cannot be read, which Load reports.
func (s *Store) OnDamage(func(domain.StoreDamage)) {}

// Put implements ports.AliasStore.
func (s *Store) Put(e domain.Entry, done func(error)) {
	s.push(request{change: change{put: []domain.Entry{readBack(e)}}, done: done})
}

// PutSet implements ports.AliasStore. The store has no pins.
func (s *Store) PutSet(c domain.SetChange, done func(error)) {
	w := change{deleted: slices.Clone(c.Delete)}
	for _, e := range c.Put {
		w.put = append(w.put, readBack(e))
	}
	s.push(request{change: w, done: done})
}

// readBack returns an entry as it is read from a disk, where times have neither a zone nor a monotonic reading.
func readBack(e domain.Entry) domain.Entry {
	e.Registered, e.Renewed, e.Expires = e.Registered.UTC().Round(0), e.Renewed.UTC().Round(0), e.Expires.UTC().Round(0)
	return e
}

// Delete implements ports.AliasStore.
func (s *Store) Delete(aliases []domain.Alias, done func(error)) {
	s.push(request{change: change{deleted: slices.Clone(aliases)}, done: done})
}

// Close implements ports.AliasStore.
func (s *Store) Close(done func(error)) {
	s.push(request{alone: func() { done(nil) }, done: done})
	s.closed = true
}

func (s *Store) push(r request) {
	switch {
	case s.closed:
		s.loop.Post(func() { r.done(ErrClosed) })
	case len(s.queue) >= maxQueue:
		s.loop.Post(func() { r.done(ErrFull) })
	default:
		s.queue = append(s.queue, r)
		s.work()
	}
}

// work starts on the queue unless an operation is in progress. It starts in a turn of its own, so that the changes of one
// turn become one write.
func (s *Store) work() {
	if s.busy || len(s.queue) == 0 {
		return
	}
	s.busy = true
	s.loop.Post(func() {
		if s.queue[0].alone != nil {
			s.loop.AfterFunc(readTime, s.stand)
			return
		}
		n := 1
		for n < min(len(s.queue), maxBatch) && s.queue[n].alone == nil {
			n++
		}
		batch := s.take(n)
		w := make(write, n)
		for i, r := range batch {
			w[i] = r.change
		}
		if s.disk.user == s {
			s.disk.writing = w
		}
		s.loop.AfterFunc(s.disk.duration(), func() { s.finish(batch, w) })
	})
}

func (s *Store) take(n int) []request {
	batch := slices.Clone(s.queue[:n])
	s.queue = slices.Delete(s.queue, 0, n)
	return batch
}

// stand runs an operation that is not batched.
func (s *Store) stand() {
	r := s.take(1)[0]
	s.busy = false
	if s.disk.user != s {
		r.done(ErrTaken)
	} else {
		r.alone()
	}
	s.work()
}

// finish ends a write, successful or not.
func (s *Store) finish(batch []request, w write) {
	d, err := s.disk, error(nil)
	switch {
	case d.user != s:
		err = ErrTaken
	case d.hit(d.cfg.FailWrite):
		d.writing, err = nil, ErrIO
	default:
		d.writing = nil
		d.apply(w)
		if d.cut != nil && len(d.log) == d.cutAt {
			crash := d.cut
			d.cut = nil
			crash() // the store stays busy permanently
			return
		}
		if d.hit(d.cfg.FailLate) {
			err = ErrIO
		}
	}
	s.busy = false
	for _, r := range batch {
		r.done(err)
	}
	s.work()
}

var _ ports.AliasStore = (*Store)(nil)
