package records

import "testing"

// CheckInvariants fails the test if the parts of a store contradict each other or exceed a bound.
func (s *Store) CheckInvariants(t testing.TB, cfg Config) {
	t.Helper()
	entries, values := cfg.limits()
	for _, g := range []topicGeneration{s.topics.fresh, s.topics.stale} {
		n := 0
		for target, list := range g.lists {
			if len(list) == 0 {
				t.Fatal("an empty topic is kept")
			}
			for i, record := range list {
				if got, ok := g.index[topicKey{target, keyOf(record)}]; !ok || got != i {
					t.Fatalf("record %d is indexed as %d, %v", i, got, ok)
				}
			}
			n += len(list)
		}
		if n != len(g.index) {
			t.Fatalf("%d records, %d indexed", n, len(g.index))
		}
	}
	for k := range s.topics.fresh.index {
		if _, ok := s.topics.stale.index[k]; ok {
			t.Fatal("a record is in both generations")
		}
	}
	for target := range s.router.local {
		if _, ok := s.router.announced.get(target); ok {
			t.Fatal("a local server is in the generations too")
		}
	}
	st := s.Stats()
	if max(st.Entries, st.Topics-2, st.Bumps, st.Refreshes) > 2*entries.entries || max(st.Mutables, st.Immutables) > 2*values.entries {
		t.Fatalf("more than allowed: %+v", st)
	}
	for _, bytes := range []int{s.mutables.fresh.bytes, s.immutables.fresh.bytes} {
		if bytes < 0 || bytes >= values.bytes {
			t.Fatalf("a current generation of %d bytes", bytes)
		}
	}
	sum := total(s.mutables.fresh.entries) + total(s.mutables.stale.entries) +
		total(s.immutables.fresh.entries) + total(s.immutables.stale.entries)
	if sum != st.ValueBytes {
		t.Fatalf("%d bytes stored, %d counted", sum, st.ValueBytes)
	}
}

func total[K comparable](m map[K][]byte) (n int) {
	for _, b := range m {
		n += len(b)
	}
	return n
}
