package group_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dhtprom/dhtprom/interop/process"
)

const (
	// benchClients is the number of clients of the benchmark, and benchParallel that of scrapes at a time.
	benchClients  = 100
	benchParallel = 32
)

// Scrapes of all clients in turn, at all members in turn, as a load balancer distributes them. MB is the resident memory of all members
// after it. Clients, members and load share the machine, so that more members are not faster on a small one: the figures show what a second
// hop costs.
func BenchmarkScrapes(b *testing.B) {
	for _, names := range [][]string{{"a"}, {"a", "b"}, {"a", "b", "c"}} {
		b.Run(fmt.Sprintf("members=%d", len(names)), func(b *testing.B) {
			f := newGroup(b, names...)
			f.leader("")
			f.crowd(benchClients)
			for _, name := range names {
				for i := range benchClients {
					process.Until(b, "all are scraped at "+name, func() error { return f.members[name].up(i) })
				}
			}
			before := f.processorTime()
			var next, failed atomic.Int64
			var first sync.Once
			var workers sync.WaitGroup
			b.ResetTimer()
			for range benchParallel {
				workers.Go(func() {
					for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
						if err := f.members[names[i%len(names)]].up(i % benchClients); err != nil {
							failed.Add(1)
							first.Do(func() { b.Errorf("scrape %d: %v", i, err) })
						}
					}
				})
			}
			workers.Wait()
			b.StopTimer()
			if n := failed.Load(); n > 0 {
				b.Errorf("%d of %d scrapes failed", n, b.N)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "scrapes/s")
			b.ReportMetric((f.processorTime()-before)*1e6/float64(b.N), "cpu-µs/scrape")
			b.ReportMetric(f.resident(), "MB")
		})
	}
}

// up scrapes the client of a number.
func (m *member) up(i int) error {
	_, err := m.get(fmt.Sprintf("/scrape/ours-%d/metrics", i))
	return err
}

// processorTime returns the processor time of all members, in seconds.
func (f *fellows) processorTime() (all float64) {
	for _, m := range f.members {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.Pid()))
		if err != nil {
			f.t.Fatal(err)
		}
		var user, system float64
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
			f.t.Fatal(err)
		}
		all += (user + system) / 100 // USER_HZ
	}
	return all
}

// resident returns the resident memory of all members, in MB.
func (f *fellows) resident() (all float64) {
	for _, m := range f.members {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", m.Pid()))
		if err != nil {
			f.t.Fatal(err)
		}
		var size, pages int
		if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
			f.t.Fatal(err)
		}
		all += float64(pages*os.Getpagesize()) / 1e6
	}
	return all
}

func init() { http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = benchParallel }
