package udx

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// pacer spreads packets over time at the rate of the congestion controller.
type pacer struct {
	next host.Instant // when the next packet may leave
}

const longAgo host.Instant = -1 << 62

// book reserves the time that size bytes take at a rate. Idle time gives credit for paceCredit at
// most, so that a late timer does not cost throughput.
func (p *pacer) book(now host.Instant, size int, rate int64) {
	rate = max(rate, 1)
	credit := min(paceCredit, time.Duration(int64(paceBurst)*int64(time.Second)/rate))
	start := max(p.next, now.Add(-credit))
	p.next = start.Add(time.Duration(int64(size) * int64(time.Second) / rate))
}

// blocks reports whether the next packet has to wait.
func (p *pacer) blocks(now host.Instant) bool { return now.Before(p.next) }

// wake returns when to try again. Real timers are no finer than paceWake.
func (p *pacer) wake(now host.Instant) host.Instant { return max(p.next, now.Add(paceWake)) }

// restart lets the next packet leave now, without credit for the time before.
func (p *pacer) restart(now host.Instant) { p.next = now }

// hurry lets the next packet leave now at the latest.
func (p *pacer) hurry(now host.Instant) { p.next = min(p.next, now) }
