// Package keyfile makes, keeps and loads identities: files with seeds, from which key pairs are derived, and with secrets. Its errors name the
// file and the expected content, and never quote it.
//
// A service that is the same client or scraper at each start has its seed in a file:
//
//	seed, _, err := keyfile.OwnSeed("/var/lib/shop/identity.seed", "The identity of shop. Keep it secret.")
//	...
//	c, err := client.Start(ctx, n, client.Config{Seed: seed, ...})
//
// # Format
//
// A file has values as text, one per line: 32 bytes as 64 hex digits or 52 z32 characters. Empty lines, and those that start with #, are
// comments. It may be UTF-8, or UTF-16 with a byte order mark, as editors and shells of Windows write it, and has 64 kB at most. The programs
// dhtprom-client and dhtprom-scraper read the same files.
package keyfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/privatefile"
	"github.com/dhtprom/dhtprom/internal/tempfile"
)

const want = "want 32 bytes as 64 hex digits or 52 z32 characters"

// maxSize bounds a file's size: a larger one was meant as something else.
const maxSize = 64 << 10

// NewSecret draws a secret.
func NewSecret() domain.Secret { return domain.SecretFrom(random()) }

// NewSeed draws a seed.
func NewSeed() domain.Seed { return domain.SeedFrom(random()) }

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
		return nil, privatefile.Plain(path, err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a directory: %s", path, want)
	}
	if info.Size() > maxSize {
		return nil, fmt.Errorf("%s is %d bytes, too large: %s", path, info.Size(), want)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, privatefile.Plain(path, err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	switch {
	case err != nil:
		return nil, privatefile.Plain(path, err)
	case len(content) > maxSize:
		return nil, fmt.Errorf("%s has more than %d bytes, too large: %s", path, maxSize, want)
	}
	if content, err = privatefile.UTF8(content); err != nil {
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

// Write durably creates a file with a comment, of any number of lines, and one value, such as the RevealText of a seed, that only its owner can
// read. It never replaces a file.
func Write(path, comment, value string) error {
	comment = strings.ReplaceAll(comment, "\n", "\n# ")
	return privatefile.Create(path, fmt.Sprintf("# %s\n%s\n", comment, value))
}

// OwnSeed reads the seed of an identity that stays the same: where the file does not exist, it is made with a new seed and a comment.
func OwnSeed(path, comment string) (s domain.Seed, made bool, err error) {
	if made, err = WriteOnce(path, comment, NewSeed().RevealText); err != nil {
		return s, false, err
	}
	s, err = Seed(path)
	return s, made, err
}

// OwnSecrets reads the secrets of a scraper likewise.
func OwnSecrets(path, comment string) (all []domain.Secret, made bool, err error) {
	if made, err = WriteOnce(path, comment, NewSecret().RevealText); err != nil {
		return nil, false, err
	}
	all, err = Secrets(path)
	return all, made, err
}

// WriteOnce is Write, with the result of value, if the file does not exist. It reports whether it made the file: another process may have been
// quicker, which is not an error.
func WriteOnce(path, comment string, value func() string) (made bool, err error) {
	tempfile.Sweep(path, tempfile.LeftoverAge) // of killed programs, which have secrets, too
	if _, err = os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return false, privatefile.Plain(path, err)
	}
	err = Write(path, comment, value())
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}
