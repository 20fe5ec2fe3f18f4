//go:build unix

package privatefile

import (
	"os"
	"path/filepath"
	"syscall"
)

// ownAsFolder gives a file to the owner of its folder, if root has created it there.
func ownAsFolder(f *os.File) error {
	info, err := os.Stat(filepath.Dir(f.Name()))
	if err != nil {
		return err
	}
	folder, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 || folder.Uid == 0 {
		return nil
	}
	return f.Chown(int(folder.Uid), int(folder.Gid))
}
