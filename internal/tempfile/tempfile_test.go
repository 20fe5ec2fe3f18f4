package tempfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/internal/tempfile"
)

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

func TestLeftoversOfOneFileAreRemoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	now := time.Now()
	old, ahead := now.Add(-2*tempfile.LeftoverAge), now.Add(2*tempfile.LeftoverAge)
	young := filepath.Base(tempfile.Name(path))
	leftovers := map[string]time.Time{
		filepath.Base(tempfile.Name(path)): old, filepath.Base(tempfile.Name(path)): ahead,
		".secret-1234567890.tmp": old, ".secret-0123456789abcdef.tmp": old, // of earlier versions
	}
	others := map[string]time.Time{
		"secret": old, young: now, ".secret-.tmp": old, ".secret-old-" + young[len(".secret-"):]: old, "secret.tmp": old, ".secret-my notes.tmp": old,
		".secret-ABC": old, filepath.Base(tempfile.Name("other")): old,
	}
	for _, files := range []map[string]time.Time{leftovers, others} {
		for name, at := range files {
			full := filepath.Join(dir, name)
			if err := errors.Join(os.WriteFile(full, nil, 0o600), os.Chtimes(full, at, at)); err != nil {
				t.Fatal(err)
			}
		}
	}
	folder, link := tempfile.Name(path), tempfile.Name(path)
	if err := errors.Join(os.Mkdir(folder, 0o700), os.Symlink("secret", link), os.Chtimes(folder, old, old)); err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Base(folder), filepath.Base(link)}
	for name := range others {
		want = append(want, name)
	}
	slices.Sort(want)
	tempfile.Sweep(path, tempfile.LeftoverAge)
	if got := list(t, dir); !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
	tempfile.Sweep(path, 0) // by the holder of a lock
	if got := list(t, dir); slices.Contains(got, young) || len(got) != len(want)-1 {
		t.Errorf("without an age there are %q", got)
	}
	tempfile.Sweep(filepath.Join(dir, "nowhere", "x"), 0)
}

func TestNewFilesTakeNoOthersPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	names := map[string]bool{}
	for range 100 {
		f, err := tempfile.Create(path, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err = errors.Join(err, f.Close()); err != nil || info.Mode() != 0o600 || filepath.Dir(f.Name()) != filepath.Dir(path) || names[f.Name()] {
			t.Fatalf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
		names[f.Name()] = true
	}
}

func TestDevicesAndFoldersAreNotReplaced(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink(os.DevNull, link)); err != nil {
		t.Fatal(err)
	}
	for path, replaceable := range map[string]bool{
		file: true, filepath.Join(dir, "missing"): true, dir: false, os.DevNull: false, link: false, filepath.Join(file, "below"): false,
	} {
		if err := tempfile.Replaceable(path); (err == nil) != replaceable {
			t.Errorf("%s: %v", path, err)
		}
	}
}
