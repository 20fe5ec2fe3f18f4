package tempfile

import (
	"errors"
	"fmt"
	"os"
)

// Read reads a regular file of at most limit bytes: of those that another program may write meanwhile, and temporary files replace.
func Read(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
	case !info.Mode().IsRegular(): // reading a pipe would wait for its writer
		err = errors.New("not a regular file")
	case info.Size() > limit:
		err = fmt.Errorf("%d bytes, want at most %d", info.Size(), limit)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}
