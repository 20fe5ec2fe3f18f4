// Package privatefile reads and writes text files that only their owner may read: with secrets, or with what belongs to them. Its errors
// name the file, and never quote it.
package privatefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dhtprom/dhtprom/internal/tempfile"
)

// Plain reduces an error to the path, once, and its cause.
func Plain(path string, err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", path, failed.Err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Read reads a text file of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	content, err := tempfile.Read(path, limit)
	if err != nil {
		return nil, Plain(path, err)
	}
	return UTF8(content)
}

// Content is the content of a file that Replace writes.
type Content struct {
	Text  string
	Limit int64 // of its size, and of that of the file that it replaces
	// OwnedAsFolder gives a file that root writes to the owner of its folder, whose programs read it.
	OwnedAsFolder bool
}

// Replace durably writes a file that only its owner can read at any time. It replaces a file of the same kind, which same recognizes by
// its content, and no other one.
func Replace(path string, c Content, same func(old []byte) bool) error {
	if err := tempfile.Replaceable(path); err != nil {
		return err
	}
	switch old, err := tempfile.Read(path, c.Limit); {
	case int64(len(c.Text)) > c.Limit:
		return fmt.Errorf("%s would have %d bytes, at most %d are allowed", path, len(c.Text), c.Limit)
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return Plain(path, err)
	case len(old) > 0 && !same(old):
		return fmt.Errorf("%s exists and has other content: choose another name, or remove it", path)
	}
	Sweep(path)
	f, err := tempfile.Create(path, 0o600)
	if err != nil {
		return Plain(path, err)
	}
	defer os.Remove(f.Name())
	_, err = io.WriteString(f, c.Text)
	if err == nil && c.OwnedAsFolder {
		err = ownAsFolder(f)
	}
	if err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return Plain(path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return Plain(path, err)
	}
	return Plain(filepath.Dir(path), tempfile.SyncDir(filepath.Dir(path)))
}

// Sweep removes the temporary files of killed programs beside the file at path. They have secrets, too.
func Sweep(path string) { tempfile.Sweep(path, tempfile.LeftoverAge) }

// Create durably writes a file that only its owner can read at any time, and its folder if that does not exist. It never replaces a file.
func Create(path, text string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Plain(dir, err)
	}
	// Written under a temporary name first, so that a crash leaves no half of a secret under the final one.
	f, err := tempfile.Create(path, 0o600)
	if err != nil {
		return Plain(path, err)
	}
	defer os.Remove(f.Name())
	_, err = io.WriteString(f, text)
	if err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return Plain(path, err)
	}
	if err := os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	} else if err != nil {
		// Some file systems have no links. Replacing a file that appeared at this very moment is the lesser evil.
		if err := os.Rename(f.Name(), path); err != nil {
			return Plain(path, err)
		}
	}
	return Plain(dir, tempfile.SyncDir(dir))
}
