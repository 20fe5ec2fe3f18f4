package bolt_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dhtprom/dhtprom/adapters/bolt"
	"github.com/dhtprom/dhtprom/domain"
)

func pins(t *testing.T, l loop, s *bolt.Store) (all []domain.Pin, bad []error) {
	t.Helper()
	l.run(func(done func()) {
		s.LoadPins(func(p []domain.Pin, b []error, err error) {
			if err != nil {
				t.Error(err)
			}
			all, bad = p, b
			done()
		})
	})
	return all, bad
}

func TestPinsSurviveBesideTheAliases(t *testing.T) {
	l, path := newLoop(), filepath.Join(t.TempDir(), "aliases.db")
	s := open(t, l, path)
	done := func(f func(func(error))) {
		t.Helper()
		l.run(func(finished func()) {
			f(func(err error) {
				if err != nil {
					t.Error(err)
				}
				finished()
			})
		})
	}
	since := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	first, second := domain.Pin{Alias: "a/b:c", Key: domain.PublicKey{1}, Since: since}, domain.Pin{Alias: "z", Key: domain.PublicKey{2}, Since: since}
	done(func(d func(error)) { s.PutPin(second, d) })
	done(func(d func(error)) { s.PutPin(first, d) })
	done(func(d func(error)) { s.Put(entry("z", 7), d) })
	done(func(d func(error)) { s.Delete([]domain.Alias{"z", "a/b:c"}, d) }) // the aliases, not their pins
	done(s.Close)

	s = open(t, l, path)
	if got, bad := pins(t, l, s); !slices.Equal(got, []domain.Pin{first, second}) || len(bad) > 0 {
		t.Errorf("%+v, %v", got, bad)
	}
	if entries, _ := load(t, l, s); len(entries) != 0 {
		t.Errorf("pins are taken for aliases: %+v", entries)
	}
	done(func(d func(error)) { s.DeletePin("z", d) })
	done(func(d func(error)) { s.DeletePin("z", d) })
	done(s.Close)

	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("pins")).Put([]byte("newer"), []byte(`{"v":2}`))
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, l, path)
	if got, bad := pins(t, l, s); len(got) != 1 || len(bad) != 1 {
		t.Errorf("%+v, %v", got, bad)
	}
	done(s.Close)
}

// A set that cannot be written changes nothing, neither its entries nor its pins.
func TestPinsMoveWithTheirSet(t *testing.T) {
	l, path := newLoop(), filepath.Join(t.TempDir(), "aliases.db")
	s := open(t, l, path)
	put := func(c domain.SetChange) (failed error) {
		l.run(func(finished func()) { s.PutSet(c, func(err error) { failed = err; finished() }) })
		return failed
	}
	since := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	pin := domain.Pin{Alias: "z", Key: domain.PublicKey{2}, Since: since}
	if err := put(domain.SetChange{Put: []domain.Entry{entry("z", 7)}, Pins: []domain.Pin{pin}}); err != nil {
		t.Error(err)
	}
	far := entry("a", 1)
	far.Expires = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) // not in the format
	if err := put(domain.SetChange{Put: []domain.Entry{entry("b", 1), far}, Delete: []domain.Alias{"z"}, Pins: []domain.Pin{{Alias: "b", Key: domain.PublicKey{1}, Since: since}}}); err == nil {
		t.Error("a date that cannot be written was")
	}
	l.run(func(finished func()) { s.Close(func(error) { finished() }) })

	s = open(t, l, path)
	if got, bad := pins(t, l, s); !slices.Equal(got, []domain.Pin{pin}) || len(bad) > 0 {
		t.Errorf("%+v, %v", got, bad)
	}
	if entries, _ := load(t, l, s); len(entries) != 1 || entries[0].Alias != "z" {
		t.Errorf("%+v", entries)
	}
	l.run(func(finished func()) { s.Close(func(error) { finished() }) })
}
