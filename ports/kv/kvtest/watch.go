package kvtest

import (
	"fmt"
	"slices"

	"github.com/dhtprom/dhtprom/ports/kv"
)

// recorder records what a watch reports. Its fields belong to the loop.
type recorder struct {
	r       *rig
	cancel  func()
	batches [][]kv.Change
	lost    bool
	status  []bool
	look    func() // called after each report
}

// watch starts a watch of the prefix with this name.
func (r *rig) watch(s kv.Store, name string, after int64) *recorder {
	r.t.Helper()
	rec := &recorder{r: r, look: func() {}}
	r.do(func() {
		rec.cancel = s.Watch(r.key(name), after, kv.WatchHandlers{
			OnChanges: rec.take,
			OnConnected: func(ok bool) {
				if n := len(rec.status); n > 0 && rec.status[n-1] == ok {
					r.t.Errorf("OnConnected(%v) again", ok)
				}
				rec.status = append(rec.status, ok)
				rec.look()
			},
			OnLost: func() {
				rec.lost = true
				rec.look()
			},
		})
		if len(rec.batches)+len(rec.status) > 0 || rec.lost {
			r.t.Error("Watch called back in the same turn")
		}
	})
	return rec
}

func (r *recorder) take(changes []kv.Change, revision int64) {
	switch {
	case len(changes) == 0:
		r.r.t.Error("a report without changes")
	case changes[len(changes)-1].Modified != revision:
		r.r.t.Errorf("reported as revision %d: %+v", revision, changes)
	case r.lost:
		r.r.t.Errorf("reported after OnLost: %+v", changes)
	}
	r.batches = append(r.batches, changes)
	r.look()
}

// await waits until cond, which runs on the loop, holds.
func (r *recorder) await(cond func() bool) {
	r.r.t.Helper()
	r.r.Run(r.r.t, func(done func()) {
		r.look = func() {
			if cond() {
				r.look = func() {}
				done()
			}
		}
		r.look()
	})
}

// reports waits for n changes and returns all that came.
func (r *recorder) reports(n int) (all []kv.Change) {
	r.r.t.Helper()
	r.await(func() bool {
		all = slices.Concat(r.batches...)
		return len(all) >= n
	})
	return all
}

// text is a short form of changes: name=value@revision, or name deleted@revision.
func (r *rig) text(changes []kv.Change) (all []string) {
	for _, c := range changes {
		what := "=" + string(c.Value)
		if c.Deleted {
			what = " deleted"
		}
		if c.Deleted != (c.Created == 0) || c.Deleted && len(c.Value) > 0 {
			r.t.Errorf("a change that is neither: %+v", c)
		}
		all = append(all, fmt.Sprintf("%s%s@%d", c.Key[len(r.Prefix):], what, c.Modified))
	}
	return all
}

func (r *rig) same(changes []kv.Change, want ...string) {
	r.t.Helper()
	if got := r.text(changes); !slices.Equal(got, want) {
		r.t.Errorf("reported %q, want %q", got, want)
	}
}

func watches(r *rig) {
	s, other := r.open(), r.open()
	first := r.commit(s, r.put("a", "1"))
	second := r.commit(s, r.put("a", "2"))
	third := r.commit(s, r.drop("a"))
	rec := r.watch(other, "", first)
	fourth := r.commit(s, r.put("a", "3"))
	fifth := r.commit(s, r.put("b", "4"))
	all := rec.reports(4)
	r.same(all, fmt.Sprintf("a=2@%d", second), fmt.Sprintf("a deleted@%d", third), fmt.Sprintf("a=3@%d", fourth), fmt.Sprintf("b=4@%d", fifth))
	if all[0].Created != first || all[2].Created != fourth {
		r.t.Errorf("created at %d and %d: %+v", first, fourth, all)
	}
	r.do(func() {
		if !slices.Equal(rec.status, []bool{true}) {
			r.t.Errorf("connected: %v", rec.status)
		}
	})
	// Many, while the watch follows.
	want := r.text(all)
	for i := range 50 {
		want = append(want, fmt.Sprintf("c=%d@%d", i, r.commit(s, r.put("c", fmt.Sprint(i)))))
	}
	r.same(rec.reports(len(want)), want...)
}

func together(r *rig) {
	s := r.open()
	start := r.list(s, "").Revision
	before := r.watch(s, "", start)
	for i := range 20 {
		v := fmt.Sprint(i)
		r.commit(s, r.put("a", v), r.put("b", v), r.put("c/"+v, v), r.put("d", v))
	}
	for _, rec := range []*recorder{before, r.watch(s, "", start)} {
		rec.reports(80)
		r.do(func() {
			of := map[int64]int{} // batch of a revision
			for i, batch := range rec.batches {
				for _, c := range batch {
					if b, ok := of[c.Modified]; ok && b != i {
						r.t.Errorf("revision %d was reported in parts", c.Modified)
					}
					of[c.Modified] = i
				}
			}
			if len(of) != 20 {
				r.t.Errorf("%d revisions, want 20", len(of))
			}
		})
	}
}

func watchesPrefix(r *rig) {
	s := r.open()
	start := r.list(s, "").Revision
	rec := r.watch(s, "b/", start)
	first := r.commit(s, r.put("b", "0"), r.put("b/1", "1"), r.put("b0", "0"), r.put("a", "0"))
	r.commit(s, r.put("c", "0"))
	last := r.commit(s, r.put("b/2", "2"))
	r.same(rec.reports(2), fmt.Sprintf("b/1=1@%d", first), fmt.Sprintf("b/2=2@%d", last))
}

func cancels(r *rig) {
	s := r.open()
	start := r.list(s, "").Revision
	cancelled, other := r.watch(s, "", start), r.watch(s, "", start)
	r.commit(s, r.put("a", "1"))
	cancelled.reports(1)
	r.do(func() {
		cancelled.cancel()
		cancelled.cancel()
		cancelled.look = func() { r.t.Error("a report after cancel") }
	})
	r.commit(s, r.put("a", "2"))
	r.commit(s, r.put("a", "3"))
	other.reports(3)
	inside := r.watch(s, "", start)
	inside.await(func() bool { return len(inside.status) > 0 })
	r.do(func() {
		inside.look = func() {
			inside.cancel()
			inside.look = func() { r.t.Error("a report after cancel inside of a report") }
		}
	})
	early := r.watch(s, "", start) // is cancelled before its first report
	r.do(func() {
		early.cancel()
		early.look = func() { r.t.Error("a report after cancel") }
	})
	r.Run(r.t, func(done func()) { // many at once
		left := 10
		for range left {
			s.Commit(kv.Txn{Then: []kv.Op{r.put("a", "4")}}, func(kv.Result, error) {
				if left--; left == 0 {
					done()
				}
			})
		}
	})
	other.reports(13)
}

func compacted(r *rig) {
	s := r.open()
	first := r.commit(s, r.put("a", "1"))
	r.commit(s, r.put("a", "2"))
	last := r.commit(s, r.put("a", "3"))
	current := r.watch(s, "", last)
	current.await(func() bool { return len(current.status) > 0 })
	r.Compact(r.t, last)
	behind := r.watch(s, "", first)
	behind.await(func() bool { return behind.lost })
	again := r.commit(s, r.put("a", "4"))
	r.same(current.reports(1), fmt.Sprintf("a=4@%d", again))
	r.do(func() {
		if len(behind.batches) > 0 || current.lost {
			r.t.Errorf("behind: %v; the current one is lost: %v", behind.batches, current.lost)
		}
	})
	r.holds(s, "a", "4")
}
