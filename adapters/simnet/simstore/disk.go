// Package simstore is a simulated disk with an alias table on it, modelled on adapters/bolt: changes queued while a write
// is in progress become one write, and a write takes effect as a whole or not at all.
//
// A Disk outlives the hosts that use it. Its writes take virtual time and may fail; a write in progress at a crash is on
// the disk or is not, and queued changes are lost. The seed decides which.
//
//	disk := simstore.NewDisk(simstore.Config{Seed: 1, FailWrite: 0.01})
//	store := simstore.Open(host, disk)
//	... host crashes and boots again ...
//	store = simstore.Open(host.Restart(), disk)
//
// To test a crash between any two writes, run once and then open CopyAt(i) for every i up to Writes, or cut the power at
// write i (CutPower) during the run.
package simstore

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// Errors of a simulated disk.
var (
	ErrIO     = errors.New("simstore: input/output error")
	ErrClosed = errors.New("simstore: store is closed")
	ErrFull   = errors.New("simstore: store is overloaded")
	ErrTaken  = errors.New("simstore: another store has opened the disk")
	errSpoilt = errors.New("simstore: record cannot be read")
)

const (
	// writeTime is a flush of an SSD, and readTime the read of a table from the page cache.
	writeTime = 2 * time.Millisecond
	readTime  = time.Millisecond
	// maxBatch and maxQueue are the limits of adapters/bolt.
	maxBatch = 1024
	maxQueue = 1 << 16
)

// Config configures a disk. The zero Config is a disk without faults.
type Config struct {
	// Seed decides which operations fail.
	Seed uint64
	// WriteTime is the duration of a write; 0 means 2 ms.
	WriteTime time.Duration
	// Stall is the probability that a write takes up to StallFor (0: 1 s) longer.
	Stall    float64
	StallFor time.Duration
	// FailWrite is the probability that a write fails and changes nothing; FailLate that it fails although the change is on
	// the disk, as when the flush fails after the data was written.
	FailWrite, FailLate float64
	// FailRead is the probability that a Load fails.
	FailRead float64
}

// Disk is the state that survives a crash.
type Disk struct {
	cfg     Config
	random  *rand.Rand
	records map[domain.Alias]domain.Entry
	spoilt  map[domain.Alias]bool
	log     []write // all writes that took effect
	writing write   // in progress; nil for none
	user    *Store  // the store that has the disk open
	cutAt   int
	cut     func()
}

// write is a set of changes that take effect together.
type write []change

// change deletes aliases and sets entries.
type change struct {
	put     []domain.Entry
	deleted []domain.Alias
}

// NewDisk returns an empty disk.
func NewDisk(cfg Config) *Disk {
	if cfg.WriteTime <= 0 {
		cfg.WriteTime = writeTime
	}
	if cfg.StallFor <= 0 {
		cfg.StallFor = time.Second
	}
	return &Disk{
		cfg: cfg, random: rand.New(rand.NewPCG(cfg.Seed, 0)), cutAt: -1,
		records: map[domain.Alias]domain.Entry{}, spoilt: map[domain.Alias]bool{},
	}
}

// SetConfig replaces the configuration: Config{} removes all faults. The random stream continues.
func (d *Disk) SetConfig(cfg Config) {
	fresh := NewDisk(cfg)
	d.cfg = fresh.cfg
}

// Writes returns the number of writes that took effect so far.
func (d *Disk) Writes() int { return len(d.log) }

// CopyAt returns a disk without faults that holds the state after the first n writes: a crash copy. Spoilt records are
// readable there.
func (d *Disk) CopyAt(n int) *Disk {
	c := NewDisk(Config{Seed: d.cfg.Seed})
	for _, w := range d.log[:n] {
		c.apply(w)
	}
	return c
}

// Replay calls f with a disk as this one was after each write.
func (d *Disk) Replay(f func(*Disk)) {
	c := NewDisk(Config{Seed: d.cfg.Seed})
	for _, w := range d.log {
		c.apply(w)
		f(c)
	}
}

// CutPower calls crash when n writes have taken effect, this one included, before its changes are acknowledged: crash must
// crash the host that uses the disk. The open store acknowledges nothing after that.
func (d *Disk) CutPower(n int, crash func()) { d.cutAt, d.cut = n, crash }

// Spoil makes the record of an alias unreadable until it is written again.
func (d *Disk) Spoil(alias domain.Alias) {
	if _, ok := d.records[alias]; ok {
		d.spoilt[alias] = true
	}
}

// Entries returns the entries on the disk, sorted by alias, without unreadable records.
func (d *Disk) Entries() []domain.Entry {
	entries := slices.Collect(maps.Values(d.records))
	entries = slices.DeleteFunc(entries, func(e domain.Entry) bool { return d.spoilt[e.Alias] })
	slices.SortFunc(entries, func(a, b domain.Entry) int { return strings.Compare(string(a.Alias), string(b.Alias)) })
	return entries
}

// bad returns an error for each unreadable record, sorted by alias.
func (d *Disk) bad() []error {
	var bad []error
	for _, alias := range slices.Sorted(maps.Keys(d.spoilt)) {
		bad = append(bad, fmt.Errorf("record of alias %q: %w", alias, errSpoilt))
	}
	return bad
}

func (d *Disk) apply(w write) {
	for _, c := range w {
		for _, a := range c.deleted {
			delete(d.records, a)
			delete(d.spoilt, a)
		}
		for _, e := range c.put {
			d.records[e.Alias] = e
			delete(d.spoilt, e.Alias)
		}
	}
	d.log = append(d.log, w)
}

// recover decides whether the write in progress at the crash took effect.
func (d *Disk) recover() {
	if d.writing != nil && d.random.Uint64()&1 == 0 {
		d.apply(d.writing)
	}
	d.writing = nil
}

func (d *Disk) hit(p float64) bool { return p > 0 && d.random.Float64() < p }

// duration draws the duration of the next write.
func (d *Disk) duration() time.Duration {
	t := d.cfg.WriteTime
	if d.hit(d.cfg.Stall) {
		t += time.Duration(d.random.Int64N(int64(d.cfg.StallFor))) + 1
	}
	return t
}
