package sim

import (
	"slices"
	"time"

	"github.com/dhtprom/dhtprom/adapters/simnet"
	"github.com/dhtprom/dhtprom/domain"
	"github.com/dhtprom/dhtprom/hyperdht"
)

const (
	// guessWithin bounds the time until a client is scraped where ports have to be guessed and a guess is lost, as README.md promises.
	guessWithin = time.Minute
	// guessRest is the time for which a node guesses no ports after a lost guess (hyperdht randomPunchPause).
	guessRest = 20 * time.Second
)

// guesses has the guesses of ports that machines make, and those that were lost.
type guesses struct {
	running map[attempt]bool
	lost    map[guess]time.Duration // the time of the last one
}

// guess is one of a machine, for a connection to a peer.
type guess struct {
	machine *machine
	peer    domain.PublicKey
}

func (g *guesses) observe(m *machine, h *simnet.Host, e hyperdht.AttemptEvent, now time.Duration) {
	at := attempt{h, e.Attempt}
	switch e.Step {
	case hyperdht.AttemptPunching:
		if guessesPorts(e) {
			g.running[at] = true
		}
	case hyperdht.AttemptPunchFailed:
		if g.running[at] {
			g.lost[guess{m, domain.PublicKey(e.Key)}] = now
		}
		delete(g.running, at)
	case hyperdht.AttemptPath, hyperdht.AttemptClosed:
		delete(g.running, at)
	}
}

// lostGuess returns when a guess of the ports of a client and its scraper was last lost, at either, where they have no relay; 0 for never.
func (ch *checker) lostGuess(c *client) time.Duration {
	if slices.ContainsFunc(ch.w.machines, func(m *machine) bool { return m.isRelay }) {
		return 0
	}
	return max(ch.guesses.lost[guess{c.machine, c.scraper.keys.Public}], ch.guesses.lost[guess{c.scraper.machine, c.keys.Public}])
}
