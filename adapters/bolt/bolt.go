// Package bolt implements the alias store in a bbolt file.
//
// The file has the buckets "aliases" and "pins", which map the alias's bytes to a JSON record followed by a checksum, and
// "summary", with the count and the sum of checksums of both. Records have a version, so that later programs can read them;
// a record that cannot be read is reported and left unchanged.
//
// A goroutine of the store does the work, because a durable write waits for the disk and the loop must not.
// Changes queued during a write become one write, so a swarm that registers at the same time costs a few disk flushes,
// not one per client.
//
// # Damage
//
// Before bbolt opens a file, all of its pages are read and checked (pages.go), because bbolt trusts them: each record
// against its checksum, all of them against the summary, and every page for being either free or in use once. Records of a
// write interrupted by a crash are in pages that are not reachable yet, and are recovered; its deletions are not.
//
// A damaged file is kept as FILE.damaged-TIME, its readable records are copied to a new one, and OnDamage reports it. While
// the store is open all records are in memory too; if a write or the hourly check finds damage, or a file that was removed
// or truncated, the file is written again without loss.
package bolt

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/record"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

const (
	// lockTimeout bounds the wait of Open for another process to release the file: long enough for a restart, short
	// enough to notice a second scraper. lockPoll is how often it tries.
	lockTimeout = 2 * time.Second
	lockPoll    = 50 * time.Millisecond
	// maxQueue bounds the changes that wait for the disk, far above the limits of the use cases.
	maxQueue = 1 << 16
	// maxBatch bounds the changes in one write, and so the time that the first of them waits for the last.
	maxBatch = 1024
	// verifyEvery is the interval at which an open file is read and checked, which takes some 50 ms for 10,000 aliases.
	verifyEvery = time.Hour
	// damagedSuffix and a date are appended to the name of a damaged file; maxKept bounds the number of such files.
	damagedSuffix = ".damaged-"
	maxKept       = 8
)

var (
	errClosed = errors.New("alias store is closed")
	errFull   = errors.New("alias store is overloaded")
)

// Store is an alias store in a file. Its methods may be called from one goroutine: the loop.
type Store struct {
	loop     host.Loop
	onDamage func(domain.StoreDamage) // on the loop
	found    []domain.StoreDamage     // before there was a handler; on the loop

	file   *file // owned by the goroutine
	broken error // damage that is not repaired yet; the file's database must not be used

	mu     sync.Mutex
	wake   *sync.Cond
	queue  []change
	closed bool
	verify *time.Timer
}

// change is one entry of the queue. set adds all of it to a write, or nothing; for a change without set, alone runs after the changes
// before it.
type change struct {
	set   func(delta) error
	alone func() func()
	done  func(error)
}

// Open opens the file. If missing, it creates the file, readable by its owner only, and its folder. It follows symbolic
// links. A damaged file is repaired; see OnDamage.
func Open(loop host.Loop, path string) (*Store, error) {
	if err := makeDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("alias store: %w", err)
	}
	path = resolve(path) // the folder of a link's target is not created: its disk may not be mounted yet
	f, damage, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("alias store %s: %w", path, err)
	}
	s := &Store{loop: loop, file: f}
	if damage != nil {
		s.found = append(s.found, *damage)
	}
	s.wake = sync.NewCond(&s.mu)
	s.verify = time.AfterFunc(verifyEvery, func() {
		s.push(change{alone: s.check, done: func(error) {}})
	})
	go s.work()
	return s, nil
}

// OnDamage implements ports.AliasStore.
func (s *Store) OnDamage(f func(domain.StoreDamage)) {
	s.onDamage = f
	found := s.found
	s.found = nil
	for _, d := range found {
		s.loop.Post(func() { f(d) })
	}
}

func (s *Store) report(d domain.StoreDamage) {
	s.loop.Post(func() {
		if s.onDamage == nil {
			s.found = append(s.found, d)
			return
		}
		s.onDamage(d)
	})
}

// Load reads all entries, by alias.
func (s *Store) Load(done func([]domain.Entry, []error, error)) {
	load(s, aliasBucket, record.DecodeEntry, done)
}

// Put sets an entry.
func (s *Store) Put(e domain.Entry, done func(error)) {
	payload, err := record.EncodeEntry(e)
	s.put(aliasBucket, e.Alias, payload, err, done)
}

// PutSet changes the entries of a set.
func (s *Store) PutSet(c domain.SetChange, done func(error)) {
	c.Put, c.Delete, c.Pins = slices.Clone(c.Put), slices.Clone(c.Delete), slices.Clone(c.Pins)
	s.push(change{set: func(d delta) error { return addSet(d, c) }, done: done})
}

func addSet(d delta, c domain.SetChange) error {
	var err error
	payloads := make([][]byte, 0, len(c.Put)+len(c.Pins))
	encoded := func(payload []byte, failed error) {
		payloads, err = append(payloads, payload), errors.Join(err, failed)
	}
	for _, e := range c.Put {
		encoded(record.EncodeEntry(e))
	}
	for _, p := range c.Pins {
		encoded(record.EncodePin(p))
	}
	if err != nil {
		return err
	}
	for _, a := range c.Delete {
		d.set(aliasBucket, string(a), nil)
	}
	for i, e := range c.Put {
		d.set(aliasBucket, string(e.Alias), payloads[i])
	}
	for i, p := range c.Pins {
		d.set(pinBucket, string(p.Alias), payloads[len(c.Put)+i])
	}
	return nil
}

