package privatefile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dhtprom/dhtprom/internal/tempfile"
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
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock")
	f, err := openLock(name)
	if err != nil {
		return nil, Plain(name, err)
	}
	if err := takeLock(ctx, f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return func() { _ = f.Close() }, nil
}

// openLock opens the file of a lock, and creates it if necessary. Root may do so in a folder of another user, with a link to any
// file at that name: links are not followed, and only a new file gets another owner.
func openLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|tempfile.NoFollow, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return os.OpenFile(name, os.O_RDWR|tempfile.NoFollow, 0)
	}
	if err != nil {
		return nil, err
	}
	if err := ownAsFolder(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
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
