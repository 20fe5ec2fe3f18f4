package hyperdht

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// keepAlive is the timer of a connection: it sends an empty message after an interval of silence, and closes the connection if the
// peer is silent for longer, or does not end its direction after Close.
type keepAlive struct {
	interval  time.Duration // 0 is never
	lastWrite host.Instant
	timer     host.Timer
	lingering bool // timer is the deadline after Close
}

func (k *keepAlive) stop() {
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
}

// SetKeepAlive sets the interval of silence after which an empty message is sent; 0 is never. After Close it has no
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

// keepAliveDue sends an empty message if nothing was written for the whole interval, and otherwise rearms
// its timer for the end of it: one timer per interval instead of one per write. The peer acknowledges every packet,
// so one that is silent for three intervals has failed.
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

// Close ends our direction. If the other side has not ended its own within ten seconds, the connection is
// destroyed.
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
