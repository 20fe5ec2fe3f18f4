package group_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dhtprom/dhtprom/interop/process"
)

// leaseTime is the time of one iteration of BenchmarkLeases.
const leaseTime = time.Minute

// Leases of three members that share a machine with etcd, 100 clients, scrapes, and processes that do nothing but take processor time, at
// the priority of the members. lost/min is the number of leases that ended, as the other members saw it, and leaders/min that of changes of
// the leader, in a minute. Run it with -benchtime=1x, or more minutes.
func BenchmarkLeases(b *testing.B) {
	for _, lease := range []time.Duration{2 * time.Second, 5 * time.Second, 10 * time.Second} {
		for _, burners := range []int{0, 8, 32, 128} {
			b.Run(fmt.Sprintf("lease=%v/burners=%d", lease, burners), func(b *testing.B) {
				names := []string{"a", "b", "c"}
				f := newGroupWith(b, 1, lease, names...)
				f.leader("")
				f.crowd(benchClients)
				for i := range benchClients {
					process.Until(b, "all are scraped", func() error { return f.members["a"].up(i) })
				}
				for range burners {
					process.Start(b, process.Command{Path: "sh", Args: []string{"-c", "while :; do :; done"}})
				}
				lost, leaders := f.count("left=true"), f.count("msg=group-follow")
				end := time.Now().Add(time.Duration(b.N) * leaseTime)
				var workers sync.WaitGroup
				for w := range benchParallel / 4 {
					workers.Go(func() {
						for i := w; time.Now().Before(end); i++ {
							_ = f.members[names[i%len(names)]].up(i % benchClients) // what fails is not what is measured
						}
					})
				}
				workers.Wait()
				b.ReportMetric(float64(f.count("left=true")-lost)/float64(len(names)-1)/float64(b.N), "lost/min")
				b.ReportMetric(float64(f.count("msg=group-follow")-leaders)/float64(b.N), "leaders/min")
				before := f.count("left=true")
				f.members["a"].Signal(syscall.SIGSTOP) // a lease that does end is counted
				process.Until(b, "the others miss a", func() error {
					if f.count("left=true") == before {
						return errors.New("they do not report it")
					}
					return nil
				})
			})
		}
	}
}

// count counts a text in what all members have printed.
func (f *fellows) count(text string) (n int) {
	for _, m := range f.members {
		n += strings.Count(m.Output(), text)
	}
	return n
}
