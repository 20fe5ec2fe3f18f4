package hosttest

import (
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/dhtprom/dhtprom/ports/host"
)

// done of a computation sees what work has written, in a turn after the one that asked, and may do what turns may.
func computationsEndInLaterTurns(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		inside, sum := true, [sha256.Size]byte{}
		r.Host.Defer(func() { inside = false })
		r.Host.Compute(func() { sum = sha256.Sum256([]byte("work")) }, func() {
			if inside {
				t.Error("done ran inside the turn that called Compute")
			}
			if sum != sha256.Sum256([]byte("work")) {
				t.Errorf("done ran before work: %x", sum)
			}
			deferred := false
			r.Host.Defer(func() { deferred = true })
			r.Host.Post(func() {
				if !deferred {
					t.Error("done was no turn of its own")
				}
				done()
			})
		})
	})
}

// Each computation of a crowd runs once, then its done, whatever the order; those that a done asks for, too.
func eachComputationRunsOnce(t *testing.T, r Rig) {
	const crowd = 100
	works, ends := make([]int, 2*crowd), make([]int, 2*crowd)
	r.Await(t, func(done func()) {
		join := host.NewJoin(done)
		all := join.Add()
		for i := range crowd {
			ended := join.Add()
			r.Host.Compute(func() { works[i]++ }, func() {
				ends[i]++
				r.Host.Compute(func() { works[crowd+i]++ }, func() {
					ends[crowd+i]++
					ended()
				})
			})
		}
		all()
	})
	once := slices.Repeat([]int{1}, 2*crowd)
	if !slices.Equal(works, once) || !slices.Equal(ends, once) {
		t.Errorf("work ran %v times, done %v times", works, ends)
	}
}

// Timers and posted closures have their turns while computations are under way: none waits for the end of all.
func otherTurnsRunBetweenComputations(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		var compute func(left int)
		posted := 0
		compute = func(left int) {
			before := posted
			r.Host.Post(func() { posted++ })
			r.Host.Compute(func() {}, func() {
				if left > 0 {
					compute(left - 1)
					return
				}
				r.Host.AfterFunc(ms, func() {
					if posted <= before {
						t.Error("a posted closure did not run until the computations had ended")
					}
					done()
				})
			})
		}
		compute(20)
	})
}

// A host that is closed while computations are under way calls no done, and lets those end that have begun.
func closedHostEndsNoComputation(t *testing.T, r Rig) {
	closing := false
	r.Await(t, func(done func()) {
		for range 100 {
			r.Host.Compute(func() {}, func() {
				if closing {
					t.Error("done ran on a closed host")
				}
			})
		}
		r.Host.Defer(done)
	})
	r.Close()
	closing = true
	r.Host.Compute(func() { t.Error("work ran on a closed host") }, func() { t.Error("done ran on a closed host") })
}
