// Package hugepages makes large simulations faster. A world of ten thousand machines is looked at all over the place, and
// much of the time of an event goes into finding out which page of memory something is in: of huge pages there are few
// enough for the processor to know them all.
//
// Go leaves that to the system, and most systems leave it to programs (/sys/kernel/mm/transparent_hugepage/enabled).
package hugepages

import "github.com/dhtprom/dhtprom/sim"

// While returns an Options.Progress that gives advice as the world grows, and goes on to tell, which may be nil. Where
// there is no advice to be had, it does without.
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