// LoadPins reads all pins, by alias.
func (s *Store) LoadPins(done func([]domain.Pin, []error, error)) {
	load(s, pinBucket, record.DecodePin, done)
}

// PutPin sets a pin.
func (s *Store) PutPin(p domain.Pin, done func(error)) {
	payload, err := record.EncodePin(p)
	s.put(pinBucket, p.Alias, payload, err, done)
}

// DeletePin removes a pin.
func (s *Store) DeletePin(a domain.Alias, done func(error)) {
	s.put(pinBucket, a, nil, nil, done)
}

func load[T any](s *Store, bucket []byte, decode func(alias string, value []byte) (T, error), done func([]T, []error, error)) {
	s.push(change{
		alone: func() func() {
			var all []T
			var bad []error
			records := s.file.records[string(bucket)]
			for _, alias := range slices.Sorted(maps.Keys(records)) {
				one, err := decode(alias, records[alias].Payload)
				if err != nil {
					bad = append(bad, fmt.Errorf("record of alias %q in %s: %w", clip(alias), bucket, err))
					continue
				}
				all = append(all, one)
			}
			return func() { done(all, bad, nil) }
		},
		done: func(err error) { done(nil, nil, err) },
	})
}

func (s *Store) put(bucket []byte, a domain.Alias, payload []byte, err error, done func(error)) {
	s.push(change{set: func(d delta) error {
		if err == nil {
			d.set(bucket, string(a), payload)
		}
		return err
	}, done: done})
}

// Delete removes aliases.
func (s *Store) Delete(aliases []domain.Alias, done func(error)) {
	aliases = slices.Clone(aliases)
	s.push(change{
		set: func(d delta) error {
			for _, a := range aliases {
				d.set(aliasBucket, string(a), nil)
			}
			return nil
		},
		done: done,
	})
}

// Close finishes queued changes and closes the file.
func (s *Store) Close(done func(error)) {
	s.verify.Stop()
	s.push(change{
		alone: func() func() {
			err := s.file.giveUp(s.broken)
			return func() { done(err) }
		},
		done: done,
	})
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.wake.Signal()
}

func (s *Store) push(c change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		s.loop.Post(func() { c.done(errClosed) })
	case len(s.queue) >= maxQueue:
		s.loop.Post(func() { c.done(errFull) })
	default:
		s.queue = append(s.queue, c)
		s.wake.Signal()
	}
}

// work applies queued changes until the store is closed.
func (s *Store) work() {
	for {
		batch, more := s.next()
		if !more {
			return
		}
		if c := batch[0]; c.set == nil {
			s.loop.Post(c.alone())
			continue
		}
		d, failed := delta{}, make([]error, len(batch))
		for i, c := range batch {
			failed[i] = c.set(d)
		}
		err := s.write(d)
		s.loop.Post(func() {
			for i, c := range batch {
				c.done(cmp.Or(failed[i], err))
			}
		})
	}
}

// next waits for the changes of the next write, or for one without set.
func (s *Store) next() (batch []change, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 {
		if s.closed {
			return nil, false
		}
		s.wake.Wait()
	}
	n := 1
	for s.queue[0].set != nil && n < min(len(s.queue), maxBatch) && s.queue[n].set != nil {
		n++
	}
	batch = slices.Clone(s.queue[:n])
	s.queue = slices.Delete(s.queue, 0, n)
	return batch, true
}

// write makes a change durable, atomically. On damage it does so in a new file; damage of the new file, too, is repaired by
// the next change.
func (s *Store) write(d delta) error {
	if s.broken == nil {
		if err := s.tryWrite(d); s.broken == nil {
			return err
		}
	}
	if err := s.renew(); err != nil {
		return err
	}
	return s.tryWrite(d)
}

// tryWrite writes to the current file, and records damage.
func (s *Store) tryWrite(d delta) error {
	err := s.file.write(d)
	if _, damaged := errors.AsType[*damageError](err); damaged {
		s.broken = err
	}
	return err
}

// renew repairs the file after damage.
func (s *Store) renew() error {
	next, damage, err := s.file.renew(s.broken)
	if err != nil {
		return fmt.Errorf("%w; cannot be repaired: %w", s.broken, err)
	}
	_ = s.file.giveUp(s.broken) // the new file has all that was in it
	s.file, s.broken = next, nil
	s.report(*damage)
	return nil
}

// check looks for damage in the file while it is open.
func (s *Store) check() func() {
	if s.broken == nil {
		if err := s.file.verify(); err != nil {
			if _, damaged := errors.AsType[*damageError](err); damaged {
				s.broken = err
			}
		}
	}
	if s.broken != nil {
		_ = s.renew() // the next write reports an error
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed {
			s.verify.Reset(verifyEvery)
		}
	}
}

func clip(text string) string { return text[:min(len(text), domain.MaxAlias)] }

var (
	_ ports.AliasStore = (*Store)(nil)
	_ ports.PinStore   = (*Store)(nil)
)
