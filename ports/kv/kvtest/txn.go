package kvtest

import (
	"fmt"

	"github.com/dhtprom/dhtprom/ports/kv"
)

func setsAndDeletes(r *rig) {
	s := r.open()
	first := r.commit(s, r.put("a", "1"), r.put("b", "2"))
	r.holds(s, "a", "1", "b", "2")
	second := r.commit(s, r.drop("a"), r.put("b", "3"), r.put("c", "4"), r.drop("never there"))
	if second <= first {
		r.t.Errorf("revision %d follows %d", second, first)
	}
	r.holds(s, "b", "3", "c", "4")
	list := r.list(s, "")
	if list.Revision < second {
		r.t.Errorf("listed revision %d after %d", list.Revision, second)
	}
	b, c := list.Items[0], list.Items[1]
	if b.Created != first || b.Modified != second || c.Created != second || c.Modified != second {
		r.t.Errorf("set at %d and %d: %+v, %+v", first, second, b, c)
	}
}

func conditions(r *rig) {
	s := r.open()
	created := func(name string, at int64) kv.Condition { return kv.Condition{Key: r.key(name), Created: at} }
	holds := func(op kv.Op, conditions ...kv.Condition) int64 {
		r.t.Helper()
		result, err := r.try(s, kv.Txn{If: conditions, Then: []kv.Op{op}})
		if err != nil || !result.Done {
			r.t.Fatalf("the conditions %v hold: %+v, %v", conditions, result, err)
		}
		return result.Revision
	}
	fails := func(op kv.Op, conditions ...kv.Condition) {
		r.t.Helper()
		r.refuses(s, kv.Txn{If: conditions, Then: []kv.Op{op}})
	}
	first := holds(r.put("a", "1"), r.absent("a"))
	fails(r.put("a", "2"), r.absent("a"))
	fails(r.put("a", "2"), created("a", first-1))
	r.holds(s, "a", "1")
	holds(r.put("a", "3"), created("a", first))
	holds(r.put("a", "4"), created("a", first), r.absent("b")) // setting a key does not create it again
	fails(r.put("a", "5"), created("a", first), created("b", first))
	fails(r.drop("a"), r.absent("b"), r.absent("a"))
	r.holds(s, "a", "4")
	holds(r.drop("a"), created("a", first))
	again := holds(r.put("a", "6"), r.absent("a"))
	fails(r.put("a", "7"), created("a", first))
	holds(r.put("a", "8"), created("a", again))
	r.holds(s, "a", "8")
	if result, err := r.try(s, kv.Txn{If: []kv.Condition{created("a", again)}}); err != nil || !result.Done || result.Revision < again {
		r.t.Errorf("a transaction without operations: %+v, %v", result, err)
	}
}

func oneWins(r *rig) {
	stores := []kv.Store{r.open(), r.open()}
	const tries = 8
	won := make([]int, 0, tries)
	r.Run(r.t, func(done func()) {
		left := tries
		for i := range tries {
			stores[i%2].Commit(kv.Txn{If: []kv.Condition{r.absent("a")}, Then: []kv.Op{r.put("a", fmt.Sprint(i))}}, func(result kv.Result, err error) {
				if err != nil {
					r.t.Errorf("Commit: %v", err)
				}
				if result.Done {
					won = append(won, i)
				}
				if left--; left == 0 {
					done()
				}
			})
		}
	})
	if len(won) != 1 {
		r.t.Fatalf("%v of %d created the key", won, tries)
	}
	r.holds(stores[0], "a", fmt.Sprint(won[0]))
}

func valuesAreTheCallers(r *rig) {
	s := r.open()
	r.Run(r.t, func(done func()) {
		ops := []kv.Op{r.put("a", "value")}
		s.Commit(kv.Txn{Then: ops}, func(kv.Result, error) { done() })
		copy(ops[0].Value, "other")
		ops[0] = r.drop("b")
	})
	r.holds(s, "a", "value")
}

func valuesAreBytes(r *rig) {
	s := r.open()
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	r.commit(s, r.put("empty", ""), r.put("all", string(all)), r.put("key\x00\xff", "x"))
	r.holds(s, "all", string(all), "empty", "", "key\x00\xff", "x")
}

func refused(r *rig) {
	s := r.open()
	op := r.put("a", "1")
	op.Lease = 12345
	result, err := r.try(s, kv.Txn{Then: []kv.Op{r.put("b", "1"), op}})
	if !isRefusal(err) || result.Done {
		r.t.Errorf("a key under a lease that does not exist: %+v, %v", result, err)
	}
	r.holds(s)
}

func lists(r *rig) {
	s, other := r.open(), r.open()
	revision := r.commit(s, r.put("b/2", "3"), r.put("a", "1"), r.put("b/1", "2"), r.put("b0", "4"))
	r.holds(other, "a", "1", "b/1", "2", "b/2", "3", "b0", "4")
	list := r.list(other, "b/")
	if len(list.Items) != 2 || list.Items[0].Key != r.key("b/1") || list.Items[1].Key != r.key("b/2") || list.Revision < revision {
		r.t.Errorf("below b/ at %d: %+v", revision, list)
	}
	if list := r.list(other, "c"); len(list.Items) != 0 || list.Revision < revision {
		r.t.Errorf("below c: %+v", list)
	}
}

// More items than fit into one answer, of which the first and the last are deleted meanwhile.
func longList(r *rig) {
	s, other := r.open(), r.open()
	const transactions = 10
	name := func(i int) string { return fmt.Sprintf("%05d", i) }
	for i := range transactions {
		var ops []kv.Op
		for j := range kv.MaxOps {
			ops = append(ops, r.put(name(i*kv.MaxOps+j), "x"))
		}
		r.commit(s, ops...)
	}
	const all = transactions * kv.MaxOps
	var list kv.List
	r.Run(r.t, func(done func()) {
		left := 2
		end := func() {
			if left--; left == 0 {
				done()
			}
		}
		s.List(r.Prefix, func(got kv.List, err error) {
			if list = got; err != nil {
				r.t.Errorf("List: %v", err)
			}
			end()
		})
		other.Commit(kv.Txn{Then: []kv.Op{r.drop(name(0)), r.drop(name(all - 1))}}, func(kv.Result, error) { end() })
	})
	got := len(list.Items)
	if got != all && got != all-2 {
		r.t.Fatalf("%d items of %d", got, all)
	}
	for i, item := range list.Items {
		if want := r.key(name(i + (all-got)/2)); item.Key != want {
			r.t.Fatalf("item %d is %s, want %s", i, item.Key, want)
		}
	}
}
