package simnet

import (
	"fmt"
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// Link describes the fate of datagrams between two places, in one direction. The zero Link is perfect: no delay, no loss.
type Link struct {
	// Delay is the least time a datagram takes.
	Delay time.Duration
	// Spread makes some pairs of machines farther apart than others: each pair adds its own constant between 0 and Spread.
	Spread time.Duration
	// Jitter is an extra delay between 0 and Jitter that moves up and down like a queue: it does not reorder.
	Jitter time.Duration
	// Tail is an extra delay drawn for each datagram by itself, so that they overtake each other.
	Tail Distribution

	// Loss is the probability that a datagram is lost, independently of the others.
	Loss float64
	// Burst is the share of time in which everything is lost, in spells of BurstFor (0: 200 ms).
	Burst    float64
	BurstFor time.Duration

	// Reorder is the probability that a datagram is delayed and overtaken by others; Duplicate the probability that it
	// arrives a second time. Either arrives up to Late (0: 10 ms) after its time.
	Reorder   float64
	Duplicate float64
	Late      time.Duration

	// Replay is the probability that a datagram arrives again, long after its time: up to Stale (0: 1 minute).
	Replay float64
	Stale  time.Duration

	// MTU is the largest IP packet that fits, headers included; 0 means 1500. Larger ones are dropped,
	// as if all were sent with don't-fragment.
	MTU int
	// Hops is the TTL that a crossing costs; 0 means 10 between public hosts, 1 on a LAN and none on the access link of a
	// host.
	Hops int

	// Bandwidth is in bytes a second, for each pair of machines by itself unless it is the access link of a host; 0 means
	// no bound. Datagrams that cannot leave at once wait in a queue of Queue bytes (0: 64 KiB) and are dropped if it is
	// full.
	Bandwidth int64
	Queue     int64
}

// check panics if a link is invalid, or if a field is set that would have no effect.
func (l *Link) check() {
	refuse := func(bad bool, why string) {
		if bad {
			panic(fmt.Sprintf("simnet: %s: %+v", why, *l))
		}
	}
	for _, p := range [...]float64{l.Loss, l.Burst, l.Reorder, l.Duplicate, l.Replay} {
		refuse(!(p >= 0 && p <= 1), "probability outside [0, 1]")
	}
	refuse(min(l.Delay, l.Spread, l.Jitter, l.BurstFor, l.Late, l.Stale) < 0, "negative duration")
	refuse(min(int64(l.MTU), int64(l.Hops), l.Bandwidth, l.Queue) < 0, "negative size")
	refuse(l.BurstFor != 0 && l.Burst == 0, "BurstFor without Burst")
	refuse(l.Late != 0 && l.Reorder == 0 && l.Duplicate == 0, "Late without Reorder or Duplicate")
	refuse(l.Stale != 0 && l.Replay == 0, "Stale without Replay")
	refuse(l.Queue != 0 && l.Bandwidth == 0, "Queue without Bandwidth")
	why := l.Tail.nonsense()
	refuse(why != "", why)
}

// queue is the transmitter of a link with a bandwidth: busy until an instant.
type queue struct{ busy host.Instant }

// admit returns when a packet that comes at t has left, and whether the queue had room for it.
func (q *queue) admit(l *Link, t host.Instant, size int) (host.Instant, bool) {
	room := l.Queue
	if room == 0 {
		room = queueDefault
	}
	start := max(q.busy, t)
	waiting := int64(float64(start.Sub(t)) * float64(l.Bandwidth) / float64(time.Second))
	if waiting > 0 && waiting+int64(size) > room {
		return 0, false
	}
	q.busy = start.Add(time.Duration(int64(size) * int64(time.Second) / l.Bandwidth))
	return q.busy, true
}

// crossing is the passage of one datagram over one link: its time, size and random draws.
type crossing struct {
	pair     uint64 // names the directed pair of machines
	distance uint64 // names the undirected pair
	at       host.Instant
	lag      time.Duration // the part of it that held up this datagram alone, while others went on
	random   *dice
	size     int           // of the IP packet
	twin     time.Duration // how much later a second copy arrives; 0 for none
	replay   time.Duration // the same for an old one
}

// cross computes the arrival of the datagram at the other end, or returns the reason why it is dropped. pair distinguishes
// the links on its path.
func (l *Link) cross(c *crossing, pair uint64) Drop {
	mtu := l.MTU
	if mtu == 0 {
		mtu = defaultMTU
	}
	switch {
	case c.size > mtu:
		return DropMTU
	case l.bursting(pair, c.at):
		return DropBurst
	case c.random.hit(l.Loss):
		return DropLoss
	}
	t := c.at.Add(l.Delay + l.jitter(pair, c.at))
	if l.Spread > 0 {
		far := dice(c.distance)
		t = t.Add(time.Duration(far.below(int64(l.Spread) + 1)))
	}
	if l.Tail.Shape != None {
		alone := l.Tail.Quantile(unit(c.random.next()))
		t, c.lag = t.Add(alone), c.lag+alone
	}
	if c.random.hit(l.Reorder) {
		alone := l.late(c.random)
		t, c.lag = t.Add(alone), c.lag+alone
	}
	c.at = t
	return 0
}

// late draws the delay of a reordered or duplicated datagram.
func (l *Link) late(random *dice) time.Duration {
	d := l.Late
	if d == 0 {
		d = lateDefault
	}
	return time.Duration(random.below(int64(d)) + 1)
}

// stale draws the delay of a replayed datagram.
func (l *Link) stale(random *dice) time.Duration {
	d := l.Stale
	if d == 0 {
		d = staleDefault
	}
	return time.Duration(random.below(int64(d)) + 1)
}

// bursting reports whether t lies in a loss burst. Time is cut into spells and each is good or bad by its number, so a link
// needs no memory of what it lost.
func (l *Link) bursting(pair uint64, t host.Instant) bool {
	if l.Burst <= 0 {
		return false
	}
	spell := l.BurstFor
	if spell == 0 {
		spell = burstDefault
	}
	return unit(mix(pair^prime3, uint64(int64(t)/int64(spell)))) < l.Burst
}

// jitter moves in straight lines between values drawn at the edges of windows four times as long as the whole range, so
// that what is sent later also arrives later.
func (l *Link) jitter(pair uint64, t host.Instant) time.Duration {
	if l.Jitter <= 0 {
		return 0
	}
	window := int64(max(4*l.Jitter, jitterWindow))
	k := int64(t) / window
	part := float64(int64(t)%window) / float64(window)
	from, to := unit(mix(pair, uint64(k))), unit(mix(pair, uint64(k+1)))
	return time.Duration((from + (to-from)*part) * float64(l.Jitter))
}
