package domain_test

import (
	"slices"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
)

func TestKeyListsHaveEachKeyOnce(t *testing.T) {
	keys := []domain.PublicKey{keyNumber(3), keyNumber(1), keyNumber(2), keyNumber(1)}
	l := domain.NewKeyList(keys)
	if l.Len() != 3 || len(slices.Collect(l.All())) != 3 {
		t.Fatalf("%d keys", l.Len())
	}
	for _, k := range keys {
		if !l.Has(k) {
			t.Errorf("%s is missing", k.Short())
		}
	}
	if l.Has(keyNumber(4)) || domain.KeyList("").Has(keyNumber(1)) {
		t.Error("a list has a key that is not in it")
	}
	slices.Reverse(keys)
	if domain.NewKeyList(keys) != l || domain.KeyListFrom([]byte(l)) != l {
		t.Error("lists of the same keys differ")
	}
	var unsorted []byte
	for _, k := range keys {
		unsorted = append(unsorted, k[:]...)
	}
	if domain.KeyListFrom(append(unsorted, 1, 2, 3)) != l {
		t.Error("a list that another program wrote is not put in order")
	}
}

func TestPinsGoBeforeTheScores(t *testing.T) {
	g := groupOf("a", "b", "c")
	for i := range 100 {
		key := keyNumber(i)
		usual, _ := g.Holder(key)
		for at := range g.Members {
			pinned := groupOf("a", "b", "c")
			pinned.Members[at].Pinned = domain.NewKeyList([]domain.PublicKey{key})
			if m, _ := pinned.Holder(key); m.Name != g.Members[at].Name {
				t.Fatalf("%s holds a client that %s has pinned", m.Name, g.Members[at].Name)
			}
			if m, _ := pinned.Holder(keyNumber(i + 1000)); m.Name != must(g.Holder(keyNumber(i+1000))).Name {
				t.Fatal("a pin changes the holder of another client")
			}
			pinned.Members[at].Leaving = true
			if m, _ := pinned.Holder(key); m.Name == g.Members[at].Name {
				t.Fatal("a member that is about to leave holds the client that it has pinned")
			}
			all := groupOf("a", "b", "c")
			for j := range all.Members {
				all.Members[j].Pinned = pinned.Members[at].Pinned
			}
			if m, _ := all.Holder(key); m.Name != usual.Name {
				t.Fatalf("of three that pinned a client %s holds it, want the highest score, that of %s", m.Name, usual.Name)
			}
		}
	}
}

func must(m domain.Member, _ bool) domain.Member { return m }
