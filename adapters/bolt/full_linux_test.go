package bolt_test

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/dhtprom/dhtprom/adapters/bolt"
)

// A disk that is full at the first start: a limit on the size of files has the same effect and needs no disk. It is the
// process's, so the store is opened in one of its own.
func TestFullDiskLeavesNoHalfMadeFile(t *testing.T) {
	if path := os.Getenv("DHTPROM_TEST_FULL"); path != "" {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 6000, Max: 6000}); err != nil {
			t.Fatal(err)
		}
		if _, err := bolt.Open(newLoop(), path); err == nil {
			t.Error("opened")
		} else {
			t.Log(err)
		}
		return
	}
	folder := t.TempDir()
	path := filepath.Join(folder, "aliases.db")
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDiskLeavesNoHalfMadeFile$", "-test.v")
	cmd.Env = append(os.Environ(), "DHTPROM_TEST_FULL="+path)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	left, err := os.ReadDir(folder)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v\n%s", left, err, out)
	}
	l := newLoop()
	closeStore(t, l, open(t, l, path))
}

// A damaged table on a full disk is rejected, and unchanged.
func TestDamagedTableOnAFullDiskIsKept(t *testing.T) {
	if path := os.Getenv("DHTPROM_TEST_FULL"); path != "" {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 6000, Max: 6000}); err != nil {
			t.Fatal(err)
		}
		if _, err := bolt.Open(newLoop(), path); err == nil {
			t.Error("opened")
		} else {
			t.Log(err)
		}
		return
	}
	folder := t.TempDir()
	path := filepath.Join(folder, "aliases.db")
	l := newLoop()
	s := open(t, l, path)
	put(t, l, s, entry("web", 1))
	closeStore(t, l, s)
	b := read(t, path)
	clear(b[:2*page])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestDamagedTableOnAFullDiskIsKept$", "-test.v")
	cmd.Env = append(os.Environ(), "DHTPROM_TEST_FULL="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 || string(read(t, path)) != string(b) {
		t.Errorf("left behind: %v, %v", left, err)
	}
	l, s, entries, reports, _ := opened(t, path)
	if len(entries) != 1 || len(reports) != 1 {
		t.Errorf("with room again: %v, %+v", entries, reports)
	}
	closeStore(t, l, s)
}
