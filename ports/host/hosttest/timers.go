package hosttest

import (
	"slices"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

const ms = time.Millisecond

// expect fails the test unless the recorded names are the wanted ones, in order.
func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// note returns a callback that adds a name to a list.
func note(list *[]string, name string) func() {
	return func() { *list = append(*list, name) }
}

func timersFireInOrderOfTheirDeadlines(t *testing.T, r Rig) {
	var got []string
	r.Await(t, func(done func()) {
		r.Host.AfterFunc(3*ms, note(&got, "third"))
		r.Host.AfterFunc(1*ms, note(&got, "first"))
		r.Host.AfterFunc(2*ms, note(&got, "second"))
		r.Host.AfterFunc(4*ms, done)
	})
	expect(t, got, "first", "second", "third")
}

func equalDeadlinesFireInOrderArmed(t *testing.T, r Rig) {
	var got, want []string
	r.Await(t, func(done func()) {
		for i := range 100 {
			name := string(rune('A' + i))
			want = append(want, name)
			r.Host.AfterFunc(ms, note(&got, name))
		}
		r.Host.AfterFunc(ms, done)
	})
	expect(t, got, want...)
}

func resetCountsAsArmingAnew(t *testing.T, r Rig) {
	var got []string
	r.Await(t, func(done func()) {
		a := r.Host.AfterFunc(ms, note(&got, "a"))
		r.Host.AfterFunc(ms, note(&got, "b"))
		a.Reset(ms)
		r.Host.AfterFunc(ms, done)
	})
	expect(t, got, "b", "a")
}

func timerNeverFiresEarly(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		armed, inside := r.Host.Now(), true
		r.Host.AfterFunc(0, func() {
			if inside {
				t.Error("a timer of 0 fired inside AfterFunc's turn")
			}
		})
		r.Host.AfterFunc(-time.Hour, func() {
			if inside {
				t.Error("a timer of the past fired inside AfterFunc's turn")
			}
		})
		r.Host.AfterFunc(2*ms, func() {
			if took := r.Host.Now().Sub(armed); took < 2*ms {
				t.Errorf("a timer of 2ms fired after %v", took)
			}
			done()
		})
		r.Host.Defer(func() { inside = false })
	})
}

func stoppedTimerNeverFires(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		stopped := r.Host.AfterFunc(2*ms, func() { t.Error("a stopped timer fired") })
		r.Host.AfterFunc(ms, func() {
			if !stopped.Stop() {
				t.Error("Stop of a pending timer reported false")
			}
		})
		r.Host.AfterFunc(4*ms, done)
	})
}

func timerStoppedByItsTwin(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		var second, third host.Timer
		r.Host.AfterFunc(ms, func() {
			if !second.Stop() {
				t.Error("Stop of a timer that is due and has not fired reported false")
			}
			third.Reset(ms)
		})
		second = r.Host.AfterFunc(ms, func() { t.Error("fired although it was stopped when due") })
		armed := r.Host.Now()
		third = r.Host.AfterFunc(ms, func() {
			if r.Host.Now().Sub(armed) < 2*ms {
				t.Error("fired at its old instant although it was reset when due")
			}
			done()
		})
	})
}

func stopTellsWhetherPending(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		var timer host.Timer
		timer = r.Host.AfterFunc(ms, func() {
			if timer.Stop() {
				t.Error("Stop inside the timer's own callback reported true")
			}
			timer.Reset(time.Hour)
			if !timer.Stop() || timer.Stop() {
				t.Error("Stop did not report true once after Reset")
			}
			done()
		})
	})
}

func resetOfPendingFiresOnce(t *testing.T, r Rig) {
	fired := 0
	r.Await(t, func(done func()) {
		timer := r.Host.AfterFunc(ms, func() { fired++ })
		timer.Reset(3 * ms)
		timer.Reset(2 * ms)
		r.Host.AfterFunc(5*ms, done)
	})
	if fired != 1 {
		t.Errorf("fired %d times, want once", fired)
	}
}

func resetRevives(t *testing.T, r Rig) {
	var got []string
	r.Await(t, func(done func()) {
		var again host.Timer
		again = r.Host.AfterFunc(ms, func() {
			if got = append(got, "again"); len(got) < 3 {
				again.Reset(ms)
				return
			}
			stopped := r.Host.AfterFunc(ms, func() {
				got = append(got, "revived")
				done()
			})
			stopped.Stop()
			stopped.Reset(ms)
		})
	})
	expect(t, got, "again", "again", "again", "revived")
}

func resetToEarlier(t *testing.T, r Rig) {
	var got []string
	r.Await(t, func(done func()) {
		moved := r.Host.AfterFunc(time.Hour, note(&got, "moved"))
		r.Host.AfterFunc(2*ms, note(&got, "other"))
		moved.Reset(ms)
		r.Host.AfterFunc(3*ms, done)
	})
	expect(t, got, "moved", "other")
}

func nowStandsStill(t *testing.T, r Rig) {
	r.Await(t, func(done func()) {
		var last host.Instant
		check := func() {
			now := r.Host.Now()
			if now <= 0 {
				t.Errorf("Now is %v, want more than zero", now)
			}
			if now.Before(last) {
				t.Errorf("Now went back from %v to %v", last, now)
			}
			for range 50_000 { // long enough to detect a moving clock
				if r.Host.Now() != now {
					t.Error("Now moved within a turn")
					break
				}
			}
			r.Host.Defer(func() {
				if r.Host.Now() != now {
					t.Error("Now moved before the turn's deferred closures ran")
				}
			})
			last = now
		}
		check()
		r.Host.Post(check)
		r.Host.AfterFunc(ms, check)
		r.Host.AfterFunc(2*ms, func() { check(); done() })
	})
}

func deferredRunsAtTheEnd(t *testing.T, r Rig) {
	var got []string
	r.Await(t, func(done func()) {
		r.Host.Post(func() {
			expect(t, got, "turn", "one", "two", "nested", "nested deeper")
			done()
		})
		r.Host.Defer(func() {
			got = append(got, "one")
			r.Host.Defer(func() {
				got = append(got, "nested")
				r.Host.Defer(note(&got, "nested deeper"))
			})
		})
		r.Host.Defer(note(&got, "two"))
		got = append(got, "turn")
	})
}

func postedRunsLater(t *testing.T, r Rig) {
	var got []string
	r.Await(t, func(done func()) {
		r.Host.Post(func() {
			got = append(got, "one")
			r.Host.Post(func() {
				got = append(got, "three")
				done()
			})
			r.Host.Defer(note(&got, "end of one"))
		})
		r.Host.Post(note(&got, "two"))
		got = append(got, "turn")
	})
	expect(t, got, "turn", "one", "end of one", "two", "three")
}
