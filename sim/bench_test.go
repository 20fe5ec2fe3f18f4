package sim

import (
	"runtime"
	"testing"
	"time"
)

// BenchmarkVirtualMinute is a minute of an idle DHT: the speed of the simulator.
func BenchmarkVirtualMinute(b *testing.B) {
	const nodes = 500
	s := &Scenario{Name: "bench", Nodes: nodes, Clients: 1, For: time.Minute, Large: true, Coarse: true}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := &Result{ScrapesFailed: map[string]uint64{}}
	w := newWorld(Options{Scenario: s.Name, Seed: 1, Nodes: nodes}, s, r)
	w.bootNodes(nodes)
	runtime.GC()
	runtime.ReadMemStats(&after)
	start := w.net.Stats()
	b.ResetTimer()
	for b.Loop() {
		w.run(time.Minute)
	}
	end := w.net.Stats()
	events := end.Delivered + end.Timers + end.Posts - start.Delivered - start.Timers - start.Posts
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/nodes, "bytes/node")
	runtime.KeepAlive(w)
}
