package procs

import (
	"runtime"
	"slices"
	"testing"
	"time"
)

func TestProcessorsFollowTheLoad(t *testing.T) {
	s := &scale{now: 1, most: 6}
	look := func(load float64) int { return s.next(time.Duration(load*float64(time.Second)), time.Second) }
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

// A burst between calm looks keeps the processors.
func TestABurstKeepsTheProcessors(t *testing.T) {
	s := &scale{now: 2, most: 2}
	for i := range 10 * calm {
		load := time.Duration(0)
		if i%(calm-1) == 0 {
			load = time.Second
		}
		if n := s.next(load, time.Second); n != 2 {
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
