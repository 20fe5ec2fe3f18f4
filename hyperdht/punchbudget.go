package hyperdht

import (
	"time"

	"github.com/dhtprom/dhtprom/ports/host"
)

// punchBudget limits the punches that guess ports: randomPunchLimit run at the same time, and the node rests after one that was not
// won.
type punchBudget struct {
	running int
	last    host.Instant // when the node began to rest; zero for never
}

// free reports whether a punch may begin.
func (b *punchBudget) free(now host.Instant) bool {
	return b.running < randomPunchLimit && b.rest(now) == 0
}

// rest is for how long the node rests still.
func (b *punchBudget) rest(now host.Instant) time.Duration {
	if b.last == 0 {
		return 0
	}
	return max(0, randomPunchPause-now.Sub(b.last))
}

func (b *punchBudget) take() { b.running++ }

func (b *punchBudget) give() { b.running-- }

// pause begins to rest.
func (b *punchBudget) pause(now host.Instant) { b.last = now }
