package keyfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	// lockPatience bounds the time for which Lock waits: its holders read and write one file.
	lockPatience = 10 * time.Second
	lockPoll     = 10 * time.Millisecond
)

var errLocked = errors.New("another program has the lock")

// Lock waits until no other program has the lock of a file, and takes it. The lock ends with unlock, or with the process. It is on a file beside
// that one, which is replaced.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, plain(path, err)
	}
	if err = ownAsFolder(f); err == nil {
		err = takeLock(ctx, f)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return func() { _ = f.Close() }, nil
}

func takeLock(ctx context.Context, f *os.File) error {
	ctx, cancel := context.WithTimeoutCause(ctx, lockPatience, errLocked)
	defer cancel()
	for {
		if err := tryLock(f); !errors.Is(err, errLocked) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lockPoll):
		}
	}
}
