package udx

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// never is the deadline of a timer that is not running.
const never host.Instant = 1<<63 - 1

// rttEstimator smooths round-trip samples and derives the retransmission timeout (§9.2).
type rttEstimator struct {
	smoothed time.Duration
	variance time.Duration
	rto      time.Duration
	// smallest is the least sample of the last minRTTWindow, for judging reordering.
	smallest   time.Duration
	smallestAt host.Instant
	known      bool
	// unmeasured is the longest round trip since the last sample, as the black hole detection has seen; or 0.
	unmeasured time.Duration
	// guess is the user's estimate of the RTT before the first sample, 0 for nothing. Only the tail-loss probe
	// believes it: too early a repetition does no harm, too early a timeout does.
	guess time.Duration
}

func (r *rttEstimator) init() { r.rto = initialRTO }

// short reports whether the path's round trip is far below the retransmission timeout, however long its queues are now.
func (r *rttEstimator) short() bool { return r.known && r.smallest <= shortRTT }

// sample takes the round trip of a packet that was sent once.
func (r *rttEstimator) sample(now host.Instant, d time.Duration) {
	d, r.unmeasured = max(d, time.Microsecond), 0
	if !r.known {
		r.known = true
		d = min(d, maxRTO)
		r.smoothed, r.variance = d, d/2
		r.smallest, r.smallestAt = d, now
	} else {
		// Such a sample measures how long a machine slept, not the path.
		if limit := r.smoothed + 5*r.variance; d > rttOutlier && d > limit {
			d = min(limit, maxRTO)
		}
		r.variance = (3*r.variance + (r.smoothed - d).Abs()) / 4
		r.smoothed = (7*r.smoothed + d) / 8
		if d <= r.smallest || now.Sub(r.smallestAt) > minRTTWindow {
			r.smallest, r.smallestAt = d, now
		}
	}
	r.rto = min(max(r.smoothed+4*r.variance, minRTO), maxRTO)
}

// pathChanged forgets the smallest sample: it belongs to the old path. The rest stays (§14).
func (r *rttEstimator) pathChanged(now host.Instant) {
	r.smallest, r.smallestAt, r.unmeasured = r.smoothed, now, 0
}
