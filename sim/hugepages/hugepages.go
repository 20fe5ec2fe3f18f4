// Package hugepages makes large simulations faster. Memory accesses in a world of ten thousand machines are scattered, and
// much of the time of an event goes into address translation: of huge pages there are few enough for the processor's TLB.
//
// Go leaves that to the system, and most systems leave it to programs (/sys/kernel/mm/transparent_hugepage/enabled).
package hugepages

import (
	"math"
	"runtime"

	"github.com/dhtprom/dhtprom/sim"
)

const (
	perNode = 128 << 10 // bytes of the heap, garbage included, for each DHT node of a world
	// mostReserved is a limit so that a program with less memory than a world needs starts, or with fewer addresses.
	mostReserved = min(4<<30, math.MaxInt/2)
)

// While prepares the memory of a world with so many DHT nodes, and returns an Options.Progress that calls Advise as the world
// grows, and then tell, which may be nil. It stops calling Advise after a failure.
func While(nodes int, tell func(sim.Progress)) func(sim.Progress) {
	err := reserve(int(min(int64(nodes)*perNode, mostReserved)))
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

// reserve makes the heap grow by so many bytes, and gives the advice for them before the first use. Without it the heap grows by a
// few megabytes at a time, which are in small pages by the time of the next advice, and the kernel takes minutes to move them.
func reserve(bytes int) error {
	room := make([]byte, bytes)
	err := Advise()
	runtime.KeepAlive(room)
	runtime.GC() // room is free from here on
	return err
}
