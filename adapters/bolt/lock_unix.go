//go:build unix && !solaris && !aix

package bolt

import (
	"os"
	"syscall"
)

// lock takes the same lock as bbolt, without waiting. Closing the file releases it.
func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
