//go:build unix && !solaris && !aix

package privatefile_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dhtprom/dhtprom/internal/privatefile"
)

func TestLockIsHeldByOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	unlock, err := privatefile.Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := privatefile.Lock(stopped, path); !errors.Is(err, context.Canceled) {
		t.Errorf("a second one: %v", err)
	}
	unlock()
	unlock, err = privatefile.Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file itself: %v", err)
	}
	if _, err := privatefile.Lock(t.Context(), filepath.Join(path, "none", "file")); err == nil || strings.Count(err.Error(), "none") != 1 {
		t.Errorf("a folder that does not exist: %v", err)
	}
}

// Root takes locks in folders of other users, and must not open or give away a file of their choice.
func TestLocksFollowNoLinks(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, ".file.lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := privatefile.Lock(t.Context(), filepath.Join(dir, "file")); !errors.Is(err, syscall.ELOOP) && !errors.Is(err, syscall.EMLINK) {
		t.Errorf("a symbolic link: %v", err)
	}
	if err := os.Link(victim, filepath.Join(dir, ".other.lock")); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	unlock, err := privatefile.Lock(t.Context(), filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	info, err := os.Stat(victim)
	if err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		t.Errorf("the file behind a link has another owner, %v", err)
	}
}
