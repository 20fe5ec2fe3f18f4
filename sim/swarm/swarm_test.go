package swarm

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/sim"
	"github.com/dhtprom/dhtprom/sim/hugepages"
)

// The bounds of the full size on a machine of two cores. Time is that of the processor: a run takes no longer than that on
// a machine of its own. Whoever else uses it still slows it down, by waiting for the same memory, and so the better of two
// runs counts.
const (
	maxTime   = 5 * time.Minute
	maxMemory = 4 << 30
)

func TestLargeSwarm(t *testing.T) {
	full := os.Getenv("DHTPROM_LARGE") != "" && os.Getenv("DHTPROM_LARGE") != "0"
	o := sim.Options{Scenario: "swarm", Seed: 1, Nodes: 1000, Clients: 100, For: 10 * time.Minute}
	if full {
		// With the minutes in which nodes and clients boot, those of the lookups and of the end, the world lasts an hour.
		o.Nodes, o.Clients, o.For = 10_000, 1_000, 53*time.Minute
	}
	defer debug.SetGCPercent(debug.SetGCPercent(300))
	o.Progress = hugepages.While(nil)
	large, took := measured(t, o)
	if full && took > maxTime {
		again, faster := measured(t, o)
		if again.Hash != large.Hash {
			t.Errorf("played again it has the hash %016x, not %016x", again.Hash, large.Hash)
		}
		took = min(took, faster)
	}
	if full && large.Virtual < time.Hour {
		t.Errorf("the world lasted %v, not an hour", large.Virtual)
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	t.Logf("%d MB from the system", memory.Sys>>20)
	if full && (took > maxTime || memory.Sys > maxMemory) {
		t.Errorf("took %v and %d MB, %v and %d MB were the bounds", took, memory.Sys>>20, maxTime, maxMemory>>20)
	}

	// A lookup in ten times as many nodes takes as much more each time, or less.
	hops, requests := []float64{large.Hops}, []float64{large.Requests}
	for nodes := o.Nodes / 10; nodes >= 100; nodes /= 10 {
		r := play(t, sim.Options{Scenario: "lookups", Seed: 1, Nodes: nodes})
		hops, requests = append([]float64{r.Hops}, hops...), append([]float64{r.Requests}, requests...)
	}
	growsAsLog(t, "hops", hops, math.Log2(10))
	growsAsLog(t, "requests", requests, sim.RequestsPerDecade)
}

// measured plays a run and returns how much of the processor it took.
func measured(t *testing.T, o sim.Options) (*sim.Result, time.Duration) {
	t.Helper()
	runtime.GC() // what was played before does not count
	began, used := time.Now(), processorTime(t)
	r := play(t, o)
	used = processorTime(t) - used
	t.Logf("%v, %v of the processor", time.Since(began).Round(time.Second), used.Round(time.Second))
	return r, used
}

// growsAsLog demands that what a lookup takes grows by about the same with each tenfold of nodes, and by no more than most.
func growsAsLog(t *testing.T, what string, each []float64, most float64) {
	t.Helper()
	t.Logf("%s of a lookup, each with ten times as many nodes: %.2f", what, each)
	for i := 1; i < len(each); i++ {
		added := each[i] - each[i-1]
		if added > most || i > 1 && added > 1.5*(each[i-1]-each[i-2]) {
			t.Errorf("%s of a lookup grow by %.2f from the %d. to the next size", what, added, i)
		}
	}
}

func play(t *testing.T, o sim.Options) *sim.Result {
	t.Helper()
	r, err := sim.Run(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.Rows {
		t.Logf("%s: %s", row.Name, row.Value)
	}
	if v := r.Verdict(); v != "" {
		t.Error(v)
	}
	return r
}

// processorTime is how much of the processor this program has used.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
