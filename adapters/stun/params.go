package stun

import "time"

// Fixed by the protocol.
const (
	// firstTimeout before a request is repeated; it doubles each time (RFC 8489, section 6.2.1).
	firstTimeout = 500 * time.Millisecond
	// defaultPort of a STUN server over UDP (RFC 8489, section 8).
	defaultPort = 3478
	headerSize  = 20
)

// Chosen by this implementation.
const (
	// transmissions of a request. RFC 8489 has seven, over 40 s; a peer that waits for this node's NAT type times out long
	// before.
	transmissions = 3
	// lastTimeout is the time to wait for an answer to the last transmission: longer than any round trip.
	lastTimeout = time.Second
	// probeTimeout bounds a probe as a whole, lookups of names included.
	probeTimeout = 5 * time.Second
	// maxServers bounds the servers of a client; each costs up to two requests per probe.
	maxServers = 16
	// maxTransactions bounds the pending requests. A scraper that a thousand clients dial at the same time probes as many
	// sockets.
	maxTransactions = 4096
	// maxMessage bounds the size of a message: the guaranteed size of RFC 8489, section 6.1, is smaller.
	maxMessage = 1280
	// resolveAge is the age of an address after which its name is looked up again, resolvePause that after a failed lookup
	// or an unanswered request.
	resolveAge   = time.Hour
	resolvePause = time.Minute

	// Limits on answers in a rateWindow, for one source and in all. A thousand clients behind one NAT that start at the
	// same time, two requests each, are served by their retransmissions.
	rateWindow = time.Second
	sourceRate = 200
	totalRate  = 5000
	maxSources = 1024 // counted in a window; requests of further sources are dropped
	maxUnknown = 4    // attributes named in an error response
	maxName    = 255  // bytes of a server's name
)
