//go:build unix

package bolt

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe or a device that was named by mistake is neither repaired nor moved away, which root could do to /dev/null.
func TestOnlyRegularFilesAreTables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "aliases.db")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if f, damage, err := openFile(path); f != nil || damage != nil || err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("%v, %v", damage, err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Errorf("it became %v, %v", info.Mode(), err)
	}
	onlyTheTable(t, path)
}
