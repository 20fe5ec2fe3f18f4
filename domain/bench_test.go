package domain

import (
	"runtime"
	"testing"
	"time"
)

// BenchmarkScrapeHistories measures the memory of the scrapes of 10,000 aliases.
func BenchmarkScrapeHistories(b *testing.B) {
	const n = 10_000
	memory := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := memory()
	var all []*ScrapeHistory
	for b.Loop() {
		all = make([]*ScrapeHistory, n)
		for i := range all {
			all[i] = &ScrapeHistory{}
			for s := range 2 * historyScrapes {
				all[i].Add(Scrape{At: time.Unix(int64(1_700_000_000+15*s), 0), Took: time.Millisecond, Bytes: 50_000})
			}
		}
	}
	b.ReportMetric(float64(memory()-before)/n, "B/alias")
	runtime.KeepAlive(all)
}
