package records

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// aging decides when a pair of generations moves on by time.
type aging struct {
	tick time.Duration
	next host.Instant
	// early means that the generations moved on since the last tick because one was full. The next
	// tick is then skipped, or entries would live for less than a whole tick.
	early bool
}

func newAging(now host.Instant, age time.Duration) aging {
	tick := max((2*age+2)/3, 1)
	return aging{tick: tick, next: now.Add(tick)}
}

// advance calls rotate for each tick that is due. Three ticks are enough to forget everything, so
// after a long sleep it does no more.
func (a *aging) advance(now host.Instant, rotate func()) {
	for due := 0; !now.Before(a.next); due++ {
		if due == 3 {
			missed := now.Sub(a.next)/a.tick + 1
			a.next = a.next.Add(missed * a.tick)
			return
		}
		if !a.early {
			rotate()
		}
		a.early = false
		a.next = a.next.Add(a.tick)
	}
}
