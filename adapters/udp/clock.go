package udp

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// clock is the steady clock of a host. Go's stands still while the machine sleeps; this one goes on, so that what was known of the
// network before counts as old.
type clock struct {
	now         host.Instant
	start       time.Time
	suspended   func() time.Duration
	sleptBefore time.Duration // when the host started
	slept       time.Duration // since then
	sleepCheck  time.Duration // steady time of the next look
}

func newClock() clock {
	return clock{start: time.Now(), suspended: suspended, sleptBefore: suspended()}
}

// tick reads the clock. Between two calls now stands still.
func (c *clock) tick() {
	steady := time.Since(c.start)
	if steady >= c.sleepCheck {
		c.sleepCheck = steady + sleepCheckInterval
		if slept := c.suspended() - c.sleptBefore; slept > c.slept+sleepNoise {
			c.slept = slept
		}
	}
	c.now = max(host.Instant(steady+c.slept), c.now, 1)
}
