// Package bolt keeps the alias table in a bbolt file.
//
// The file has two buckets, "aliases" and "pins": the alias's bytes to a JSON record. Records say their version, so
// that later programs can read them; one that cannot be read is reported and left alone.
//
// A goroutine of the store's own does the work, because a durable write waits for the disk and the loop must not.
// Changes that queue up while a write is under way become one write, so a swarm that registers together costs a few
// disk flushes, not one each.
package bolt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

const (
	recordVersion = 1
	// lockTimeout is how long Open waits for another process to let go of the file: long enough for a restart,
	// short enough to notice a second scraper.
	lockTimeout = 2 * time.Second
	// maxQueue bounds the changes that wait for the disk; the use cases stop far below.
	maxQueue = 1 << 16
	// maxBatch bounds the changes in one write, and so the time that the first of them waits for the last.
	maxBatch = 1024
)

var aliasBucket, pinBucket = []byte("aliases"), []byte("pins")

var (
	errClosed = errors.New("alias store is closed")
	errFull   = errors.New("alias store is overloaded")
)

// Loop is where callbacks run: a host.Host.
type Loop interface{ Post(func()) }

// Store is an alias store in a file. Its methods may be called from one goroutine: the loop.
type Store struct {
	loop Loop
	db   *bbolt.DB

	mu     sync.Mutex
	wake   *sync.Cond
	queue  []change
	closed bool
}

// change is one entry of the queue, in the order asked for. run works inside a write; a change without one waits
// for those before it and then calls alone.
type change struct {
	run   func(*bbolt.Tx) error
	alone func() func()
	done  func(error)
}

// Open opens the file, or makes it, readable for its owner alone, and the folder that it is in.
func Open(loop Loop, path string) (s *Store, err error) {
	// bbolt panics on some kinds of damage.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("alias store %s is damaged: %v", path, r)
		}
	}()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("alias store: %w", err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout})
	if errors.Is(err, bbolt.ErrTimeout) {
		return nil, fmt.Errorf("alias store %s is in use: is another scraper running with the same storage path?", path)
	}
	if err != nil {
		return nil, fmt.Errorf("alias store %s: %w", path, err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error {
		_, aliases := tx.CreateBucketIfNotExists(aliasBucket)
		_, pins := tx.CreateBucketIfNotExists(pinBucket)
		return errors.Join(aliases, pins)
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("alias store %s: %w", path, err), db.Close())
	}
	// A new file is only there after a power cut when its folder was flushed too.
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, errors.Join(fmt.Errorf("alias store %s: %w", path, err), db.Close())
	}
	s = &Store{loop: loop, db: db}
	s.wake = sync.NewCond(&s.mu)
	go s.work()
	return s, nil
}

// syncDir flushes a folder. Windows has no such thing, and needs none.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Load reads all entries, by alias.
func (s *Store) Load(done func([]domain.Entry, []error, error)) { load(s, aliasBucket, decode, done) }

// Put sets an entry.
func (s *Store) Put(e domain.Entry, done func(error)) {
	value, err := encode(e)
	s.put(aliasBucket, e.Alias, value, err, done)
}

// LoadPins reads all pins, by alias.
func (s *Store) LoadPins(done func([]domain.Pin, []error, error)) {
	load(s, pinBucket, decodePin, done)
}

// PutPin sets a pin.
func (s *Store) PutPin(p domain.Pin, done func(error)) {
	value, err := json.Marshal(pinRecord{Version: recordVersion, Key: p.Key, Since: p.Since.UTC()})
	s.put(pinBucket, p.Alias, value, err, done)
}

// DeletePin removes a pin.
func (s *Store) DeletePin(a domain.Alias, done func(error)) {
	s.push(change{run: func(tx *bbolt.Tx) error { return tx.Bucket(pinBucket).Delete([]byte(a)) }, done: done})
}

func load[T any](s *Store, bucket []byte, decode func(alias, value []byte) (T, error), done func([]T, []error, error)) {
	s.push(change{
		alone: func() func() {
			all, bad, err := read(s.db, bucket, decode)
			return func() { done(all, bad, err) }
		},
		done: func(err error) { done(nil, nil, err) },
	})
}

func (s *Store) put(bucket []byte, a domain.Alias, value []byte, failed error, done func(error)) {
	s.push(change{
		run: func(tx *bbolt.Tx) error {
			if failed != nil {
				return failed
			}
			return tx.Bucket(bucket).Put([]byte(a), value)
		},
		done: done,
	})
}

