//go:build unix && !solaris && !aix

package privatefile

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes the lock of a file, if it is free.
func tryLock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return errLocked
	}
	return err
}
