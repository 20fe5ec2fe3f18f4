package domain_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/dhtprom/dhtprom/domain"
)

func groupOf(names ...string) (g domain.Group) {
	for _, name := range names {
		g.Members = append(g.Members, domain.Member{ID: domain.MemberID("id of " + name), Name: name})
	}
	return g
}

func keyNumber(i int) domain.PublicKey {
	return domain.PublicKey(sha256.Sum256(fmt.Append(nil, i)))
}

func TestClientsAreSpreadEvenly(t *testing.T) {
	const keys = 20_000
	for _, names := range [][]string{
		{"a"}, {"a", "b"}, {"scraper-0", "scraper-1", "scraper-2"}, {"a.example.org", "b.example.org", "c.example.org", "d.example.org", "e.example.org", "f.example.org", "g.example.org"},
	} {
		g, held := groupOf(names...), map[string]int{}
		for i := range keys {
			m, _ := g.Holder(keyNumber(i))
			held[m.Name]++
		}
		for _, name := range names {
			if share := float64(held[name]) * float64(len(names)) / keys; share < 0.93 || share > 1.07 {
				t.Errorf("%s of %d holds %.2f of an equal share", name, len(names), share)
			}
		}
	}
}

func TestOnlyTheClientsOfAMemberMoveWithIt(t *testing.T) {
	all, fewer := groupOf("a", "b", "c", "d"), groupOf("a", "b", "d")
	again, leaving := groupOf("a", "b", "c", "d"), groupOf("a", "b", "c", "d")
	again.Members[2].ID = "another one"
	leaving.Members[2].Leaving = true
	for i := range 2000 {
		key := keyNumber(i)
		with, _ := all.Holder(key)
		without, _ := fewer.Holder(key)
		if with.Name != "c" && with != without {
			t.Fatalf("a client of %s moves to %s when c leaves", with.Name, without.Name)
		}
		if m, _ := again.Holder(key); m.Name != with.Name {
			t.Fatalf("a client of %s moves to %s when c is restarted", with.Name, m.Name)
		}
		if m, _ := leaving.Holder(key); m != without {
			t.Fatalf("a client moves to %s when c is about to leave, and to %s when it has", m.Name, without.Name)
		}
	}
	sums := map[uint64]bool{}
	for _, g := range []domain.Group{all, fewer, again} {
		sums[g.Holders()] = true
	}
	if len(sums) != 3 {
		t.Error("two lists of holders have the same number")
	}
	if leaving.Holders() != fewer.Holders() {
		t.Error("a member that is about to leave is counted")
	}
	if _, ok := (domain.Group{}).Holder(domain.PublicKey{1}); ok {
		t.Error("an empty group has a holder")
	}
}
