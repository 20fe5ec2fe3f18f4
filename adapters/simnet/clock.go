package simnet

import "time"

// Clock is a wall clock. A machine's own clock can be wrong, drift and jump; steady time is not affected.
type Clock struct {
	lane   *lane
	offset time.Duration
	drift  float64
	from   time.Duration // when the drift began
}

// Clock returns the right wall clock of the run.
func (n *Net) Clock() *Clock { return &Clock{lane: n.main} }

// Now returns the wall time.
func (c *Clock) Now() time.Time { return c.lane.cfg.Start.Add(time.Duration(c.lane.now) + c.wrong()) }

// wrong returns how far the clock is ahead of the right one.
func (c *Clock) wrong() time.Duration {
	return c.offset + time.Duration(c.drift*float64(time.Duration(c.lane.now)-c.from))
}

// Jump moves the clock by d, back if d is negative.
func (c *Clock) Jump(d time.Duration) { c.offset += d }

// Drift makes the clock gain seconds per second from now on; a negative gain loses them.
func (c *Clock) Drift(gain float64) {
	c.offset, c.drift, c.from = c.wrong(), gain, time.Duration(c.lane.now)
}
