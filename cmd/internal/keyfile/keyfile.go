// Package keyfile reads and creates files with secrets and seeds. Its errors name the file and the expected content, and never
// quote it.
package keyfile

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/tempfile"
)

const want = "want 32 bytes as 64 hex digits or 52 z32 characters"

// maxSize bounds a file's size: a larger one was meant as something else.
const maxSize = 64 << 10

// NewSecret draws a secret.
func NewSecret() domain.Secret { return domain.SecretFrom(random()) }

// NewSeed draws a seed.
func NewSeed() domain.Seed { return domain.SeedFrom(random()) }

// NewIdentityID draws the ID of an identity.
func NewIdentityID() domain.IdentityID {
	b := random()
	return domain.IdentityID(binary.BigEndian.Uint64(b[:]))
}

func random() (b [domain.KeySize]byte) {
	_, _ = rand.Read(b[:]) // crashes the program rather than fail
	return b
}

// Secrets reads a file of secrets: one per line, without empty lines and lines that start with #. It returns at least one.
func Secrets(path string) ([]domain.Secret, error) {
	lines, err := readLines(path)
	if err != nil {
		return nil, err
	}
	var all []domain.Secret
	for _, l := range lines {
		s, err := domain.ParseSecret(l.text)
		if err != nil || s.IsZero() {
			return nil, fmt.Errorf("secret file %s: line %d is not a secret: %s", path, l.number, want)
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("secret file %s is empty: %s", path, want)
	}
	return all, nil
}

// ParseSecrets parses secrets separated by commas or white space, from an environment variable called name.
func ParseSecrets(name, text string) ([]domain.Secret, error) {
	var all []domain.Secret
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
		s, err := domain.ParseSecret(part)
		if err != nil || s.IsZero() {
			return nil, fmt.Errorf("%s: %s", name, want)
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s is empty: %s", name, want)
	}
	return all, nil
}

// Seed reads a file with one seed.
func Seed(path string) (domain.Seed, error) {
	lines, err := readLines(path)
	if err != nil {
		return domain.Seed{}, err
	}
	if len(lines) != 1 {
		return domain.Seed{}, fmt.Errorf("seed file %s has %d lines that are not comments, want one: %s", path, len(lines), want)
	}
	s, err := domain.ParseSeed(lines[0].text)
	if err != nil || s.IsZero() {
		return domain.Seed{}, fmt.Errorf("seed file %s: line %d is not a seed: %s", path, lines[0].number, want)
	}
	return s, nil
}

// ParseSeed parses a seed from an environment variable called name.
func ParseSeed(name, text string) (domain.Seed, error) {
	s, err := domain.ParseSeed(text)
	if err != nil || s.IsZero() {
		return domain.Seed{}, fmt.Errorf("%s: %s", name, want)
	}
	return s, nil
}

// Exposed reports whether a file is readable by other users. A folder or a device is not, because chmod 600 would be wrong for
// it.
func Exposed(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0
}

type numbered struct {
	number int
	text   string
}

func readLines(path string) ([]numbered, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, plain(path, err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a directory: %s", path, want)
	}
	if info.Size() > maxSize {
		return nil, fmt.Errorf("%s is %d bytes, too large: %s", path, info.Size(), want)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, plain(path, err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxSize))
	if err != nil {
		return nil, plain(path, err)
	}
	if content, err = UTF8(content); err != nil {
		return nil, fmt.Errorf("%s %w: %s", path, err, want)
	}
	var lines []numbered
	n := 0
	for line := range strings.Lines(string(content)) {
		n++
		if text := strings.TrimSpace(line); text != "" && !strings.HasPrefix(text, "#") {
			lines = append(lines, numbered{n, text})
		}
	}
	return lines, nil
}

// plain reduces an error to the path, once, and its cause.
func plain(path string, err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", path, failed.Err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Write durably creates a file with one value that only its owner can read. It never replaces a file.
func Write(path, comment, value string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return plain(dir, err)
	}
	// Written under a temporary name first, so that a crash leaves no half of a secret under the final one.
	f, err := tempfile.Create(path, 0o600)
	if err != nil {
		return plain(path, err)
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintf(f, "# %s\n%s\n", comment, value)
	if err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return plain(path, err)
	}
	if err := os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	} else if err != nil {
		// Some file systems have no links. Replacing a file that appeared at this very moment is the lesser evil.
		if err := os.Rename(f.Name(), path); err != nil {
			return plain(path, err)
		}
	}
	return plain(dir, tempfile.SyncDir(dir))
}

// Read reads a text file of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	content, err := tempfile.Read(path, limit)
	if err != nil {
		return nil, plain(path, err)
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
		return plain(path, err)
	case len(old) > 0 && !same(old):
		return fmt.Errorf("%s exists and has other content: choose another name, or remove it", path)
	}
	Sweep(path)
	f, err := tempfile.Create(path, 0o600)
	if err != nil {
		return plain(path, err)
	}
	defer os.Remove(f.Name())
	_, err = io.WriteString(f, c.Text)
	if err == nil && c.OwnedAsFolder {
		err = ownAsFolder(f)
	}
	if err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return plain(path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return plain(path, err)
	}
	return plain(filepath.Dir(path), tempfile.SyncDir(filepath.Dir(path)))
}

// Sweep removes the temporary files of killed programs beside the file at path. They have secrets, too.
func Sweep(path string) { tempfile.Sweep(path, tempfile.LeftoverAge) }
