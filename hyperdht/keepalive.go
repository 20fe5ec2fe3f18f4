package hyperdht

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// keepAlive is what a connection does with time: it sends when it has been silent for an interval, and gives a peer up that is silent
// for longer, or that does not end its direction after Close.
type keepAlive struct {
	interval  time.Duration // 0 is never
	lastWrite host.Instant
	timer     host.Timer
	lingering bool // timer is the end of our patience after Close
}

func (k *keepAlive) stop() {
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
}

// SetKeepAlive changes how long the connection may be silent before an empty message goes out; 0 is never. After Close it has no
// effect.
func (c *Connection) SetKeepAlive(d time.Duration) {
	if c.keepAlive.lingering {
		return
	}
	c.keepAlive.interval = d
	c.keepAlive.stop()
	if c.started {
		c.armKeepAlive()
	}
}

func (c *Connection) armKeepAlive() {
	if k := &c.keepAlive; k.interval > 0 && c.writable() {
		k.timer = c.p.host.AfterFunc(k.interval, c.keepAliveDue)
	}
}

// keepAliveDue sends an empty message if nothing was written for the whole interval, and otherwise comes
// back when that may be so: one timer per interval instead of one per write. The peer acknowledges whatever
// we send, so one that is not heard of for three intervals is not well.
func (c *Connection) keepAliveDue() {
	if !c.writable() {
		return
	}
	k, now := &c.keepAlive, c.p.host.Now()
	next := k.interval
	if c.open { // before, the transport gives up
		left := silentIntervals*k.interval - now.Sub(max(c.raw.LastReceived(), c.openedAt))
		if left <= 0 {
			c.Destroy(ErrPeerSilent)
			return
		}
		next = min(next, left)
	}
	idle := now.Sub(k.lastWrite)
	if idle >= k.interval {
		c.write(nil)
		idle = 0
	}
	k.timer.Reset(min(next, k.interval-idle))
}

// Close ends our direction and makes sure that the connection is over soon: if the other side has not ended
// its own within ten seconds, it is cut off.
func (c *Connection) Close() {
	if c.closed || c.keepAlive.lingering {
		return
	}
	c.keepAlive.lingering = true
	if !c.started {
		c.Destroy(nil)
		return
	}
	c.End()
	c.keepAlive.stop()
	c.keepAlive.timer = c.p.host.AfterFunc(closeLinger, func() { c.Destroy(nil) })
}
