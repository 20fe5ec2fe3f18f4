package procs

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestProcessorsFollowTheLoad(t *testing.T) {
	s := &scale{now: 1, most: 6}
	look := func(load float64) int { return s.next(lookAt(load, 99)) }
	var got []int
	for _, load := range []float64{0, 0.8, 0.9, 1.6, 1.8, 3.5, 7, 2} {
		got = append(got, look(load))
	}
	if want := []int{1, 1, 2, 2, 4, 6, 6, 6}; !slices.Equal(got, want) {
		t.Errorf("with rising load: %d, want %d", got, want)
	}
	got = nil
	for range 4 * calm {
		got = append(got, look(0.1))
	}
	if at := slices.Index(got, 3); at != calm-1 {
		t.Errorf("half of the processors after %d calm looks, want %d: %d", at+1, calm, got)
	}
	if s.now != 1 {
		t.Errorf("%d processors at the end, want 1", s.now)
	}
}

// lookAt is a look after a second with a load and a number of waiting goroutines.
func lookAt(load, waiting float64) look {
	return look{elapsed: time.Second, used: time.Duration(load * float64(time.Second)), waited: time.Duration(waiting * float64(time.Second))}
}

// Goroutines that hand over to each other are not faster on more processors.
func TestAProcessorSufficesWhereFewWait(t *testing.T) {
	s := &scale{now: 1, most: 4}
	for _, waiting := range []float64{0, 0.5, 1.4} {
		if n := s.next(lookAt(1, waiting)); n != 1 {
			t.Errorf("%d processors with %v waiting", n, waiting)
		}
	}
	if n := s.next(lookAt(1, 2)); n != 2 {
		t.Errorf("%d processors with two waiting", n)
	}
	if n := s.next(lookAt(2, 2)); n != 2 {
		t.Errorf("%d processors with one waiting for each", n)
	}
}

func TestWaitsGrowWhereGoroutinesWait(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	w := newWaits()
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 2000 {
				runtime.Gosched()
			}
		})
	}
	began := time.Now()
	all.Wait()
	if got, most := w.since(), 200*time.Since(began); got <= 0 || got > most {
		t.Errorf("waited %v, want more than nothing and at most %v", got, most)
	}
}

// A burst between calm looks keeps the processors.
func TestABurstKeepsTheProcessors(t *testing.T) {
	s := &scale{now: 2, most: 2}
	for i := range 10 * calm {
		load := 0.0
		if i%(calm-1) == 0 {
			load = 1
		}
		if n := s.next(lookAt(load, 0)); n != 2 {
			t.Fatalf("%d processors at look %d", n, i)
		}
	}
}

func TestProcessorTimeGrowsWithWork(t *testing.T) {
	before := processorTime()
	sum := 0
	for i := 0; processorTime() == before; i++ { // ends with the first tick of the kernel's clock that this loop causes
		sum += i
	}
	runtime.KeepAlive(sum)
	if after := processorTime(); after <= before {
		t.Errorf("%v after %v", after, before)
	}
}
