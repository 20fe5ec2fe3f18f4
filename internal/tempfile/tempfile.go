// Package tempfile names the temporary files of programs that write a file beside the one that it becomes, and removes those
// that a killed program has left. All such files have one form of name, so that what one process leaves the next one finds.
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
	// randomLetters begins with those of rand.Text; digits and lower case are of names that earlier versions gave.
	randomLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" + "0189abcdef"
)

// LeftoverAge is the age from which a temporary file is a leftover, for writers without a lock: one in use is renamed in a
// moment.
const LeftoverAge = time.Minute

// Name returns the name of a new temporary file in the folder of path. It is random: no other process uses it, and nobody can
// have put a symbolic link there.
func Name(path string) string {
	return filepath.Join(filepath.Dir(path), prefix(path)+rand.Text()+suffix)
}

func prefix(path string) string { return "." + filepath.Base(path) + "-" }

// Create creates a temporary file for path and opens it for writing. It takes the place of nothing.
func Create(path string, mode os.FileMode) (*os.File, error) {
	return os.OpenFile(Name(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL|NoFollow, mode)
}

// Replaceable returns an error if there is something at path that a file must not take the place of: a device such as /dev/null, which
// root could replace, a pipe, on which a reader would wait, a folder. A symbolic link is judged by where it leads.
func Replaceable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file: name another one", path)
	}
	return nil
}

// Sweep removes the temporary files of path whose last change is at least age away from now: before, or, where the clock was
// set back, after. What cannot be listed or removed stays; it does no harm.
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

// isName reports whether Name has given a name for path. The part between has no dash, so that ".secret-old-X.tmp" is of
// "secret-old" alone.
func isName(path, name string) bool {
	random, begins := strings.CutPrefix(name, prefix(path))
	random, ends := strings.CutSuffix(random, suffix)
	return begins && ends && random != "" && strings.Trim(random, randomLetters) == ""
}

// SyncDir flushes a folder, which makes a new name in it last. Windows has no such thing, and needs none.
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
