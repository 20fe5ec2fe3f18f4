package bolt_test

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/dhtprom/dhtprom/domain"
)

// TestNothingAcknowledgedIsLostByPowerCut runs a writer in a process of its own and traces its system calls. The disk of
// this test keeps what was flushed and nothing else: files as they were at their last flush, and names as they were at the
// last flush of their folder. After each flush and each acknowledgement the power is cut: the table must
// open with what this disk has, and have every entry that was acknowledged until then.
func TestNothingAcknowledgedIsLostByPowerCut(t *testing.T) {
	if path := os.Getenv("DHTPROM_TEST_TRACED_WRITER"); path != "" {
		writeSome(t, path)
		return
	}
	top := t.TempDir()
	d := &flushedDisk{files: map[uint64]flushedFile{}, folders: map[uint64]map[string]uint64{}}
	d.flush(t, top) // it was there before
	var acknowledged []string
	cut := func(moment string) {
		after := t.TempDir()
		d.restore(t, inode(t, top), after)
		l, s, entries, _, bad := opened(t, filepath.Join(after, "new", "folder", "aliases.db"))
		for _, a := range acknowledged {
			if _, known := entries[domain.Alias(a)]; !known {
				t.Errorf("%q was acknowledged and is lost by a power cut after %s", a, moment)
			}
		}
		if len(bad) > 0 {
			t.Errorf("a power cut after %s: %v", moment, bad)
		}
		closeStore(t, l, s)
	}
	trace(t, "^TestNothingAcknowledgedIsLostByPowerCut$", "DHTPROM_TEST_TRACED_WRITER="+filepath.Join(top, "new", "folder", "aliases.db"), tracer{
		flushed: func(file string) {
			d.flush(t, file)
			cut("a flush")
		},
		wrote: func(text string) {
			if alias, ok := strings.CutPrefix(text, "acknowledged "); ok {
				acknowledged = append(acknowledged, strings.TrimSpace(alias))
				cut(strings.TrimSpace(text))
			}
		},
	})
	if len(acknowledged) != writtenBefore+writtenAfter {
		t.Errorf("the writer acknowledged %d entries", len(acknowledged))
	}
}

const (
	writtenBefore = 5 // writes before the table is damaged
	writtenAfter  = 3
)

// writeSome acknowledges entries, and damages the table in between, so that it is written again from memory.
func writeSome(t *testing.T, path string) {
	l := newLoop()
	s := open(t, l, path)
	for i := range writtenBefore + writtenAfter {
		if i == writtenBefore {
			truncate(t, path, 5000)
		}
		alias := fmt.Sprint("alias-", i)
		put(t, l, s, entry(alias, 1))
		_, _ = os.Stdout.WriteString("acknowledged " + alias + "\n")
	}
	closeStore(t, l, s)
}

// The sets that the traced writer puts, one after the other. The second one changes, adds and deletes aliases, and moves pins.
const (
	setSize  = domain.MaxTargets
	setMoved = 1000 // aliases that the second set does not have, those that it adds, and its pins
)

func putSets() []domain.SetChange {
	changes := make([]domain.SetChange, 2)
	for i := range setSize {
		changes[0].Put = append(changes[0].Put, entry(fmt.Sprint("target-", i), 1))
		changes[1].Put = append(changes[1].Put, entry(fmt.Sprint("target-", i+setMoved), 2))
	}
	for i := range setMoved {
		changes[1].Delete = append(changes[1].Delete, domain.Alias(fmt.Sprint("target-", i)))
		changes[1].Pins = append(changes[1].Pins, domain.Pin{Alias: changes[1].Put[i].Alias, Key: domain.PublicKey{2, 1}, Since: changes[1].Put[i].Registered})
	}
	return changes
}

