package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/record"
	"github.com/dhtprom/dhtprom/internal/tempfile"
)

// file is an open table: bbolt for writing, and all records in memory. Acknowledged records are in both, so a file that is
// damaged while it is open is written again from memory.
type file struct {
	path    string
	db      *bbolt.DB
	id      os.FileInfo // of the open file
	size    int64       // minimum size in bytes for the pages in use
	records map[string]map[string]record.Item
	tallies map[string]*tally
}

// delta is a change of some records: nil removes one.
type delta map[string]map[string][]byte

func (d delta) set(bucket []byte, alias string, payload []byte) {
	if d[string(bucket)] == nil {
		d[string(bucket)] = map[string][]byte{}
	}
	d[string(bucket)][alias] = payload
}

// openFile opens a table, and creates a missing one. A damaged one is replaced by a new file with its readable records, and
// kept under another name. The file is locked from the first read until the table is open or repaired, so that only one of
// several scrapers opens it.
func openFile(path string) (f *file, damage *domain.StoreDamage, err error) {
	b, locked, err := readFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if err := create(path, nil, keepExisting); err != nil {
			return nil, nil, err
		}
		b, locked, err = readFile(path)
	}
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if f == nil || damage != nil { // otherwise bbolt owns it
			_ = locked.Close()
		}
	}()
	tempfile.Sweep(path, 0) // temporary files of a concurrent creation are obsolete: this process has locked the table
	t := readTable(b)
	if kind := kindOf(b, t); kind != "" {
		return nil, nil, fmt.Errorf("it is %s and no alias table: move it away, or name another path", kind)
	}
	if t.newer != nil {
		return nil, nil, fmt.Errorf("%w of dhtprom than this one reads: install that version again, or move the file away to start with an empty table", t.newer)
	}
	if !t.damaged() {
		f, err = attach(path, t, locked)
		_, unwritten := errors.AsType[*writeError](err)
		if err == nil || unwritten || errors.Is(err, errInUse) {
			return f, nil, err
		}
		t.problem("%v", err) // damage that only bbolt detects
		if locked, err = lockAgain(path, b, err, locked); err != nil {
			return nil, nil, err
		}
	}
	damage = &domain.StoreDamage{Recovered: t.count(), Problems: t.problems}
	if t.more > 0 {
		damage.Problems = append(slices.Clip(t.problems), fmt.Sprintf("and %d more", t.more))
	}
	if damage.Kept, err = replace(path, t.records); err != nil {
		return nil, nil, fmt.Errorf("it is damaged (%s), and cannot be repaired: %w", t.problems[0], err)
	}
	f, err = reopen(path)
	return f, damage, err
}

// maxLinks bounds the symbolic links followed in a row, as on Linux.
const maxLinks = 40

// resolve follows symbolic links to the path of the file, which need not exist: a new file must not replace a link to it.
func resolve(path string) string {
	for range maxLinks {
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return path
}

// lockAgain locks a file again after bbolt failed to open it and closed it; if bbolt panicked, the file is still locked.
func lockAgain(path string, read []byte, cause error, locked *os.File) (*os.File, error) {
	if e, ok := errors.AsType[*damageError](cause); ok && e.panicked {
		return locked, nil
	}
	_ = locked.Close()
	b, again, err := readFile(path)
	if err == nil && !bytes.Equal(b, read) {
		err = errors.Join(errInUse, again.Close()) // another scraper was faster
	}
	return again, err
}

// reopen opens a table that was just repaired.
func reopen(path string) (*file, error) {
	b, locked, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("repaired file: %w", err)
	}
	t := readTable(b)
	if t.damaged() {
		return nil, errors.Join(fmt.Errorf("repaired file: %w", &damageError{what: t.problems[0]}), locked.Close())
	}
	return attach(path, t, locked)
}

var errInUse = errors.New("it is in use: is another scraper running with the same storage path?")

// readFile locks a table and reads it. Closing the file releases the lock.
func readFile(path string) (b []byte, locked *os.File, err error) {
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(lockPoll) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, nil, err
		}
		if lock(f) == nil {
			b, err := readLocked(path, f)
			if err == nil {
				return b, f, nil
			}
			_ = f.Close() // it was only read
			if !errors.Is(err, errReplaced) {
				return nil, nil, err
			}
		} else {
			_ = f.Close()
		}
		if time.Now().After(deadline) {
			return nil, nil, errInUse
		}
	}
}

