package bolt

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/cost"
	"github.com/dhtprom/dhtprom/internal/record"
)

type loop chan func()

func (l loop) Post(f func())           { l <- f }
func (l loop) Closed() <-chan struct{} { return nil }

// wait runs what was posted until f has called back.
func (l loop) wait(f func(done func(error))) (err error) {
	over := false
	f(func(e error) { over, err = true, e })
	for !over {
		(<-l)()
	}
	return err
}

func someEntry(alias string) domain.Entry {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return domain.Entry{Alias: domain.Alias(alias), Key: domain.PublicKey{1}, Registered: now, Renewed: now, Expires: now.Add(time.Hour)}
}

func filled(t *testing.T, n int) (loop, *Store, string) {
	t.Helper()
	l, path := make(loop, 1<<16), filepath.Join(t.TempDir(), "aliases.db")
	s, err := Open(l, path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		s.Put(someEntry(fmt.Sprint("a-", i)), func(error) {})
	}
	if err := l.wait(func(done func(error)) { s.Put(someEntry("last"), done) }); err != nil {
		t.Fatal(err)
	}
	return l, s, path
}

// The mapping of a file that became shorter faults when it is read: SIGBUS, which ends a Go program that is not
// prepared.
func TestFaultOfTheMappingIsAnError(t *testing.T) {
	l, s, path := filled(t, 600)
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	s.file.size = 0 // the file was cut after the check
	d := delta{}
	d.set(aliasBucket, "new", []byte("{}"))
	err := s.file.write(d)
	if _, damaged := errors.AsType[*damageError](err); !damaged {
		t.Fatalf("the fault is no damage: %v", err)
	}
	s.broken = err // as Store.write does
	// The store repairs it with the next write.
	if err := l.wait(func(done func(error)) { s.Put(someEntry("next"), done) }); err != nil {
		t.Error(err)
	}
	if n := len(s.file.records[string(aliasBucket)]); n != 602 {
		t.Errorf("%d records", n)
	}
	if err := l.wait(s.Close); err != nil {
		t.Error(err)
	}
}

