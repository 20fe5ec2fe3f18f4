package doctor

import (
	"time"

	"github.com/dhtprom/dhtprom/domain"
)

// Our choice.
const (
	// DefaultTimeout of a connection: longer than guessing the ports of a random NAT takes.
	DefaultTimeout = time.Minute
	// entryTimeout bounds entering the network: longer than a lookup without any answer.
	entryTimeout = 20 * time.Second
	// stunPatience bounds the answer of a STUN server, retransmissions and the lookup of its name included.
	stunPatience = 4 * time.Second
	// mappingPatience bounds the answer of the router, which is one hop away, and mappingLook is the interval of looks at it.
	mappingPatience = 4 * time.Second
	mappingLook     = 50 * time.Millisecond
	// enoughNodes is the number of DHT nodes that suffices to determine the kind of NAT without STUN.
	enoughNodes = 4
	// slowConnection is longer than a connection without guessing takes.
	slowConnection = 5 * time.Second
	// clockSlack bounds the drift of wall clock and steady clock during an examination.
	clockSlack = 2 * time.Second
)

// refusal is the answer of all scrapers to a wrong secret.
const refusal = domain.Unauthorised
