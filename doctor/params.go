package doctor

import (
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// Our choice.
const (
	// DefaultTimeout of a connection: more than guessing the ports of a random NAT takes.
	DefaultTimeout = time.Minute
	// entryTimeout bounds entering the network: longer than a lookup in which nobody answers.
	entryTimeout = 20 * time.Second
	// stunPatience is what a STUN server may take, retransmissions and the lookup of its name included.
	stunPatience = 4 * time.Second
	// enoughNodes of a DHT tell what kind of NAT one is behind, without help.
	enoughNodes = 4
	// slowConnection is more than a connection takes that needs no guessing.
	slowConnection = 5 * time.Second
	// clockSlack is how far wall clock and steady clock may go apart during an examination.
	clockSlack = 2 * time.Second
)

// refusal is what scrapers of either kind answer where the secret is not theirs.
const refusal = domain.Unauthorised