var errReplaced = errors.New("it was replaced meanwhile")

// readLocked reads a locked file, unless the path now names another file, which the lock does not cover.
func readLocked(path string, f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // a device would look like a damaged table, and be replaced
		return nil, errors.New("it is not a regular file")
	}
	if now, err := os.Stat(path); err != nil || !os.SameFile(info, now) {
		return nil, errReplaced
	}
	return readPages(f, min(info.Size(), maxFile)), nil
}

// readPages reads n bytes. Unreadable parts stay zero, which the checks detect.
func readPages(f io.ReaderAt, n int64) []byte {
	b := make([]byte, n)
	if got, err := f.ReadAt(b, 0); int64(got) == n || err == nil || errors.Is(err, io.EOF) {
		return b[:got]
	}
	for at := int64(0); at < n; at += minPageSize {
		_, _ = f.ReadAt(b[at:min(at+minPageSize, n)], at)
	}
	return b
}

// sqliteHeader is the start of every SQLite database.
const sqliteHeader = "SQLite format 3\x00"

// kindOf returns the kind of a file that is not an alias table, for an error message, and "" for a table, damaged or not.
// Files of other programs are not renamed.
func kindOf(b []byte, t *table) string {
	switch {
	case len(b) > 0 && isText(b):
		return "a text file"
	case bytes.HasPrefix(b, []byte(sqliteHeader)):
		return "an SQLite database"
	case !t.damaged() && !t.known && t.other != "":
		return fmt.Sprintf("a bbolt database of another program, with a bucket %q,", clip(t.other))
	}
	return ""
}

// isText reports whether a file is text, and thus was named by mistake.
func isText(b []byte) bool {
	head := b[:min(len(b), 512)]
	for len(head) > 0 {
		c, n := utf8.DecodeRune(head)
		if c == utf8.RuneError && n <= 1 && utf8.FullRune(head) || !unicode.IsPrint(c) && !unicode.IsSpace(c) && c != utf8.RuneError {
			return false
		}
		head = head[n:]
	}
	return true
}

// attach opens a table whose records were read, in the locked file, which bbolt owns from then on.
func attach(path string, t *table, locked *os.File) (f *file, err error) {
	defer recoverDamage(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:  lockTimeout,
		OpenFile: func(string, int, os.FileMode) (*os.File, error) { return locked, nil },
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, errInUse
	}
	if err != nil {
		return nil, err
	}
	f = &file{path: path, db: db, records: t.records, tallies: map[string]*tally{}}
	for bucket, records := range t.records {
		f.tallies[bucket] = &tally{}
		for _, it := range records {
			f.tallies[bucket].add(it.Sum)
		}
	}
	if f.id, err = os.Stat(path); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if t.rescued > 0 || t.summary == nil || t.summary.Write != t.write {
		// Records of an interrupted write, or of a version without a summary: this write adds them to the summary.
		all := delta{}
		for bucket, records := range t.records {
			for alias, it := range records {
				if it.Write > t.write || it.Write == 0 && record.Readable(bucket, alias, it.Payload) {
					all.set([]byte(bucket), alias, it.Payload)
				}
			}
		}
		if err := f.write(all); err != nil {
			if e, ok := errors.AsType[*damageError](err); !ok || !e.panicked {
				err = &writeError{err}
			}
			return nil, errors.Join(err, f.giveUp(err))
		}
	}
	return f, f.measure()
}

func (f *file) measure() error {
	return f.db.View(func(tx *bbolt.Tx) error { f.size = tx.Size(); return nil })
}