// Delete removes aliases.
func (s *Store) Delete(aliases []domain.Alias, done func(error)) {
	aliases = slices.Clone(aliases)
	s.push(change{
		run: func(tx *bbolt.Tx) error {
			for _, a := range aliases {
				if err := tx.Bucket(aliasBucket).Delete([]byte(a)); err != nil {
					return err
				}
			}
			return nil
		},
		done: done,
	})
}

// Close finishes the changes under way and closes the file.
func (s *Store) Close(done func(error)) {
	s.push(change{
		alone: func() func() {
			err := s.db.Close()
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

// work does what is queued until the store is closed.
func (s *Store) work() {
	for {
		batch, more := s.next()
		if !more {
			return
		}
		if c := batch[0]; c.run == nil {
			s.loop.Post(c.alone())
			continue
		}
		err := s.write(batch)
		s.loop.Post(func() {
			for _, c := range batch {
				c.done(err)
			}
		})
	}
}

// next waits for the next changes that make one write, or for one that stands alone.
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
	for s.queue[0].run != nil && n < min(len(s.queue), maxBatch) && s.queue[n].run != nil {
		n++
	}
	batch = slices.Clone(s.queue[:n])
	s.queue = slices.Delete(s.queue, 0, n)
	return batch, true
}

// write makes a batch durable: all of it or nothing.
func (s *Store) write(batch []change) (err error) {
	defer recoverDamage(&err)
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, c := range batch {
			if err := c.run(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

func read[T any](db *bbolt.DB, bucket []byte, decode func(alias, value []byte) (T, error)) (all []T, bad []error, err error) {
	defer recoverDamage(&err)
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(alias, value []byte) error {
			one, err := decode(alias, value)
			if err != nil {
				bad = append(bad, fmt.Errorf("record of alias %q in %s: %w", clip(alias), bucket, err))
				return nil
			}
			all = append(all, one)
			return nil
		})
	})
	return all, bad, err
}

// recoverDamage turns a panic of bbolt on a damaged page into an error.
func recoverDamage(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("alias store is damaged: %v", r)
	}
}

func clip(b []byte) []byte { return b[:min(len(b), domain.MaxAlias)] }

// record is an entry as it lies on disk.
type record struct {
	Version    int              `json:"v"`
	Key        domain.PublicKey `json:"key"`
	Hostname   string           `json:"hostname"`
	Service    string           `json:"service"`
	Instance   domain.Instance  `json:"instance,omitzero"`
	Registered time.Time        `json:"registered"`
	Renewed    time.Time        `json:"renewed"`
	Expires    time.Time        `json:"expires"`
}

func encode(e domain.Entry) ([]byte, error) {
	return json.Marshal(record{
		Version: recordVersion, Key: e.Key, Hostname: e.Hostname, Service: e.Service, Instance: e.Instance,
		Registered: e.Registered.UTC(), Renewed: e.Renewed.UTC(), Expires: e.Expires.UTC(),
	})
}

func decode(alias, value []byte) (domain.Entry, error) {
	var r record
	if err := json.NewDecoder(bytes.NewReader(value)).Decode(&r); err != nil {
		return domain.Entry{}, err
	}
	if r.Version != recordVersion {
		return domain.Entry{}, fmt.Errorf("version %d, this program reads %d", r.Version, recordVersion)
	}
	e := domain.Entry{
		Alias: domain.Alias(alias), Key: r.Key, Hostname: r.Hostname, Service: r.Service, Instance: r.Instance,
		Registered: r.Registered, Renewed: r.Renewed, Expires: r.Expires,
	}
	return e, e.Check()
}

// pinRecord is a pin as it lies on disk.
type pinRecord struct {
	Version int              `json:"v"`
	Key     domain.PublicKey `json:"key"`
	Since   time.Time        `json:"since"`
}

func decodePin(alias, value []byte) (domain.Pin, error) {
	var r pinRecord
	if err := json.NewDecoder(bytes.NewReader(value)).Decode(&r); err != nil {
		return domain.Pin{}, err
	}
	if r.Version != recordVersion {
		return domain.Pin{}, fmt.Errorf("version %d, this program reads %d", r.Version, recordVersion)
	}
	p := domain.Pin{Alias: domain.Alias(alias), Key: r.Key, Since: r.Since}
	return p, p.Check()
}

var (
	_ ports.AliasStore = (*Store)(nil)
	_ ports.PinStore   = (*Store)(nil)
)
