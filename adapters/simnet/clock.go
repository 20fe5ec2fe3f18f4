package simnet

import "time"

// Clock is a wall clock. A machine's own clock can be wrong, drift and jump; steady time is not affected.
type Clock struct {
	net    *Net
	offset time.Duration
	drift  float64
	from   time.Duration // when the drift began
}

// Clock returns the right wall clock of the run.
func (n *Net) Clock() *Clock { return &Clock{net: n} }

// Now returns the wall time.
func (c *Clock) Now() time.Time { return c.net.cfg.Start.Add(c.net.Now() + c.wrong()) }

// wrong returns how far the clock is ahead of the right one.
func (c *Clock) wrong() time.Duration {
	return c.offset + time.Duration(c.drift*float64(c.net.Now()-c.from))
}

// Jump moves the clock by d, back if d is negative.
func (c *Clock) Jump(d time.Duration) { c.offset += d }

// Drift makes the clock gain seconds per second from now on; a negative gain loses them.
func (c *Clock) Drift(gain float64) {
	c.offset, c.drift, c.from = c.wrong(), gain, c.net.Now()
}
