package bolt_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/dhtprom/dhtprom/adapters/bolt"
	"github.com/dhtprom/dhtprom/domain"
)

// TestFailingDiskLosesNothingAcknowledged runs a writer in a process of its own, and has one of its writes or flushes fail, or all of
// them from one on. Each change gets an answer; the next start finds what was acknowledged, nothing that was refused
// before, and no damage.
func TestFailingDiskLosesNothingAcknowledged(t *testing.T) {
	if path := os.Getenv("DHTPROM_TEST_FAILING_DISK"); path != "" {
		writeOnFailingDisk(t, path)
		return
	}
	for _, disk := range []struct {
		err     syscall.Errno
		lasting bool
	}{{syscall.EIO, false}, {syscall.EROFS, true}, {syscall.ENOSPC, true}} {
		t.Run(fmt.Sprintf("%s lasting=%v", unix.ErrnoName(disk.err), disk.lasting), func(t *testing.T) {
			for at := 0; ; at++ {
				said := failAt(t, at, disk.err, func(call int) bool { return call == at || disk.lasting && call > at })
				if said == nil {
					break
				}
				if acknowledged := with(said, "acknowledged "); !disk.lasting && opens(said) && acknowledged < failingWrites-1 {
					t.Errorf("a disk that failed once is not written any more: %q", said)
				}
			}
		})
	}
	// The first failure has the table written again, and the second one comes at any time afterwards.
	t.Run("twice", func(t *testing.T) {
		first := 0
		for with(failAt(t, first, syscall.EIO, func(call int) bool { return call == first }), "damage ") == 0 {
			first++
		}
		for second := first + 1; ; second++ {
			said := failAt(t, second, syscall.EIO, func(call int) bool { return call == first || call == second })
			if said == nil {
				break
			}
			if with(said, "acknowledged ") < failingWrites-2 {
				t.Errorf("a disk that failed twice is not written any more: %q", said)
			}
		}
	})
}

// with counts the lines that start with a word.
func with(said []string, word string) (n int) {
	for _, line := range said {
		if strings.HasPrefix(line, word) {
			n++
		}
	}
	return n
}

// opens reports whether the writer could open its table.
func opens(said []string) bool { return with(said, "not opened") == 0 }

const failingWrites = 4

// writeOnFailingDisk prints for each entry whether it was acknowledged or refused.
func writeOnFailingDisk(t *testing.T, path string) {
	l := newLoop()
	s, err := bolt.Open(l, path)
	if err != nil {
		say("not opened: %v", err)
		return
	}
	s.OnDamage(func(d domain.StoreDamage) { say("damage %v", d.Problems) })
	for i := range failingWrites {
		e := entry(fmt.Sprint("alias-", i), 1)
		l.run(func(done func()) {
			s.Put(e, func(err error) {
				if err != nil {
					say("refused %s: %v", e.Alias, err)
				} else {
					say("acknowledged %s", e.Alias)
				}
				done()
			})
		})
	}
	l.run(func(done func()) { s.Close(func(error) { done() }) })
	say("closed")
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); strings.HasPrefix(to, filepath.Dir(path)) {
			say("still open %s", to)
		}
	}
}

func say(format string, args ...any) { _, _ = fmt.Fprintf(os.Stdout, format+"\n", args...) }

// failAt makes calls of the writer's disk fail, the n-th among them, and returns the writer's output; nil without an n-th call.
func failAt(t *testing.T, n int, err syscall.Errno, fails func(call int) bool) []string {
	t.Helper()
	return failOn(t, filepath.Join(t.TempDir(), "aliases.db"), n, err, fails)
}

