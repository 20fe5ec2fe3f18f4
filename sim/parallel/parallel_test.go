package parallel_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/dhtprom/dhtprom/sim/parallel"
)

// Each call of each batch is made once, also where goroutines fall asleep between batches and where the pool is closed.
func TestEachCallIsMadeOnce(t *testing.T) {
	for _, processors := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(processors), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			pool := parallel.New()
			for round := range 1000 {
				if round == 900 {
					pool.Close()
				}
				n := round % 40
				made := make([]int, n)
				pool.Run(n, func(i int) { made[i]++ })
				if slices.ContainsFunc(made, func(times int) bool { return times != 1 }) {
					t.Fatalf("round %d: %v", round, made)
				}
			}
		})
	}
}

// Calls that wait for each other end: they are made at the same time.
func TestCallsAreMadeAtTheSameTime(t *testing.T) {
	const processors = 4
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
	pool := parallel.New()
	defer pool.Close()
	for range 100 {
		var there atomic.Int64
		pool.Run(processors, func(int) {
			for there.Add(1); there.Load() < processors; {
				runtime.Gosched()
			}
		})
	}
}

// A panic comes after all calls, with the value of the first that panicked, and the pool goes on.
func TestPanicsComeTogether(t *testing.T) {
	pool := parallel.New()
	defer pool.Close()
	for range 100 {
		var made atomic.Int64
		func() {
			defer func() {
				if v := recover(); v != 3 || made.Load() != 10 {
					t.Errorf("panic %v after %d calls", v, made.Load())
				}
			}()
			pool.Run(10, func(i int) {
				made.Add(1)
				if i >= 3 {
					panic(i)
				}
			})
		}()
	}
}

// A test that fails in a call ends the goroutine of that call, and Run returns all the same.
func TestCallsMayEndTheirGoroutine(t *testing.T) {
	ended := make(chan bool)
	go func() {
		pool := parallel.New()
		defer pool.Close()
		defer close(ended)
		for range 10 {
			pool.Run(4, func(i int) {
				if i == 1 {
					runtime.Goexit()
				}
			})
		}
	}()
	<-ended
}

// The goroutines of a closed pool end.
func TestCloseEndsGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	pool := parallel.New()
	pool.Run(10, func(int) {})
	pool.Close()
	for runtime.NumGoroutine() > before {
		runtime.Gosched()
	}
}
