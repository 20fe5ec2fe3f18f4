// Package tempfile names the temporary files of programs that write a file beside its destination, and removes those of killed
// programs. All such names have one form, so that each process finds the leftovers of earlier ones. Read reads such files within a bound.
package tempfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const (
	// suffix ends the names. No pattern for files of Prometheus or of secrets matches it.
	suffix = ".tmp"
	// randomLetters begins with those of rand.Text; digits and lower case are from names of earlier versions.
	randomLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" + "0189abcdef"
)

// LeftoverAge is the age from which a temporary file is a leftover, for writers without a lock: one in use is renamed at once.
const LeftoverAge = time.Minute

// Name returns the name of a new temporary file in the folder of path. It is random: no other process uses it, and no symbolic
// link can wait there.
func Name(path string) string {
	return filepath.Join(filepath.Dir(path), prefix(path)+rand.Text()+suffix)
}

func prefix(path string) string { return "." + filepath.Base(path) + "-" }

// Create creates a temporary file for path and opens it for writing. It never replaces a file.
func Create(path string, mode os.FileMode) (*os.File, error) {
	return os.OpenFile(Name(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL|NoFollow, mode)
}

// Replaceable returns an error if path must not be replaced by a file: a device such as /dev/null, which root could replace, a
// pipe, which would block a reader, a folder. Symbolic links are followed.
func Replaceable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	}
	return nil
}

// Replace writes a file as a whole: readers find the former content or the new one. After a power failure, either may be there.
func Replace(path string, mode os.FileMode, content []byte) error {
	if err := Replaceable(path); err != nil {
		return err
	}
	f, err := Create(path, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Sweep removes the temporary files of path whose last change is at least age away from now: before, or, if the clock was set
// back, after. Errors are ignored; leftovers do no harm.
func Sweep(path string, age time.Duration) {
	dir := filepath.Dir(path)
	found, _ := os.ReadDir(dir)
	for _, e := range found {
		if !e.Type().IsRegular() || !isName(path, e.Name()) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()).Abs() >= age {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// isName reports whether a name is one of Name's for path. The middle part has no dash, so ".secret-old-X.tmp" belongs to
// "secret-old" alone.
func isName(path, name string) bool {
	random, begins := strings.CutPrefix(name, prefix(path))
	random, ends := strings.CutSuffix(random, suffix)
	return begins && ends && random != "" && strings.Trim(random, randomLetters) == ""
}

// SyncDir flushes a folder, which makes new names in it durable. Windows has no such operation, and needs none.
func SyncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
