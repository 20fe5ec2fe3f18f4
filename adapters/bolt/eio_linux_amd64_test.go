package bolt_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

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
	for _, lasting := range []bool{false, true} {
		for _, err := range []syscall.Errno{syscall.EIO, syscall.EROFS} {
			t.Run(fmt.Sprintf("%s lasting=%v", unix.ErrnoName(err), lasting), func(t *testing.T) {
				for at := 0; failAt(t, at, err, lasting); at++ {
				}
			})
		}
	}
}

const failingWrites = 4

// writeOnFailingDisk says of each entry whether it was acknowledged or refused.
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
}

func say(format string, args ...any) { _, _ = fmt.Fprintf(os.Stdout, format+"\n", args...) }

// failAt has the writer's disk fail at its n-th call, and reports whether there was one.
func failAt(t *testing.T, n int, err syscall.Errno, lasting bool) (more bool) {
	t.Helper()
	folder := t.TempDir()
	path := filepath.Join(folder, "aliases.db")
	calls := 0
	failing := map[int]bool{} // threads in a call that fails
	var said []string
	trace(t, "^TestFailingDiskLosesNothingAcknowledged$", "DHTPROM_TEST_FAILING_DISK="+path, tracer{
		wrote: func(text string) { said = append(said, strings.TrimSpace(text)) },
		entered: func(thread int, call syscallInfo) {
			if !slices.Contains([]uint64{unix.SYS_PWRITE64, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FTRUNCATE}, call.nr) {
				return
			}
			if calls == n || lasting && calls > n {
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
		return false
	}
	where := fmt.Sprintf("call %d fails, lasting %v: %q", n, lasting, said)
	l, s, entries, reports, bad := opened(t, path)
	defer closeStore(t, l, s)
	acknowledged := 0
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
	opens := !strings.HasPrefix(said[0], "not opened")
	switch {
	case len(entries) != acknowledged:
		t.Errorf("%d entries; %s", len(entries), where)
	case len(bad)+len(reports) > 0:
		t.Errorf("the next start reports %v %+v; %s", bad, reports, where)
	case opens && !slices.Contains(said, "closed"):
		t.Errorf("the writer did not end; %s", where)
	case opens && !lasting && acknowledged < failingWrites-1:
		t.Errorf("a disk that failed once is not written any more; %s", where)
	}
	return true
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
