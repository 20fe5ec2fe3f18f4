//go:build unix

package unix

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func dialable(path string) bool {
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

func TestSocketHasItsModeAndGoesWithItsListener(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := t.TempDir()
	path := filepath.Join(dir, "a.sock")
	l, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != os.ModeSocket|0o600 || !dialable(path) {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if l.Addr().String() != "unix:"+path || l.Addr().Network() != "unix" {
		t.Errorf("%v", l.Addr())
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("%v", left)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestSocketOfALivingProcessIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	first, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = Listen(path, 0o600)
	used, ok := errors.AsType[*InUseError](err)
	if !ok || used.Path != path || runtime.GOOS == "linux" && used.PID != os.Getpid() || !dialable(path) {
		t.Errorf("%v", err)
	}
	for pid, want := range map[int]string{0: "x is in use by another process", 7: "x is in use by process 7"} {
		if got := (&InUseError{"x", pid}).Error(); got != want {
			t.Error(got)
		}
	}
}

func TestSocketOfAKilledProcessIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	l, err := Listen(path, 0o660)
	if err != nil || !dialable(path) {
		t.Fatal(err)
	}
	// Another process replaces it meanwhile: its socket stays.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next, err := Listen(path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if err := l.Close(); err != nil || !dialable(path) {
		t.Errorf("%v, or the other socket was removed", err)
	}
}

func TestPathsThatCannotBeSocketsAreRejected(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                                 "is not a socket",
		filepath.Join(dir, "none", "a.sock"): "no such file",
		filepath.Join(dir, strings.Repeat("x", pathSize)): "too long for a Unix socket: want at most",
	} {
		if l, err := Listen(path, 0o600); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v %v, want %s", path, l, err, want)
		}
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "x" {
		t.Errorf("%q %v", content, err)
	}
}