// Wherever the power is cut, the table has the acknowledged set, and the next one completely or without its deletions: entries of an
// interrupted write are recovered.
func TestPowerCutDuringTheWriteOfASet(t *testing.T) {
	if path := os.Getenv("DHTPROM_TEST_TRACED_SETS"); path != "" {
		l := newLoop()
		s := open(t, l, path)
		for i, c := range putSets() {
			l.run(func(done func()) {
				s.PutSet(c, func(err error) {
					if err != nil {
						t.Error(err)
					}
					done()
				})
			})
			_, _ = fmt.Fprintf(os.Stdout, "acknowledged %d\n", i+1)
		}
		closeStore(t, l, s)
		return
	}
	top := t.TempDir()
	d := &flushedDisk{files: map[uint64]flushedFile{}, folders: map[uint64]map[string]uint64{}}
	d.flush(t, top)
	sets := putSets()
	acknowledged, during := 0, 0 // sets; cuts while the second one is written
	tables := []map[domain.Alias]domain.Entry{{}}
	for _, c := range sets {
		table := map[domain.Alias]domain.Entry{}
		for _, e := range c.Put {
			table[e.Alias] = e
		}
		tables = append(tables, table)
	}
	cut := func(moment string) {
		after := t.TempDir()
		d.restore(t, inode(t, top), after)
		l, s, entries, _, bad := opened(t, filepath.Join(after, "aliases.db"))
		moved, badPins := pins(t, l, s)
		closeStore(t, l, s)
		if len(bad)+len(badPins) > 0 {
			t.Errorf("a power cut after %s: %v, %v", moment, bad, badPins)
		}
		now, next := tables[acknowledged], tables[min(acknowledged+1, len(sets))]
		if acknowledged == 1 && moment == "a flush" {
			during++
		}
		switch {
		case maps.Equal(entries, next) && acknowledged+1 >= len(sets):
			if len(moved) != setMoved {
				t.Errorf("a power cut after %s leaves the second set and %d pins", moment, len(moved))
			}
			return
		case maps.Equal(entries, next) || maps.Equal(entries, now) && len(moved) == 0:
			return
		case moment != "a flush":
			t.Errorf("set %d was acknowledged; a power cut leaves %d entries of others", acknowledged, len(missing(now, entries)))
			return
		}
		for a, e := range now {
			if entries[a] != e && entries[a] != next[a] || entries[a].Alias == "" {
				t.Fatalf("%s of set %d is lost by a power cut after %s", a, acknowledged, moment)
			}
		}
		for a, e := range entries {
			if now[a] != e && next[a] != e {
				t.Fatalf("a power cut after %s leaves %+v", moment, e)
			}
		}
	}
	trace(t, "^TestPowerCutDuringTheWriteOfASet$", "DHTPROM_TEST_TRACED_SETS="+filepath.Join(top, "aliases.db"), tracer{
		flushed: func(file string) {
			d.flush(t, file)
			cut("a flush")
		},
		wrote: func(text string) {
			if n, err := fmt.Sscanf(text, "acknowledged %d", &acknowledged); n == 1 && err == nil {
				cut(strings.TrimSpace(text))
			}
		},
	})
	if acknowledged != len(sets) || during < 2 {
		t.Errorf("%d sets were acknowledged, with %d cuts during the second one", acknowledged, during)
	}
}

// flushedDisk is the content of a disk after a power cut that loses everything not flushed.
type flushedDisk struct {
	files   map[uint64]flushedFile       // by inode
	folders map[uint64]map[string]uint64 // the inodes in a folder, by name
}

