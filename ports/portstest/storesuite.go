package portstest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/ports"
)

// StoreBench opens the same storage repeatedly and runs the loop of its callbacks.
type StoreBench struct {
	// Open opens the storage.
	Open func(t *testing.T) ports.AliasStore
	// Run starts f on the loop and waits until done was called.
	Run func(t *testing.T, f func(done func()))
}

// TestAliasStore checks a store against the contract of ports.AliasStore. bench creates a new storage for each part.
func TestAliasStore(t *testing.T, bench func(t *testing.T) StoreBench) {
	base := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	entry := func(alias string, n byte) domain.Entry {
		return domain.Entry{
			Identity: strings.Repeat("x", int(n%3)), IdentityID: domain.IdentityID(n % 3), // none for some
			Alias: domain.Alias(alias), Key: domain.PublicKey{n, 1}, Hostname: "höst:1", Service: "svc/" + alias,
			Instance:   domain.Instance{n, 7},
			Registered: base, Renewed: base.Add(time.Hour), Expires: base.Add(4 * time.Hour),
		}
	}
	put := func(t *testing.T, b StoreBench, s ports.AliasStore, e domain.Entry) {
		t.Helper()
		b.Run(t, func(done func()) {
			s.Put(e, func(err error) {
				if err != nil {
					t.Errorf("Put(%q): %v", e.Alias, err)
				}
				done()
			})
		})
	}
	closeStore := func(t *testing.T, b StoreBench, s ports.AliasStore) {
		t.Helper()
		b.Run(t, func(done func()) {
			s.Close(func(err error) {
				if err != nil {
					t.Errorf("Close: %v", err)
				}
				done()
			})
		})
	}
	load := func(t *testing.T, b StoreBench, s ports.AliasStore) (got []domain.Entry) {
		t.Helper()
		b.Run(t, func(done func()) {
			s.Load(func(entries []domain.Entry, bad []error, err error) {
				if err != nil || len(bad) > 0 {
					t.Errorf("Load: %v, bad %v", err, bad)
				}
				got = entries
				done()
			})
		})
		return got
	}
	same := func(t *testing.T, got []domain.Entry, want ...domain.Entry) {
		t.Helper()
		if !slices.EqualFunc(got, want, func(a, b domain.Entry) bool {
			return a.Alias == b.Alias && a.Key == b.Key && a.Hostname == b.Hostname && a.Service == b.Service &&
				a.InSet == b.InSet && a.Identity == b.Identity && a.IdentityID == b.IdentityID && a.Target() == b.Target() && a.Instance == b.Instance && a.Registered.Equal(b.Registered) && a.Renewed.Equal(b.Renewed) && a.Expires.Equal(b.Expires)
		}) {
			t.Errorf("entries\n%v\nwant\n%v", got, want)
		}
	}

	t.Run("a fresh store is empty", func(t *testing.T) {
		b := bench(t)
		s := b.Open(t)
		same(t, load(t, b, s))
		closeStore(t, b, s)
	})
	t.Run("entries come back as they were, by alias", func(t *testing.T) {
		b := bench(t)
		s := b.Open(t)
		put(t, b, s, entry("b/with:all?", 2))
		put(t, b, s, entry("a", 1))
		closeStore(t, b, s)
		s = b.Open(t)
		same(t, load(t, b, s), entry("a", 1), entry("b/with:all?", 2))
		closeStore(t, b, s)
	})
	t.Run("the last put wins", func(t *testing.T) {
		b := bench(t)
		s := b.Open(t)
		put(t, b, s, entry("a", 1))
		put(t, b, s, entry("a", 9))
		same(t, load(t, b, s), entry("a", 9))
		closeStore(t, b, s)
	})
	t.Run("deleted entries stay away", func(t *testing.T) {
		b := bench(t)
		s := b.Open(t)
		for i, a := range []string{"a", "b", "c"} {
			put(t, b, s, entry(a, byte(i)))
		}
		b.Run(t, func(done func()) {
			s.Delete([]domain.Alias{"a", "c", "never there"}, func(err error) {
				if err != nil {
					t.Errorf("Delete: %v", err)
				}
				done()
			})
		})
		closeStore(t, b, s)
		s = b.Open(t)
		same(t, load(t, b, s), entry("b", 1))
		closeStore(t, b, s)
	})
	t.Run("a set changes at once", func(t *testing.T) {
		b := bench(t)
		s := b.Open(t)
		labels, err := domain.ParseLabels(map[string]string{"rack": "7", "site": "münchen", "__scrape_interval__": "30s"})
		if err != nil {
			t.Fatal(err)
		}
		fields, err := domain.ParseFields([]string{"x-tenant", "Authorization"})
		if err != nil {
			t.Fatal(err)
		}
		member := entry("site/db:9187", 1)
		member.InSet, member.Label, member.Labels, member.Fields = true, "db:9187", labels, fields
		for i, a := range []string{"gone", "other", "taken"} {
			put(t, b, s, entry(a, byte(i)))
		}
		b.Run(t, func(done func()) {
			change := domain.SetChange{Client: member.Key, Put: []domain.Entry{member, entry("taken", 1)}, Delete: []domain.Alias{"gone", "never there"}}
			s.PutSet(change, func(err error) {
				if err != nil {
					t.Errorf("PutSet: %v", err)
				}
				done()
			})
			change.Put[0], change.Delete[0] = entry("overwritten", 1), "other"
		})
		want := []domain.Entry{entry("other", 1), member, entry("taken", 1)}
		same(t, load(t, b, s), want...)
		closeStore(t, b, s)
		s = b.Open(t)
		same(t, load(t, b, s), want...)
		closeStore(t, b, s)
	})
	t.Run("changes in progress are done in order before the store closes", func(t *testing.T) {
		b := bench(t)
		s := b.Open(t)
		var order []string
		b.Run(t, func(done func()) {
			for i := range 40 {
				s.Put(entry("x", byte(i)), func(err error) { order = append(order, fmt.Sprint(i, err)) })
			}
			s.Delete([]domain.Alias{"x"}, func(err error) { order = append(order, fmt.Sprint("delete", err)) })
			s.Put(entry("x", 99), func(err error) { order = append(order, fmt.Sprint("last", err)) })
			s.Close(func(error) { done() })
		})
		want := make([]string, 0, 42)
		for i := range 40 {
			want = append(want, fmt.Sprint(i, error(nil)))
		}
		want = append(want, fmt.Sprint("delete", error(nil)), fmt.Sprint("last", error(nil)))
		if !slices.Equal(order, want) {
			t.Errorf("callbacks came as %v", order)
		}
		s = b.Open(t)
		same(t, load(t, b, s), entry("x", 99))
		closeStore(t, b, s)
	})
	t.Run("a closed store fails", func(t *testing.T) {
		b := bench(t)
		s := b.Open(t)
		closeStore(t, b, s)
		failed := errors.New("not called")
		b.Run(t, func(done func()) {
			s.Put(entry("a", 1), func(err error) { failed = err; done() })
		})
		if failed == nil {
			t.Error("Put after Close succeeded")
		}
	})
}
