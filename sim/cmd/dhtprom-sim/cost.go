package main

import (
	"fmt"
	"runtime"
	"time"

	"github.com/dhtprom/dhtprom/sim"
)

// scale measures the memory of a run.
type scale struct {
	before   uint64 // bytes of the heap in use
	world    uint64
	machines int
}

// newScale measures now, and again at the end of the scenario.
func newScale(o *sim.Options) *scale {
	s := &scale{before: heap()}
	o.Standing = func(machines int) {
		now := heap()
		s.world, s.machines = now-min(now, s.before), machines
	}
	return s
}

// heap returns the bytes of the heap in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// rows returns the cost of a run on this machine.
func (s *scale) rows(r *sim.Result, took time.Duration) []sim.Row {
	rows := []sim.Row{
		{Name: "real time", Value: took.Round(time.Millisecond).String()},
		{Name: "events", Value: fmt.Sprintf("%d, %.0f per second", r.Events(), float64(r.Events())/took.Seconds())},
	}
	if s.machines > 0 {
		rows = append(rows, sim.Row{Name: "memory of the world", Value: fmt.Sprintf("%.1f MB in use, %d bytes for each of %d machines",
			float64(s.world)/(1<<20), s.world/uint64(s.machines), s.machines)})
	}
	if most := maxResident(); most > 0 {
		rows = append(rows, sim.Row{Name: "maximum resident memory", Value: fmt.Sprintf("%d MB, of all runs so far", most>>20)})
	}
	return rows
}