// write makes a change durable, atomically.
func (f *file) write(d delta) (err error) {
	defer recoverDamage(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if err := f.check(); err != nil {
		return err
	}
	sealed := map[string]map[string]record.Item{}
	tallies := map[string]tally{}
	var write int
	if err := f.db.Update(func(tx *bbolt.Tx) error { write = tx.ID(); return f.apply(tx, d, sealed, tallies) }); err != nil {
		return f.failed(write, err)
	}
	for bucket, items := range sealed {
		for alias, it := range items {
			if it.Payload == nil {
				delete(f.records[bucket], alias)
			} else {
				f.records[bucket][alias] = it
			}
		}
		*f.tallies[bucket] = tallies[bucket]
	}
	return f.measure()
}

// failed classifies a failed write. The file is unchanged, unless the failure came after the header was written: then the
// change can be read but is not flushed, and a power cut may lose it.
func (f *file) failed(write int, cause error) error {
	return f.db.View(func(tx *bbolt.Tx) error {
		if tx.ID() >= write {
			return &damageError{what: fmt.Sprintf("the last write was not flushed: %v", cause)}
		}
		return cause
	})
}

// apply writes records and summary. It returns them in sealed and tallies, which take effect when the write is durable.
func (f *file) apply(tx *bbolt.Tx, d delta, sealed map[string]map[string]record.Item, tallies map[string]tally) error {
	write := uint64(tx.ID())
	for _, bucket := range []string{string(aliasBucket), string(pinBucket)} {
		b, err := tx.CreateBucketIfNotExists([]byte(bucket))
		if err != nil {
			return err
		}
		total := *f.tallies[bucket]
		sealed[bucket] = map[string]record.Item{}
		for _, alias := range slices.Sorted(maps.Keys(d[bucket])) {
			payload := d[bucket][alias]
			if old, known := f.records[bucket][alias]; known {
				total.remove(old.Sum)
			}
			if payload == nil {
				sealed[bucket][alias] = record.Item{}
				if err := b.Delete([]byte(alias)); err != nil {
					return err
				}
				continue
			}
			value, sum := record.Seal(bucket, alias, payload, write)
			total.add(sum)
			sealed[bucket][alias] = record.Item{Payload: payload, Write: write, Sum: sum}
			if err := b.Put([]byte(alias), value); err != nil {
				return err
			}
		}
		tallies[bucket] = total
	}
	b, err := tx.CreateBucketIfNotExists(summaryBucket)
	if err != nil {
		return err
	}
	payload, err := summaryOf(write, tallies)
	if err != nil {
		return err
	}
	value, _ := record.Seal(string(summaryBucket), string(summaryKey), payload, write)
	return b.Put(summaryKey, value)
}

// damageError reports damage of the file, as opposed to a disk that is full or fails.
type damageError struct {
	what     string
	panicked bool // bbolt may still hold its locks, so its database must not even be closed
}

func (e *damageError) Error() string { return "alias store is damaged: " + e.what }

// writeError reports a disk that cannot be written when an undamaged table is opened.
type writeError struct{ error }

func (e *writeError) Error() string { return "cannot be written: " + e.error.Error() }
func (e *writeError) Unwrap() error { return e.error }

// recoverDamage converts a fault of the mapped file, or a panic of bbolt on a damaged page, to an error.
func recoverDamage(err *error) {
	if r := recover(); r != nil {
		*err = &damageError{fmt.Sprint(r), true}
	}
}

// check returns an error if the file was removed, replaced or truncated while it was open.
func (f *file) check() error {
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return &damageError{what: "the file was removed"}
	case err != nil:
		return err
	case !os.SameFile(info, f.id):
		return &damageError{what: "the file was replaced"}
	case info.Size() < f.size:
		return &damageError{what: fmt.Sprintf("the file was truncated from %d to %d bytes", f.size, info.Size())}
	}
	return nil
}

// verify reads the whole file and checks it for damage. It must not be called during a write.
func (f *file) verify() error {
	if err := f.check(); err != nil {
		return err
	}
	in, err := os.Open(f.path)
	if err != nil {
		return err
	}
	t := readTable(readPages(in, min(f.size, maxFile)))
	if err := in.Close(); err != nil {
		return err
	}
	if t.damaged() {
		return &damageError{what: strings.Join(t.problems, "; ")}
	}
	return nil
}

// renew writes the table again from memory and keeps the damaged file under another name. The caller must call giveUp on f.
func (f *file) renew(cause error) (next *file, damage *domain.StoreDamage, err error) {
	if other, err := os.Open(f.path); err == nil {
		info, err := other.Stat()
		if err == nil && !os.SameFile(info, f.id) && lock(other) != nil {
			_ = other.Close()
			return nil, nil, errInUse // another scraper has opened the path
		}
		_ = other.Close()
	}
	kept, err := replace(f.path, f.records)
	if err != nil {
		return nil, nil, err
	}
	if next, err = reopen(f.path); err != nil {
		return nil, nil, err
	}
	n := len(f.records[string(aliasBucket)]) + len(f.records[string(pinBucket)])
	return next, &domain.StoreDamage{Kept: kept, Recovered: n, Problems: []string{cause.Error()}}, nil
}