type flushedFile struct {
	content []byte
	held    *os.File // as long as it is open, no other file gets its inode
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

// flush records the current state of a file or a folder.
func (d *flushedDisk) flush(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	n := info.Sys().(*syscall.Stat_t).Ino
	if !info.IsDir() {
		content, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		d.files[n] = flushedFile{content, f}
		return
	}
	entries, err := f.ReadDir(-1)
	if err != nil {
		t.Fatal(err)
	}
	d.folders[n] = map[string]uint64{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		below := info.Sys().(*syscall.Stat_t).Ino
		d.folders[n][e.Name()] = below
		if e.IsDir() && d.folders[below] == nil {
			d.folders[below] = map[string]uint64{} // it is there, and empty as long as it is not flushed itself
		}
	}
}

// restore copies the disk's content of a folder to another one. A file that was never flushed is empty.
func (d *flushedDisk) restore(t *testing.T, folder uint64, to string) {
	t.Helper()
	for name, n := range d.folders[folder] {
		name = filepath.Join(to, name)
		if _, ok := d.folders[n]; ok {
			if err := os.Mkdir(name, 0o700); err != nil {
				t.Fatal(err)
			}
			d.restore(t, n, name)
			continue
		}
		if err := os.WriteFile(name, d.files[n].content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// tracer has a function for each system call that matters here. The process waits while they run.
type tracer struct {
	flushed func(file string) // after fsync and fdatasync
	wrote   func(text string) // before a write to the standard output
	entered func(thread int, call syscallInfo)
	left    func(thread int, call syscallInfo)
}

// syscallInfo is the result of PTRACE_GET_SYSCALL_INFO: of the entry into a call, or of the exit from it.
type syscallInfo struct {
	op      uint8
	_       [3]uint8
	_       uint32
	_, _    uint64
	nr      uint64 // or the result
	args    [6]uint64
	_, _, _ uint64
}

const (
	getSyscallInfo = 0x420e
	syscallEntry   = 1
	syscallExit    = 2
)

// trace runs a test of this program in a process of its own, with a variable in its environment, until it ends.
func trace(t *testing.T, test, env string, tr tracer) {
	t.Helper()
	runtime.LockOSThread() // the kernel wants all requests from the thread that started the process
	defer runtime.UnlockOSThread()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	pid, err := syscall.ForkExec(os.Args[0], []string{os.Args[0], "-test.run=" + test}, &syscall.ProcAttr{
		Env: append(os.Environ(), env), Files: []uintptr{null.Fd(), null.Fd(), null.Fd()}, Sys: &syscall.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	entered := map[int]syscallInfo{} // by thread
	for first := true; ; first = false {
		var ws unix.WaitStatus
		thread, err := unix.Wait4(-1, &ws, unix.WALL|unix.WNOTHREAD, nil)
		if err != nil {
			t.Fatalf("waiting for the writer: %v", err)
		}
		if thread == pid && (ws.Exited() || ws.Signaled()) {
			if ws.ExitStatus() != 0 {
				t.Errorf("the writer ends with status %d, signal %v", ws.ExitStatus(), ws.Signal())
			}
			return
		}
		if !ws.Stopped() {
			continue // a thread has ended
		}
		if first {
			if err := unix.PtraceSetOptions(thread, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL); err != nil {
				t.Fatal(err)
			}
		}
		pass := 0
		switch signal := ws.StopSignal(); signal {
		case unix.SIGTRAP | 0x80:
			tr.call(t, pid, thread, entered)
		case unix.SIGTRAP, unix.SIGSTOP: // of the tracing itself
		default:
			pass = int(signal)
		}
		if err := unix.PtraceSyscall(thread, pass); err != nil && err != unix.ESRCH {
			t.Fatal(err)
		}
	}
}

// call handles the entry of a thread into a system call, or its exit.
func (tr tracer) call(t *testing.T, pid, thread int, entered map[int]syscallInfo) {
	t.Helper()
	var info syscallInfo
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(thread), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0); errno == unix.ESRCH {
		return // the process ends
	} else if errno != 0 {
		t.Fatalf("asking for the system call: %v", errno)
	}
	if info.op == syscallEntry {
		entered[thread] = info
		if tr.entered != nil {
			tr.entered(thread, info)
		}
		if info.nr == unix.SYS_WRITE && info.args[0] == 1 {
			text := make([]byte, info.args[2])
			if _, err := unix.PtracePeekData(thread, uintptr(info.args[1]), text); err != nil {
				t.Fatal(err)
			}
			tr.wrote(string(text))
		}
		return
	}
	in := entered[thread]
	if tr.left != nil {
		tr.left(thread, in)
	}
	if tr.flushed == nil || info.op != syscallExit || in.nr != unix.SYS_FSYNC && in.nr != unix.SYS_FDATASYNC || int64(info.nr) != 0 {
		return
	}
	tr.flushed(fmt.Sprintf("/proc/%d/fd/%d", pid, in.args[0]))
}
