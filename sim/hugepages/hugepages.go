// Package hugepages makes large simulations faster. Memory accesses in a world of ten thousand machines are scattered, and
// much of the time of an event goes into address translation: of huge pages there are few enough for the processor's TLB.
//
// Go leaves that to the system, and most systems leave it to programs (/sys/kernel/mm/transparent_hugepage/enabled).
package hugepages

import "github.com/dhtprom/dhtprom/sim"

// While returns an Options.Progress that calls Advise as the world grows, and then tell, which may be nil. It stops calling
// Advise after a failure.
func While(tell func(sim.Progress)) func(sim.Progress) {
	var err error
	told := 0
	return func(p sim.Progress) {
		if told++; err == nil && told%10 == 0 {
			err = Advise()
		}
		if tell != nil {
			tell(p)
		}
	}
}