// replace replaces a damaged file with a new one, and keeps the damaged one under a dated name. At every moment the path
// names one of the two.
func replace(path string, records map[string]map[string]record.Item) (kept string, err error) {
	if err := limitKept(path); err != nil {
		return "", err
	}
	kept = path + damagedSuffix + time.Now().UTC().Format("20060102T150405.000Z")
	err = os.Link(path, kept)
	linked := err == nil
	switch {
	case errors.Is(err, os.ErrNotExist):
		kept = "" // it was removed
	case err != nil: // not on every file system
		if err := os.Rename(path, kept); err != nil {
			return "", err
		}
	}
	if err := create(path, records, replaceExisting); err != nil {
		switch {
		case linked:
			err = errors.Join(err, os.Remove(kept))
		case kept != "":
			err = errors.Join(err, os.Rename(kept, path))
		}
		return "", err
	}
	return kept, nil
}

// limitKept removes the oldest damaged files, so that a disk that fails repeatedly does not fill up.
func limitKept(path string) error {
	all, err := os.ReadDir(filepath.Dir(path)) // by name, and so by date
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(e os.DirEntry) bool { return !strings.HasPrefix(e.Name(), filepath.Base(path)+damagedSuffix) })
	for len(all) >= maxKept {
		if err := os.Remove(filepath.Join(filepath.Dir(path), all[0].Name())); err != nil {
			return err
		}
		all = all[1:]
	}
	return nil
}

// existing selects whether create replaces an existing file.
type existing uint8

const (
	keepExisting existing = iota
	replaceExisting
)

// create writes a new table under a temporary name and renames it, so that a full disk leaves no partial table. The
// temporary name is random, so that scrapers that start at the same time on one path do not use the same file.
func create(path string, records map[string]map[string]record.Item, there existing) (err error) {
	beside := tempfile.Name(path)
	defer func() {
		if rest := os.Remove(beside); rest != nil && !errors.Is(rest, os.ErrNotExist) {
			err = errors.Join(err, rest)
		}
	}()
	if err := fill(beside, records); err != nil {
		return err
	}
	if there == replaceExisting {
		err = os.Rename(beside, path)
	} else if err = os.Link(beside, path); err != nil && !errors.Is(err, os.ErrExist) && !exists(path) {
		err = os.Rename(beside, path) // not every file system has links
	}
	if err != nil && there == keepExisting && exists(path) {
		err = nil // another scraper created it first
	}
	if err != nil {
		return err
	}
	// A new file survives a power cut only if its folder was flushed too.
	return tempfile.SyncDir(filepath.Dir(path))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// fill writes a new table with records.
func fill(path string, records map[string]map[string]record.Item) (err error) {
	defer recoverDamage(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		return err
	}
	f := &file{path: path, db: db, records: map[string]map[string]record.Item{}, tallies: map[string]*tally{}}
	all := delta{}
	for _, bucket := range []string{string(aliasBucket), string(pinBucket)} {
		f.records[bucket], f.tallies[bucket] = map[string]record.Item{}, &tally{}
		for alias, it := range records[bucket] {
			all.set([]byte(bucket), alias, it.Payload)
		}
	}
	return errors.Join(db.Update(func(tx *bbolt.Tx) error {
		return f.apply(tx, all, map[string]map[string]record.Item{}, map[string]tally{})
	}), db.Close())
}

// close closes the file.
func (f *file) close() (err error) {
	defer recoverDamage(&err)
	return f.db.Close()
}

// giveUp closes the file after an error, nil for none, unless bbolt has panicked.
func (f *file) giveUp(cause error) error {
	if e, ok := errors.AsType[*damageError](cause); ok && e.panicked {
		return nil
	}
	return f.close()
}

// makeDir creates a folder with its parents, and flushes the parent of each new one: otherwise a power cut can remove a
// folder, even if its content was flushed.
func makeDir(path string) error {
	var parents []string // of new folders
	for dir := filepath.Clean(path); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		parents = append(parents, filepath.Dir(dir))
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	for _, parent := range parents {
		// A folder that may be written and not read cannot be flushed.
		if err := tempfile.SyncDir(parent); err != nil && !errors.Is(err, os.ErrPermission) {
			return err
		}
	}
	return nil
}
