package app

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/bound"
	"github.com/dhtprom/dhtprom/ports/host"
)

// moves limits repetitions because of moves: movedBurst at once, and one more each movedPause from the first of them on.
type moves struct {
	left *bound.Bucket // nil before the first
}

// wait returns the time until the next repetition, 0 if it may happen now.
func (m *moves) wait(now host.Instant) time.Duration {
	if m.left == nil {
		return 0
	}
	return m.left.Wait(now)
}

// count records a repetition at now.
func (m *moves) count(now host.Instant) {
	if m.left == nil || m.left.Full(now) {
		m.left = bound.NewBucket(now, bound.Pace{Burst: movedBurst, Every: movedPause}) // the first pause begins now
	}
	m.left.Take(now)
}
