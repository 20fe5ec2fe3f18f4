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
)

// The bounds of the full size. Time is that of the processor, since others may use the machine, too.
const (
	maxTime   = 5 * time.Minute
	maxMemory = 4 << 30
)

func TestLargeSwarm(t *testing.T) {
	size := os.Getenv("DHTPROM_LARGE")
	full := size != "" && size != "0"
	o := sim.Options{Scenario: "swarm", Seed: 1, Nodes: 1000, Clients: 100, For: 10 * time.Minute}
	if full {
		o.Nodes, o.Clients, o.For = 10_000, 1_000, time.Hour
	}
	defer debug.SetGCPercent(debug.SetGCPercent(300))
	began := processorTime(t)
	large := play(t, o)
	took := processorTime(t) - began
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	t.Logf("%v of the processor, %d MB from the system", took.Round(time.Second), memory.Sys>>20)
	if full && (took > maxTime || memory.Sys > maxMemory) {
		t.Errorf("took %v and %d MB, %v and %d MB were the bounds", took, memory.Sys>>20, maxTime, maxMemory>>20)
	}

	// Lookups in a small DHT tell how they grow.
	small := play(t, sim.Options{Scenario: "lookups", Seed: 1, Nodes: 100})
	decades := math.Log10(float64(o.Nodes) / 100)
	t.Logf("hops: %.2f with 100 nodes, %.2f with %d; requests: %.1f and %.1f", small.Hops, large.Hops, o.Nodes, small.Requests, large.Requests)
	if added := large.Hops - small.Hops; added > decades*math.Log2(10) {
		t.Errorf("a lookup takes %.2f hops more with %d nodes than with 100", added, o.Nodes)
	}
	if added := large.Requests - small.Requests; added > decades*sim.RequestsPerDecade {
		t.Errorf("a lookup takes %.1f requests more with %d nodes than with 100", added, o.Nodes)
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
	for _, f := range r.Failures {
		t.Error(f)
	}
	if !r.OK() {
		t.Errorf("replay: %s", r.Options.Command())
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
