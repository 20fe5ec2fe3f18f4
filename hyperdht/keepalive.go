package hyperdht

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// keepAlive is the timer of a connection: it sends an empty message after an interval of silence, and closes the connection if the
// peer is silent for longer, or does not end its direction after Close.
//
// Nodes with many connections wake up for all of them together: the messages leave at the beginning of a slot, and a peer's
// message is answered at once, in the datagram of its acknowledgement, by a side that was silent for half of the interval. Without
// more, both sides would send at about the same time, so the side that has dialled waits for the other, for keepAliveSlack longer.
type keepAlive struct {
	interval  time.Duration // 0 is never
	lastWrite host.Instant
	lastEmpty host.Instant // of the peer; zero before the first
	timer     host.Timer
	lingering bool // timer is the deadline after Close
}

// slot is the unit of the times at which the timer fires.
func (k *keepAlive) slot() time.Duration { return max(k.interval/keepAliveSlots, 1) }

// slotted returns the time until the last slot that begins within d, or until the next one.
func (k *keepAlive) slotted(now host.Instant, d time.Duration) time.Duration {
	due, slot := now.Add(d), host.Instant(k.slot())
	if due -= due % slot; due <= now {
		due += slot
	}
	return due.Sub(now)
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
		k.timer = c.p.host.AfterFunc(k.slotted(c.p.host.Now(), k.interval), c.keepAliveDue)
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
	left := k.interval
	if c.open { // before, the transport gives up
		if left = silentIntervals*k.interval - now.Sub(max(c.raw.LastReceived(), c.openedAt)); left <= 0 {
			c.Destroy(ErrPeerSilent)
			return
		}
	}
	wait := k.interval
	if c.initiator && k.lastEmpty > 0 && now.Sub(k.lastEmpty) < k.interval+keepAliveSlack {
		wait += keepAliveSlack
	}
	idle := now.Sub(k.lastWrite)
	if idle > wait-k.slot() {
		c.write(nil)
		idle = 0
	}
	k.timer.Reset(min(left, k.slotted(now, wait-idle)))
}

// keepAliveReceived handles an empty message.
func (c *Connection) keepAliveReceived() {
	k, now := &c.keepAlive, c.p.host.Now()
	k.lastEmpty = now
	if c.writable() && now.Sub(k.lastWrite) > k.interval/2 {
		c.write(nil)
	}
}

// leaving reports whether the connection has ended, or Close has been called.
func (c *Connection) leaving() bool { return c.closed || c.keepAlive.lingering }

// Close ends our direction. If the other side has not ended its own within ten seconds, the connection is
// destroyed.
func (c *Connection) Close() {
	if c.leaving() {
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
