package simnet

import "time"

// Clock is a wall clock. A machine's own clock can be wrong, drift and jump; steady time does not care.
type Clock struct {
	net    *Net
	offset time.Duration
	drift  float64
	from   time.Duration // when the drift began
}

// Clock returns the right wall clock of the run.
func (n *Net) Clock() *Clock { return &Clock{net: n} }

// Now returns the wall time.
func (c *Clock) Now() time.Time {
	elapsed := c.net.Now()
	drifted := time.Duration(c.drift * float64(elapsed-c.from))
	return c.net.cfg.Start.Add(elapsed + c.offset + drifted)
}

// Jump moves the clock by d, back if d is negative.
func (c *Clock) Jump(d time.Duration) { c.offset += d }

// Drift makes the clock gain seconds per second from now on; a negative gain loses them.
func (c *Clock) Drift(gain float64) {
	elapsed := c.net.Now()
	c.offset += time.Duration(c.drift * float64(elapsed-c.from))
	c.drift, c.from = gain, elapsed
}
