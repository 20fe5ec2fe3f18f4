package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/internal/tempfile"
)

// Several scrapers start on one damaged table at the same time: one of them repairs and opens it, and the others report that
// it is in use. The locks work between files of one process as between processes.
func TestOneOfManyThatStartRepairsTheTable(t *testing.T) {
	const starts = 8
	for range 5 {
		path := filepath.Join(t.TempDir(), "aliases.db")
		if err := create(path, nil, keepExisting); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 3*4096); err != nil {
			t.Fatal(err)
		}
		type outcome struct {
			file   *file
			damage *domain.StoreDamage
			err    error
		}
		outcomes := make(chan outcome, starts)
		for range starts {
			go func() {
				f, damage, err := openFile(path)
				outcomes <- outcome{f, damage, err}
			}()
		}
		open, repairs := 0, 0
		for range starts {
			o := <-outcomes
			if o.damage != nil {
				repairs++
			}
			switch {
			case o.err == nil:
				open++
				defer func() { _ = o.file.close() }()
			case !errors.Is(o.err, errInUse):
				t.Errorf("one fails: %v", o.err)
			}
		}
		kept := 0
		all, err := os.ReadDir(filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if strings.Contains(e.Name(), damagedSuffix) {
				kept++
			}
		}
		if open != 1 || repairs != 1 || kept != 1 {
			t.Errorf("%d have the table, %d have repaired it, %d damaged files are kept; want one of each", open, repairs, kept)
		}
	}
}

// Several scrapers start for the first time on one path at the same moment, as where a unit is enabled twice. One of them
// opens the table, the others report that it is in use, and none opens another one's temporary file.
func TestOneOfManyFirstStartsHasTheTable(t *testing.T) {
	const paths, starts = 20, 8
	type outcome struct {
		file   *file
		damage *domain.StoreDamage
		err    error
	}
	outcomes := map[string]chan outcome{}
	for range paths {
		path := filepath.Join(t.TempDir(), "aliases.db")
		all := make(chan outcome, starts)
		outcomes[path] = all
		for range starts {
			go func() {
				f, damage, err := openFile(path)
				all <- outcome{f, damage, err}
			}()
		}
	}
	for path, all := range outcomes {
		open := 0
		for range starts {
			o := <-all
			if o.damage != nil {
				t.Errorf("a new table is held for damaged: %v", o.damage.Problems)
			}
			switch {
			case o.err == nil:
				open++
				defer func() { _ = o.file.close() }()
			case !errors.Is(o.err, errInUse):
				t.Errorf("one fails: %v", o.err)
			}
		}
		if open != 1 {
			t.Errorf("%d have the table", open)
		}
		onlyTheTable(t, path)
	}
}

func onlyTheTable(t *testing.T, path string) {
	t.Helper()
	all, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if e.Name() != filepath.Base(path) {
			t.Errorf("%s is left behind", e.Name())
		}
	}
}

// Temporary files of scrapers that were killed while they created a table are removed at the next start.
func TestLeftoversOfAStartThatDiedAreRemoved(t *testing.T) {
	for name, leave := range map[string]func(path string) error{
		"half a table":    func(path string) error { return os.WriteFile(path, make([]byte, 5000), 0o600) },
		"a whole one":     func(path string) error { return fill(path, nil) },
		"nothing":         func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"a read-only one": func(path string) error { return os.WriteFile(path, []byte("x"), 0o400) },
	} {
		path := filepath.Join(t.TempDir(), "aliases.db")
		if err := leave(tempfile.Name(path)); err != nil {
			t.Fatal(err)
		}
		f, damage, err := openFile(path)
		if err != nil || damage != nil {
			t.Errorf("%s: %v, %v", name, damage, err)
			continue
		}
		if err := f.close(); err != nil {
			t.Error(err)
		}
		onlyTheTable(t, path)
	}
}