// failOn is failAt on a table that may exist.
func failOn(t *testing.T, path string, n int, err syscall.Errno, fails func(call int) bool, before ...domain.Alias) []string {
	t.Helper()
	calls := 0
	failing := map[int]bool{} // threads in a call that fails
	var said []string
	trace(t, "^TestFailingDiskLosesNothingAcknowledged$", "DHTPROM_TEST_FAILING_DISK="+path, tracer{
		wrote: func(text string) { said = append(said, strings.TrimSpace(text)) },
		entered: func(thread int, call syscallInfo) {
			if !slices.Contains([]uint64{unix.SYS_PWRITE64, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FTRUNCATE}, call.nr) {
				return
			}
			if fails(calls) {
				failing[thread] = true
				setRegisters(t, thread, func(r *unix.PtraceRegs) { r.Orig_rax = ^uint64(0) }) // no call at all
			}
			calls++
		},
		left: func(thread int, _ syscallInfo) {
			if failing[thread] {
				delete(failing, thread)
				setRegisters(t, thread, func(r *unix.PtraceRegs) { r.Rax = -uint64(err) })
			}
		},
	})
	if calls <= n {
		return nil
	}
	where := fmt.Sprintf("call %d fails: %q", n, said)
	l, s, entries, reports, bad := opened(t, path)
	defer closeStore(t, l, s)
	for _, a := range before {
		if _, known := entries[a]; !known {
			t.Errorf("%s is lost; %s", a, where)
		}
	}
	acknowledged := len(before)
	var doubtful []domain.Alias // refused since the last write that succeeded
	for _, line := range said {
		if alias, ok := strings.CutPrefix(line, "acknowledged "); ok {
			acknowledged, doubtful = acknowledged+1, nil
			if _, known := entries[domain.Alias(alias)]; !known {
				t.Errorf("%s is lost; %s", alias, where)
			}
		}
		if refused, ok := strings.CutPrefix(line, "refused "); ok {
			alias, _, _ := strings.Cut(refused, ":")
			doubtful = append(doubtful, domain.Alias(alias))
		}
	}
	// One of those may be on the disk, like a write that a power cut interrupts.
	if i := slices.IndexFunc(doubtful, func(a domain.Alias) bool { _, known := entries[a]; return known }); i >= 0 {
		delete(entries, doubtful[i])
	}
	switch {
	case len(entries) != acknowledged:
		t.Errorf("%d entries; %s", len(entries), where)
	case len(bad)+len(reports) > 0:
		t.Errorf("the next start reports %v %+v; %s", bad, reports, where)
	case opens(said) && !slices.Contains(said, "closed"):
		t.Errorf("the writer did not end; %s", where)
	case with(said, "still open ") > 0:
		t.Errorf("a file stays open; %s", where)
	}
	if kept, err := filepath.Glob(path + ".damaged-*"); err != nil || len(kept) > with(said, "damage ") {
		t.Errorf("%d files are kept, %v; %s", len(kept), err, where)
	}
	return said
}

// A table of a version without a summary is written at the start. A disk that fails then is no damage, and no other scraper.
func TestFailingDiskAtTheStartIsNoDamage(t *testing.T) {
	for at := 0; ; at++ {
		path := filepath.Join(t.TempDir(), "aliases.db")
		l := newLoop()
		s := open(t, l, path)
		put(t, l, s, entry("before", 1))
		closeStore(t, l, s)
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("summary")) }); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		said := failOn(t, path, at, syscall.EIO, func(call int) bool { return call == at }, "before")
		if opens(said) {
			break
		}
		if len(said) == 0 || !strings.Contains(said[0], "input/output error") || strings.Contains(said[0], "in use") || strings.Contains(said[0], "it is damaged") {
			t.Errorf("call %d fails: %q", at, said)
		}
	}
}

func setRegisters(t *testing.T, thread int, change func(*unix.PtraceRegs)) {
	t.Helper()
	var r unix.PtraceRegs
	if err := unix.PtraceGetRegs(thread, &r); err != nil {
		t.Fatal(err)
	}
	change(&r)
	if err := unix.PtraceSetRegs(thread, &r); err != nil {
		t.Fatal(err)
	}
}
