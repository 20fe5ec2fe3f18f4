package swarm

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/sim"
	"github.com/dhtprom/dhtprom/sim/hugepages"
	"github.com/dhtprom/dhtprom/sim/parallel"
)

// size is a world with bounds on its cost. All but the memory are the same in each run of a seed.
type size struct {
	sim.Options
	least     time.Duration // of virtual time
	datagrams uint64        // sent
	events    uint64        // of the simulator
	memory    uint64        // from the system, in bytes
}

var (
	// perChange took 1.44 million datagrams, 1.65 million events and 357 MB, a part of which is not used.
	perChange = size{
		Options: sim.Options{Scenario: "swarm", Seed: 1, Nodes: 2_000, Clients: 200, For: 2*time.Minute + 30*time.Second},
		least:   10 * time.Minute, datagrams: 1_600_000, events: 1_900_000, memory: 512 << 20,
	}
	// nightly took 45.6 million datagrams, 55.8 million events and 2.1 GB. With the minutes in which nodes and clients boot, those of the lookups
	// and of the end, the world lasts an hour.
	nightly = size{
		Options: sim.Options{Scenario: "swarm", Seed: 1, Nodes: 10_000, Clients: 1_000, For: 53 * time.Minute},
		least:   time.Hour, datagrams: 50_000_000, events: 61_000_000, memory: 4 << 30,
	}
)

func TestLargeSwarm(t *testing.T) {
	s := perChange
	if large := os.Getenv("DHTPROM_LARGE"); large != "" && large != "0" {
		s = nightly
		pool := parallel.New()
		defer pool.Close()
		s.Parallel = pool.Run
	}
	defer debug.SetGCPercent(debug.SetGCPercent(300))
	o := s.Options
	o.Progress = hugepages.While(o.Nodes, nil)
	large := play(t, o)
	events := large.Events()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	t.Logf("%v of virtual time, %d datagrams, %d events, %d MB from the system", large.Virtual, large.Stats.Sent, events, memory.Sys>>20)
	if large.Virtual < s.least {
		t.Errorf("the world lasted %v, less than %v", large.Virtual, s.least)
	}
	for _, cost := range []struct {
		of         string
		took, most uint64
	}{
		{"datagrams", large.Stats.Sent, s.datagrams},
		{"events", events, s.events},
		{"bytes from the system", memory.Sys, s.memory},
	} {
		if cost.took > cost.most {
			t.Errorf("%d %s, at most %d were expected", cost.took, cost.of, cost.most)
		}
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