// Damage where no write goes.
func TestCheckOfAnOpenFileFindsDamage(t *testing.T) {
	l, s, path := filled(t, 600)
	var reports []domain.StoreDamage
	s.OnDamage(func(d domain.StoreDamage) { reports = append(reports, d) })
	check := func() {
		s.push(change{alone: s.check, done: func(error) {}})
		if err := l.wait(func(done func(error)) { s.Put(someEntry("x"), done) }); err != nil {
			t.Error(err)
		}
	}
	check()
	if len(reports) > 0 {
		t.Errorf("a whole file: %+v", reports)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(2 * 4096); at < info.Size(); at += 4096 {
		if _, err := f.WriteAt([]byte{0xff}, at+100); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	check()
	if len(reports) != 1 || reports[0].Recovered != 602 {
		t.Errorf("reports %+v", reports)
	}
	if err := l.wait(s.Close); err != nil {
		t.Error(err)
	}
}

// A damaged table that cannot be repaired is not written to, although damage that a check has found need not be where the write goes.
func TestDamagedTableThatCannotBeRepairedIsNotWritten(t *testing.T) {
	l, s, path := filled(t, 3)
	var reports []domain.StoreDamage
	s.OnDamage(func(d domain.StoreDamage) { reports = append(reports, d) })
	put := func(alias string) error {
		return l.wait(func(done func(error)) { s.Put(someEntry(alias), done) })
	}
	// Damaged files cannot be removed to make room for this one.
	for i := range maxKept {
		if err := os.MkdirAll(filepath.Join(path+damagedSuffix+fmt.Sprint(i), "full"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s.broken = &damageError{what: "a page"} // as Store.check does
	if err := put("lost"); err == nil || !strings.HasPrefix(err.Error(), "alias store is damaged: a page; cannot be repaired: ") {
		t.Errorf("written: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !slices.Equal(before, after) || len(reports) > 0 {
		t.Errorf("the file has changed, %v; reports %+v", err, reports)
	}
	if err := os.RemoveAll(path + damagedSuffix + "0"); err != nil {
		t.Fatal(err)
	}
	if err := put("next"); err != nil || len(reports) != 1 || reports[0].Recovered != 4 {
		t.Errorf("not repaired: %v, reports %+v", err, reports)
	}
	if records := s.file.records[string(aliasBucket)]; len(records) != 5 {
		t.Errorf("%d records, want 5", len(records))
	}
	if err := l.wait(s.Close); err != nil {
		t.Error(err)
	}
}

func TestTableOfALaterVersionIsRefusedWithWords(t *testing.T) {
	l, s, path := filled(t, 3)
	if err := l.wait(s.Close); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error {
		value, _ := record.Seal(string(summaryBucket), string(summaryKey), fmt.Appendf(nil, `{"format":2,"write":%d,"trees":[]}`, tx.ID()), uint64(tx.ID()))
		return tx.Bucket(summaryBucket).Put(summaryKey, value)
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	if _, err = Open(l, path); err == nil || !strings.Contains(err.Error(), "later version") || !strings.Contains(err.Error(), "move the file away") {
		t.Errorf("error %v", err)
	}
	if after, _ := os.ReadFile(path); !slices.Equal(after, before) {
		t.Error("the file was changed")
	}
}

// A table of the version before summaries and checksums, and one that such a version has written to since.
func TestTablesOfEarlierVersionsAreTakenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "aliases.db")
	l := make(loop, 64)
	for round := range 3 {
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(aliasBucket)
			if err != nil {
				return err
			}
			for i := range 100 {
				payload, err := record.EncodeEntry(someEntry(fmt.Sprintf("%d-%d", round, i)))
				if err != nil {
					return err
				}
				if err := b.Put(fmt.Appendf(nil, "%d-%d", round, i), payload); err != nil {
					return err
				}
			}
			return b.Delete([]byte("0-0"))
		}); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := Open(l, path)
		if err != nil {
			t.Fatal(err)
		}
		s.OnDamage(func(d domain.StoreDamage) { t.Errorf("round %d: %+v", round, d) })
		var entries []domain.Entry
		if err := l.wait(func(done func(error)) {
			s.Load(func(e []domain.Entry, _ []error, err error) { entries = e; done(err) })
		}); err != nil {
			t.Fatal(err)
		}
		if len(entries) != 100*(round+1)-1 {
			t.Errorf("round %d: %d entries", round, len(entries))
		}
		if err := l.wait(s.Close); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOldestDamagedFilesAreRemoved(t *testing.T) {
	l, s, path := filled(t, 3)
	for i := range maxKept + 3 {
		if err := os.Truncate(path, int64(i)); err != nil {
			t.Fatal(err)
		}
		if err := l.wait(func(done func(error)) { s.Put(someEntry("x"), done) }); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := filepath.Glob(path + damagedSuffix + "*")
	if err != nil || len(kept) != maxKept {
		t.Errorf("%d are kept, %v", len(kept), err)
	}
	if err := l.wait(s.Close); err != nil {
		t.Error(err)
	}
}

// The reader accepts any bytes as a file, in time and memory that their size bounds.
// readingTable bounds the cost of reading a table: a page is searched for entries even where no tree leads to it, and each
// damage has a text.
var readingTable = cost.Bound{StepsPerByte: 32, Steps: 20_000, BytesPerByte: 32, Bytes: 256 << 10}

func FuzzReadTable(f *testing.F) {
	path := filepath.Join(f.TempDir(), "aliases.db")
	l := make(loop, 64)
	s, err := Open(l, path)
	if err != nil {
		f.Fatal(err)
	}
	if err := l.wait(func(done func(error)) { s.Put(someEntry("a"), done) }); err != nil {
		f.Fatal(err)
	}
	if err := l.wait(s.Close); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:5000])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var table *table
		readingTable.Check(t, len(b), func() { table = readTable(b) })
		if !table.damaged() && table.newer == nil && len(b) < 4*minPageSize {
			t.Error("a table of less than four pages is whole")
		}
		if len(table.problems) > maxProblems {
			t.Errorf("%d problems", len(table.problems))
		}
	})
}

// A change that bbolt rejects in the middle is not in memory either, and its writer receives the error.
func TestFailedWriteChangesNothing(t *testing.T) {
	l, s, _ := filled(t, 3)
	d := delta{}
	d.set(aliasBucket, "new", []byte("{}"))
	d.set(aliasBucket, strings.Repeat("x", bbolt.MaxKeySize+1), []byte("{}"))
	if err := s.file.write(d); err == nil {
		t.Error("a key that is too long is written")
	}
	if n := len(s.file.records[string(aliasBucket)]); n != 4 {
		t.Errorf("%d records in memory, want the 4 that are in the file", n)
	}
	if err := l.wait(s.Close); err != nil {
		t.Error(err)
	}
}

// A page that is neither free nor in use has a list of free pages that is not the table's: a page of it may be in use.
func TestPagesOutsideOfTheListAreDamage(t *testing.T) {
	l, s, path := filled(t, 600)
	if err := l.wait(s.Close); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if table := readTable(b); len(table.problems) > 0 {
		t.Fatalf("whole: %q", table.problems)
	}
	for page := 0; page < len(b); page += os.Getpagesize() {
		if flags, count := native.Uint16(b[page+8:]), native.Uint16(b[page+10:]); flags == flagFreelist && count > 0 {
			native.PutUint16(b[page+10:], count-1)
		}
	}
	table := readTable(b)
	if len(table.problems) != 1 || !strings.HasSuffix(table.problems[0], "is neither free nor in use") || table.count() != 601 {
		t.Errorf("%d records, problems %q", table.count(), table.problems)
	}
}

// A page size that is not the file's own would have the reader look at the wrong places.
func TestHeadersWithAnotherPageSizeAreDamage(t *testing.T) {
	l, s, path := filled(t, 600)
	if err := l.wait(s.Close); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	size := os.Getpagesize()
	for _, other := range []uint32{0, 1, 1 << 31} {
		b := slices.Clone(whole)
		for at := range 2 {
			m := b[at*size+pageHeader:]
			native.PutUint32(m[8:], other)
			sum := fnv.New64a()
			sum.Write(m[:metaSize-8])
			native.PutUint64(m[metaSize-8:], sum.Sum64())
		}
		table := readTable(b)
		if !slices.Contains(table.problems, fmt.Sprintf("page size %d", other)) {
			t.Errorf("%d: problems %q", other, table.problems)
		}
		if n := table.count(); n != 601 {
			t.Errorf("%d: %d records are read, want 601", other, n)
		}
	}
}

// A branch whose key is the last one of the page before would hide that record from bbolt.
func TestKeyThatIsThereTwiceAboveIsDamage(t *testing.T) {
	l, path := make(loop, 1<<16), filepath.Join(t.TempDir(), "aliases.db")
	s, err := Open(l, path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 600 {
		s.Put(someEntry(fmt.Sprintf("a-%04d", i)), func(error) {})
	}
	if err := l.wait(func(done func(error)) { s.Put(someEntry("a-0000"), done) }); err != nil {
		t.Fatal(err)
	}
	if err := l.wait(s.Close); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	size, changed := os.Getpagesize(), 0
	for at := 2 * size; at < len(b); at += size {
		p := b[at : at+size]
		if native.Uint16(p[8:]) != flagBranch || native.Uint16(p[10:]) < 2 {
			continue
		}
		_, child, ok := branchElement(p, 0)
		second, _, ok2 := branchElement(p, 1)
		if !ok || !ok2 || int(child)*size+size > len(b) {
			continue
		}
		leaf := b[int(child)*size:][:size]
		if _, last, _, ok := leafElement(leaf, int(native.Uint16(leaf[10:]))-1); ok && len(last) == len(second) {
			changed += copy(second, last)
		}
	}
	if table := readTable(b); changed == 0 || !slices.ContainsFunc(table.problems, func(p string) bool { return strings.Contains(p, "out of order") }) {
		t.Errorf("%d bytes changed, problems %q", changed, table.problems)
	}
}
