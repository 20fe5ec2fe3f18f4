package bolt

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// A path that names the file of another program is a mistake of the operator's. The file stays as it is.
func TestDatabasesOfOtherProgramsAreRefusedAndKept(t *testing.T) {
	for name, c := range map[string]struct {
		write func(path string) error
		says  string
	}{
		"SQLite": {func(path string) error {
			return os.WriteFile(path, append([]byte("SQLite format 3\x00\x10\x00\x01\x01"), make([]byte, 8192)...), 0o600)
		}, "SQLite"},
		"bbolt":         {func(path string) error { return otherDatabase(path, 3) }, `bucket "containers"`},
		"a large bbolt": {func(path string) error { return otherDatabase(path, 3000) }, `bucket "containers"`},
	} {
		path := filepath.Join(t.TempDir(), "other.db")
		if err := c.write(path); err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadFile(path)
		f, damage, err := openFile(path)
		if f != nil || damage != nil || err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "name another path") {
			t.Errorf("%s: %v, %v", name, damage, err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%s: the file was changed", name)
		}
		onlyTheTable(t, path)
	}
}

// A program that is killed at its first start leaves an empty database, which may be replaced.
func TestEmptyDatabasesAreTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "aliases.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	f, damage, err := openFile(path)
	if err != nil || damage != nil {
		t.Fatal(damage, err)
	}
	if err := f.close(); err != nil {
		t.Error(err)
	}
}

func otherDatabase(path string, records int) error {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("containers"))
		if err == nil {
			_, err = b.CreateBucket([]byte("images"))
		}
		for i := 0; i < records && err == nil; i++ {
			err = b.Put(fmt.Appendf(nil, "container %d", i), make([]byte, 100))
		}
		return err
	})
}
