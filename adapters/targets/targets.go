// Package targets writes targets.json: the alias table for Prometheus's file service discovery, in the format of the
// JavaScript bridge (hyperdht-prometheus-bridge lib/prom-targets.js), so that either can replace the other.
//
// A target is alias:key:hostname:service with the key as z32, and hostname and service without colons. A prometheus.yml
// parses it from the right, where the parts cannot have colons, as examples/prometheus.yml does.
//
// The bridge reads the first group of the file back and splits each target at every colon. Aliases with a colon are
// therefore in a second group: Prometheus reads both, and the bridge does not misread them.
//
// A prometheus.yml puts the alias of a target into a path without escaping it. An alias that would need escaping is written
// in its path form, in a separate group with the alias itself as the label AliasLabel.
package targets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/tempfile"
	"github.com/dhtprom/dhtprom/ports"
	"github.com/dhtprom/dhtprom/ports/host"
)

// File is a targets.json.
type File struct {
	loop   host.Loop
	path   string
	mu     sync.Mutex // one write at a time
	swept  bool       // temporary files of earlier processes were removed
	rename func(from, to string) error
}

// New returns the file at path. It writes nothing.
func New(loop host.Loop, path string) *File { return &File{loop: loop, path: path, rename: os.Rename} }

// Path returns the path of the file.
func (f *File) Path() string { return f.path }

// Write replaces the file's content on a separate goroutine, which owns the entries from then on.
func (f *File) Write(entries []domain.Entry, done func(error)) {
	go func() {
		content, err := Encode(entries)
		if err == nil {
			err = f.replace(content)
		}
		if err != nil {
			err = fmt.Errorf("targets file: %w", err)
		}
		f.loop.Post(func() { done(err) })
	}()
}

// replace writes and flushes a temporary file and renames it over the file, so that readers, and a power cut, see the old
// content or the new. A file that is itself a mount point cannot be replaced; it is written in place, which is not atomic.
func (f *File) replace(content []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := tempfile.Replaceable(f.path); err != nil {
		return err
	}
	if old, err := os.ReadFile(f.path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	dir := filepath.Dir(f.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if !f.swept {
		f.swept = true
		tempfile.Sweep(f.path, tempfile.LeftoverAge)
	}
	beside, err := f.writeBeside(content)
	if err != nil {
		return err
	}
	err = f.rename(beside, f.path)
	if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EXDEV) {
		return errors.Join(overwrite(f.path, content), os.Remove(beside))
	}
	if err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	return tempfile.SyncDir(dir)
}

// defaultMode allows Prometheus, which runs as another user, to read the file. It contains no secret.
const defaultMode = 0o644

// writeBeside writes and flushes a temporary file in the same folder. It has the mode of the file that it will replace.
func (f *File) writeBeside(content []byte) (path string, err error) {
	w, err := tempfile.Create(f.path, defaultMode)
	if err != nil {
		return "", err
	}
	if old, statErr := os.Lstat(f.path); statErr == nil && old.Mode().IsRegular() {
		err = w.Chmod(old.Mode().Perm())
	}
	if err = errors.Join(err, finish(w, content)); err != nil {
		return "", errors.Join(err, os.Remove(w.Name()))
	}
	return w.Name(), nil
}

// overwrite writes a file in place.
func overwrite(path string, content []byte) error {
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|tempfile.NoFollow, defaultMode)
	if err != nil {
		return err
	}
	return finish(w, content)
}

// finish writes and flushes all of an open file.
func finish(w *os.File, content []byte) error {
	_, err := w.Write(content)
	return errors.Join(err, w.Sync(), w.Close())
}

// group is a target group of Prometheus's file service discovery.
type group struct {
	Labels  labels   `json:"labels"`
	Targets []string `json:"targets"`
}

type labels struct {
	Job   string `json:"job"`
	Alias string `json:"__meta_dhtprom_alias,omitempty"` // AliasLabel
}

// AliasLabel is the label with the alias of a target that contains its path form. Labels that begin with __meta_ are for
// relabeling, and Prometheus drops them afterwards.
const AliasLabel = "__meta_dhtprom_alias"

// Encode returns the file's content for a list of entries.
func Encode(entries []domain.Entry) ([]byte, error) {
	plain := group{Labels: labels{Job: "aliases"}, Targets: []string{}}
	colons := plain
	var escaped []group
	for _, e := range entries {
		switch {
		case e.Alias.PathForm() != string(e.Alias):
			escaped = append(escaped, group{Labels: labels{Job: plain.Labels.Job, Alias: string(e.Alias)}, Targets: []string{Target(e)}})
		case strings.Contains(string(e.Alias), ":"):
			colons.Targets = append(colons.Targets, Target(e))
		default:
			plain.Targets = append(plain.Targets, Target(e))
		}
	}
	groups := []group{plain}
	if len(colons.Targets) > 0 {
		groups = append(groups, colons)
	}
	groups = append(groups, escaped...)
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(groups)
	return out.Bytes(), err
}

// Target returns the target of an entry, with the alias in its path form.
func Target(e domain.Entry) string {
	colonless := func(s string) string { return strings.ReplaceAll(s, ":", "-") }
	return fmt.Sprintf("%s:%s:%s:%s", e.Alias.PathForm(), e.Key, colonless(e.Hostname), colonless(e.Service))
}

// maxFile bounds the size of a file to read, in bytes: 100,000 targets fit.
const maxFile = 64 << 20

// Read returns the aliases in the file, whether this package or the bridge wrote it. Malformed targets are reported in bad.
// A missing file is empty.
func (f *File) Read(done func(aliases []domain.Register, bad []error, err error)) {
	go func() {
		content, err := tempfile.Read(f.path, maxFile)
		var aliases []domain.Register
		var bad []error
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = nil
		case err == nil:
			aliases, bad, err = Decode(content)
		}
		if err != nil {
			err = fmt.Errorf("targets file %s: %w", f.path, err)
		}
		f.loop.Post(func() { done(aliases, bad, err) })
	}()
}

// Decode parses a file's content. The last of several targets with the same alias wins.
func Decode(content []byte) (aliases []domain.Register, bad []error, err error) {
	var groups []group
	if err := json.Unmarshal(content, &groups); err != nil {
		return nil, nil, err
	}
	for _, g := range groups {
		for _, t := range g.Targets {
			r, err := ParseTarget(t)
			if err != nil {
				bad = append(bad, err)
				continue
			}
			if g.Labels.Alias != "" {
				r.Alias = domain.Alias(g.Labels.Alias)
			}
			aliases = append(aliases, r)
		}
	}
	return aliases, bad, nil
}

// ParseTarget parses a target, from the right, because only the alias may have colons.
func ParseTarget(text string) (domain.Register, error) {
	parts := strings.Split(text, ":")
	n := len(parts) - 3
	if n < 1 {
		return domain.Register{}, fmt.Errorf("target %q: want alias:key:hostname:service", clip(text))
	}
	key, err := domain.ParsePublicKey(parts[n])
	if err != nil {
		return domain.Register{}, fmt.Errorf("target %q: key: %w", clip(text), err)
	}
	return domain.Register{Alias: domain.Alias(strings.Join(parts[:n], ":")), Key: key, Hostname: parts[n+1], Service: parts[n+2]}, nil
}

func clip(text string) string { return text[:min(len(text), 2*domain.MaxAlias)] }

var (
	_ ports.TargetsFile = (*File)(nil)
	_ ports.AliasImport = (*File)(nil)
)
