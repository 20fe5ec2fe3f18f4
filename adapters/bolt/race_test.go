package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
)

// Several scrapers start on one damaged table at the same time: one of them repairs it and has it, and the others find it
// in use. The locks of one process keep its own files apart, as those of several processes do.
func TestOneOfManyThatStartRepairsTheTable(t *testing.T) {
	const starts = 8
	for range 5 {
		path := filepath.Join(t.TempDir(), "aliases.db")
		if err := create(path, nil, false); err != nil {
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
