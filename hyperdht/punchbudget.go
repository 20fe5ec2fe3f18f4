package hyperdht

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// punchBudget limits the punches that guess ports: randomPunchLimit run at the same time, and the node pauses after one that was
// not won.
type punchBudget struct {
	running int
	last    host.Instant // the start of the last pause; zero for none
}

// free reports whether a punch may begin.
func (b *punchBudget) free(now host.Instant) bool {
	return b.running < randomPunchLimit && b.rest(now) == 0
}

// rest returns the remaining time of the pause.
func (b *punchBudget) rest(now host.Instant) time.Duration {
	if b.last == 0 {
		return 0
	}
	return max(0, randomPunchPause-now.Sub(b.last))
}

func (b *punchBudget) take() { b.running++ }

func (b *punchBudget) give() { b.running-- }

// pause starts the pause.
func (b *punchBudget) pause(now host.Instant) { b.last = now }
